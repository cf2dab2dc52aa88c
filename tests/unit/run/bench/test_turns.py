"""Two that take the time in turns: neither works while the other does, nor waits for one that left."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from socket import socketpair

import pytest

from pytest_dlcheck.run.bench.timing import Limits, measure
from pytest_dlcheck.run.bench.turns import VARIABLE, Turns

LIMITS = Limits(seconds=100.0, fewest=5, most=40)


class Worker(threading.Thread):
    """Takes turns in a thread, which stands for a process."""

    def __init__(self, line, *, first, log, most=40, fail_after=None):
        super().__init__(daemon=True)
        self.line, self.first, self.log, self.most, self.fail_after = line, first, log, most, fail_after
        self.blocks, self.kept, self.error = [], None, None
        self.limits = Limits(seconds=100.0, fewest=5, most=most, precise=0.0)

    def step(self):
        self.log.append((self.name, "begins"))
        time.sleep(0.0005)
        self.log.append((self.name, "ends"))

    def clock(self, step, count):
        if self.fail_after is not None and len(self.log) > self.fail_after:
            raise ValueError("out of memory, say")
        began = time.perf_counter()
        for _ in range(count):
            step()
        return time.perf_counter() - began

    def run(self):
        turns = Turns(self.line, first=self.first)
        try:
            limits = replace(self.limits, most=min(self.most, self.limits.most))
            self.blocks = measure([self.step], self.clock, limits, 1, turns)
            self.kept = turns.were_kept
        except ValueError as error:
            self.error = error
        finally:
            turns.close()


def run(**differences):
    log, (one, other) = [], socketpair()
    workers = Worker(one, first=True, log=log), Worker(other, first=False, log=log)
    for name, value in differences.items():
        setattr(workers[1], name, value)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive(), "it waits for ever"
    return workers, log


def test_neither_works_while_the_other_does():
    workers, log = run()
    for begun, ended in zip(log[::2], log[1::2], strict=True):
        assert begun == (ended[0], "begins")
    assert [worker.kept for worker in workers] == [True, True]
    assert min(len(worker.blocks) for worker in workers) >= 5
    order = [name for name, what in log if what == "begins"]
    assert sum(a != b for a, b in itertools.pairwise(order)) >= 20


def test_whoever_has_had_enough_ends_it_for_both():
    workers, _ = run(most=8)
    assert len(workers[1].blocks) <= 10
    assert len(workers[0].blocks) < 20
    assert [worker.kept for worker in workers] == [True, True]


def test_one_that_fails_leaves_the_other_alone():
    workers, _ = run(fail_after=60)
    assert workers[1].error is not None
    assert len(workers[0].blocks) == 40
    assert workers[0].kept is False


def test_an_end_that_a_forked_worker_still_holds_is_not_waited_for():
    one, other = socketpair()
    with other.dup():
        first, second = Turns.__new__(Turns), None
        thread = threading.Thread(target=lambda: first.__init__(one, first=False), daemon=True)
        thread.start()
        second = Turns(other)
        thread.join(5)
        second.close()
        with first:
            assert not first.are_shared


def test_calls_take_turns_too():
    log, (one, other) = [], socketpair()
    limits = Limits(seconds=2.0, block=0.0, fewest=30, most=500, precise=0.0)
    workers = Worker(one, first=True, log=log), Worker(other, first=False, log=log)
    for worker in workers:
        worker.limits = limits
        worker.start()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
    assert all(worker.kept and len(worker.blocks) >= 30 for worker in workers)
    order = [name for name, what in log if what == "begins"]
    assert sum(a != b for a, b in itertools.pairwise(order)) >= 20


def test_one_that_never_comes_is_not_waited_for():
    one, other = socketpair()
    other.close()
    turns = Turns(one, first=False)
    blocks = measure([lambda: None], lambda step, count: 0.1, LIMITS, 1, turns)
    assert len(blocks) >= 5
    assert turns.partner is None
    assert not turns.were_kept


def test_nobody_to_take_turns_with_is_the_rule(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    turns = Turns.of_this_process()
    with turns:
        assert not turns.are_shared


@pytest.mark.parametrize(("order", "first"), [("first", True), ("second", False)])
def test_whoever_started_this_process_says_whose_turn_it_is(monkeypatch, order, first):
    one, other = socketpair()
    with other:
        other.sendall((42).to_bytes(8, "big"))
        monkeypatch.setenv(VARIABLE, f"{one.detach()} {order}")
        turns = Turns.of_this_process()
        assert turns.partner == 42
        other.sendall(b"" if first else b"t")
        with turns:
            assert turns.are_shared
        turns.close()
