"""What reading a sample draws at random, and whether loader workers draw it independently."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import torch
from torch.utils.data import DataLoader

from pytest_dlcheck.run.data.own_draws import advanced, kept
from pytest_dlcheck.run.data.samples import is_map_style, parts_of
from pytest_dlcheck.run.data.stored import edited
from pytest_dlcheck.run.data.unindexed import ignores_its_numbers
from pytest_dlcheck.run.errors import CannotTellError, NotApplicableError
from pytest_dlcheck.run.experiment import Experiment
from pytest_dlcheck.run.rig import Rig
from pytest_dlcheck.run.tensors.tree import named_tensors
from pytest_dlcheck.run.world.seeding import reseed, same_draws
from pytest_dlcheck.trace import Row, Scalar

_REPEATS = (6, 24)
"""How often a worker is asked for one sample, at least and at most: coin flips need many."""
_SECONDS = 0.1
"""Seconds that this may take in a worker."""
_PATIENCE = 20.0
"""Seconds after which a worker that gives nothing is given up."""
_WORKERS = 2


class DataRandomness(Experiment):
    """Fills ``data_randomness``: one row.

    A sample is read several times under chosen seeds. Where it differs, and the loader has workers,
    two of them, started as the loader's own, are each asked for the same sample again and again.
    """

    fact = "data_randomness"
    needs_loss = False

    def run(self, rig: Rig) -> Iterable[Row]:
        """Read one sample, again and again."""
        loader: Any = rig.stream.loader
        if not is_map_style(loader):
            raise NotApplicableError("the data is no map-style data set whose samples can be read again")
        with same_draws(rig.seed), kept(*parts_of(loader)):
            facts, seconds = _here(loader)
        facts["workers"] = loader.num_workers
        if loader.num_workers and facts["random"]:
            facts |= _in_workers(rig, loader, _repeats(seconds))
        return [Row(facts)]


# -- in this process ----------------------------------------------------------------------------


def _here(loader: DataLoader[Any]) -> tuple[dict[str, Scalar], float]:
    """What readings of one sample show, and the seconds that the quickest took."""
    index = len(loader.dataset) // 2  # type: ignore[arg-type]
    other = max(0, index - 1)

    took: list[float] = []

    def read(seed: int, at: int = index) -> tuple[int, tuple[Any, ...]]:
        reseed(seed)
        began = perf_counter()
        found = _print(loader.collate_fn([loader.dataset[at]]))
        took.append(perf_counter() - began)
        return found, _global_state()

    with kept(*parts_of(loader)):
        first, after_first = read(1)
    with kept(*parts_of(loader)):
        again, after_again = read(1)
    with kept(*parts_of(loader)):
        elsewhere, after_elsewhere = read(2)
    with kept(*parts_of(loader)):
        _, after_other = read(3, other)
    third, _ = read(1)
    seen: list[int] = []
    moved = advanced(loader.dataset, lambda: seen.append(read(1)[0]))
    fourth = seen[0]
    own = first == again and (third != fourth or third != first)
    names = [name for name, a, b in zip(_NAMES, after_first, after_elsewhere, strict=False) if a == b]
    constant = [
        n for n, a, b in zip(_NAMES, after_first, after_other, strict=False) if a == b and n in names
    ]
    kept_in: list[str] = []
    if first != again:
        kept_in = edited(loader.dataset, index, lambda: read(1)[0])
    facts: dict[str, Scalar] = {
        "edited": ", ".join(kept_in) or None,
        "random": first != elsewhere or own or first != again,
        "global_draws": first == again and first != elsewhere,
        "own_draws": own,
        "own_generators": ", ".join(moved) or None,
        "goes_on": first != again and ignores_its_numbers(loader.dataset),
        "reproducible": first == again and after_first == after_again,
        "seeded_by_reading": ", ".join(names) or None,
        "seeded_alike": ", ".join(constant) or None,
        "several": other != index,
    }
    return facts, min(took)


def _repeats(seconds: float) -> int:
    few, many = _REPEATS
    return min(many, max(few, int(_SECONDS / max(seconds, 1e-6))))


_NAMES = ("torch", "random", "numpy.random")


def _global_state() -> tuple[Any, ...]:
    states: list[Any] = [hash(torch.get_rng_state().numpy().tobytes()), hash(random.getstate())]
    if "numpy" in sys.modules:
        kind, keys, *rest = sys.modules["numpy"].random.get_state()
        states.append((kind, hash(keys.tobytes()), *rest))
    return tuple(states)


def _print(batch: Any) -> int:
    found = [(name, hash(_bytes(tensor))) for name, tensor in named_tensors(batch, "")]
    return hash(tuple(found)) if found else hash(repr(batch))


def _bytes(tensor: torch.Tensor) -> bytes:
    dense = (
        tensor.detach().to("cpu").to_dense() if tensor.layout != torch.strided else tensor.detach().cpu()
    )
    dense = torch.view_as_real(dense) if dense.is_complex() else dense
    dense = dense.float() if dense.dtype == torch.bfloat16 else dense
    return dense.contiguous().numpy().tobytes()


# -- in workers ---------------------------------------------------------------------------------


def _in_workers(rig: Rig, loader: DataLoader[Any], repeats: int) -> dict[str, Scalar]:
    """Two epochs by two workers, each of which is asked for one sample so many times."""
    index = len(loader.dataset) // 2  # type: ignore[arg-type]
    try:
        with same_draws(rig.seed), kept(*parts_of(loader)):
            one, other = _drawn(_like(loader, [[index]] * (repeats * _WORKERS), _WORKERS), _WORKERS)
            (later,) = _drawn(_like(loader, [[index]] * repeats, 1), 1)
    except Exception as error:
        raise CannotTellError(f"workers could not be asked for samples: {error!r}"[:300]) from error
    draws = [*one, *other]
    chance = sum(draws.count(d) - 1 for d in draws) / (len(draws) * (len(draws) - 1))
    within = sum(one.count(d) - 1 for d in one) / (len(one) * (len(one) - 1))
    return {
        "draws": len(one),
        "distinct": len(set(one)),
        "workers_agree": sum(a == b for a, b in zip(one, other, strict=True)),
        "epochs_agree": sum(a == b for a, b in zip(one, later, strict=True)),
        "chance": min(chance, within),
        "init_fn": loader.worker_init_fn is not None,
    }


def _like(loader: DataLoader[Any], asked: list[list[int]], workers: int) -> DataLoader[Any]:
    """A loader whose workers are started as the user's are."""
    return DataLoader(
        loader.dataset,
        batch_sampler=asked,
        num_workers=workers,
        collate_fn=_Printed(loader.collate_fn),
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        timeout=_PATIENCE,
    )


class _Printed:
    """Collates as the loader does, and keeps a fingerprint: nothing large has to leave the worker."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: list[Any]) -> bytes:
        return _digest(self.collate(items))


def _digest(batch: Any) -> bytes:
    """Equal in every process, which hash() is not."""
    from hashlib import blake2b

    digest = blake2b(digest_size=16)
    found = list(named_tensors(batch, ""))
    for name, tensor in found:
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    if not found:
        digest.update(repr(batch).encode())
    return digest.digest()


def _drawn(clone: DataLoader[Any], workers: int) -> list[list[bytes]]:
    iterator: Any = iter(clone)
    try:
        given = list(iterator)
    finally:
        iterator._shutdown_workers()  # noqa: SLF001  now, not when the garbage is collected
    return [given[worker::workers] for worker in range(workers)]
