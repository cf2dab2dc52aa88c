"""Which names of variables say that numbers were earned, or paid. No judgement."""

from __future__ import annotations

from functools import lru_cache

from pytest_dlcheck.run.code.frames import words_of

BETTER = ("advantages", "advantage", "advs", "adv")
"""More of it is better than was expected; of returns less values, or, by some, the other way round."""
LETTERS = ("G", "Gs", "Gt", "G_t")
"""Returns, as textbooks write them; or free energies."""
_EARNED = frozenset({"rewards", "returns", "ret", "rets", "rtg", "rtgs"})
ALONE = ("reward",)
"""One player's is another's loss: alone it leaves a doubt."""
_SINGLE = frozenset({*ALONE, "return"})
_AROUND = frozenset(
    {
        *("discounted", "cumulative", "total", "future", "to", "go", "mc", "td", "gae", "lambda"),
        *("episode", "ep", "batch", "mb", "rollout", "trajectory", "traj", "buffer", "buf", "all"),
        *("normalized", "normalised", "standardized", "standardised", "scaled", "flat", "n", "step"),
        *("t", "tensor", "list", "array", "arr", "np"),
    }
)
"""What is said of such besides; any other word, as in ``neg_returns``, may turn it."""
_PAID = frozenset(
    {
        *("cost", "costs", "penalty", "penalties", "regret", "regrets", "energy", "energies"),
        *("length", "lengths", "distance", "distances", "error", "errors", "losses", "nll", "risk"),
    }
)
_EXPECTED = frozenset(
    {
        *("value", "values", "val", "vals", "v", "vs", "vpred", "vpreds", "vf", "critic"),
        *("baseline", "baselines", "expected", "mean"),
    }
)


@lru_cache(maxsize=1024)
def is_earned(name: str) -> bool:
    """Whether a variable of this name holds rewards or returns, and no doubt.

    Args:
        name: such as ``batch_returns``.
    """
    words = words_of(name)
    if not words <= _EARNED | _SINGLE | _AROUND:
        return False
    return bool(words & _EARNED) or bool(words & _SINGLE and words & _AROUND)


@lru_cache(maxsize=1024)
def is_paid(name: str) -> bool:
    """Whether it speaks of what is to be small."""
    return bool(words_of(name) & _PAID)


@lru_cache(maxsize=1024)
def is_expected(name: str) -> bool:
    """Whether it speaks of what a critic says, or a baseline."""
    return bool(words_of(name) & _EXPECTED)


@lru_cache(maxsize=1024)
def is_of_worth(name: str) -> bool:
    """Whether it is any of these."""
    return name in {*LETTERS, *BETTER, *ALONE} or is_earned(name) or is_paid(name) or is_expected(name)
