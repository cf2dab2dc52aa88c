"""A kind of machine: what speeds depend on, and nothing that names one."""

from __future__ import annotations

import platform
from pathlib import Path

from pytest_dlcheck.session import torch_facts
from pytest_dlcheck.store.machine import FACTS, Machine, this_machine


def test_this_machine_is_the_same_each_time_and_says_what_it_is():
    one, other = this_machine(torch_facts("cpu")), this_machine(torch_facts("cpu"))
    assert one.key == other.key
    assert one == other
    assert one.facts["device"] == "cpu"
    assert one.facts["cpus"] >= 1
    assert one.facts["threads"] >= 1
    assert one.facts["dtype"] == "float32"
    assert one.facts["cpu"]


def test_nothing_of_it_names_a_host_or_a_user(monkeypatch):
    told = this_machine(torch_facts("cpu")).to_json()
    assert platform.node() not in told
    assert str(Path.home()) not in told
    assert set(this_machine({**torch_facts("cpu"), "hostname": "canary"}).facts) <= set(FACTS)


def test_every_fact_counts_but_not_their_order():
    facts = {"cpu": "a", "cpus": 2, "device": "cuda", "gpu": "b", "driver": "1", "threads": 1}
    keys = {Machine({**facts, name: "another"}).key for name in facts}
    assert len(keys | {Machine(facts).key}) == len(facts) + 1
    assert Machine(dict(reversed(facts.items()))).key == Machine(facts).key


def test_machines_are_equal_by_their_facts_alone():
    assert Machine({"cpu": "a", "user": "x"}) == Machine({"cpu": "a"})
    assert len({Machine({"cpu": "a"}), Machine({"cpu": "a"}), Machine({"cpu": "b"})}) == 2


def test_the_difference_is_said_in_words():
    one = Machine({"cpu": "a", "threads": 4, "matmul_precision": "high"})
    assert one.differs(Machine({"cpu": "a", "threads": 2})) == (
        "threads 4, not 2, matmul precision high, not none"
    )
    assert one.differs(one) == ""


def test_a_machine_reads_as_a_person_would_name_it():
    facts = {"cpu": "AMD EPYC", "cpus": 8, "device": "cuda", "gpu": "NVIDIA H200", "threads": 1}
    assert str(Machine(facts)) == "AMD EPYC, 8 CPUs, NVIDIA H200, 1 thread"
