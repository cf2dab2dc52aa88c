"""What a Poisson likelihood of counts takes for their rates, or for the logarithms of such.

The likelihood is `exp(y) - t * y` of a logarithm, and `y - t * log(y)` of a rate, torch's own and
written out alike. Read from the graph of a loss. No judgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pytest_dlcheck.run.losses.graphs.kept import constant_of, kept
from pytest_dlcheck.run.losses.graphs.sums import (
    SPREADS,
    Edge,
    Form,
    is_near,
    sum_of,
)
from pytest_dlcheck.run.tensors.graph import edges_of, kind_of
from pytest_dlcheck.trace import Row

RATES = frozenset({"Softplus", "Exp", "Relu", "Sigmoid"})
"""What makes numbers of any sign rates."""
LAYERS = frozenset({"Addmm", "Mm", "Bmm", "Convolution", "NativeBatchNorm"})
"""What gives numbers of any sign."""
_PRODUCTS = frozenset({"Mm", "Bmm"})
"""Those of them that add no bias."""


def counting(sums: Iterable[Form]) -> list[Row]:
    """A row where rates are taken for logarithms, or numbers of any sign for rates.

    ``last`` is the operation that made them, and ``least`` the least of what is taken for a rate.

    Args:
        sums: that a loss is, and that its terms are made of.
    """
    found = (row for terms in sums for row in _likelihoods(terms))
    return list({row.text("last"): row for row in found}.values())


def _likelihoods(terms: Form) -> Iterator[Row]:
    for (name, edge), share in terms.items():
        inner = None if name else _counted(edge)
        if inner is None:
            continue
        given = sum_of(inner)
        last = _last(given)
        if kind_of(inner[0]) == "Log":
            rates, values = sum_of(inner[0].next_functions[0]), kept(inner[0], "self")
            if values is not None and values.numel() and _holds(terms, rates, -share):
                least, last = float(values.min()), _last(rates)
                if least < 0 or (last in LAYERS and not _is_mixture(rates)):
                    yield _row(last, log_input=False, least=least)
        elif last in RATES and any(_is_exponential(one, given) for one in _times(terms, -share)):
            yield _row(last, log_input=True, least=0.0)


def _counted(edge: Edge) -> Edge | None:
    """What is multiplied by counts, that are no gradient's concern; None where it is otherwise."""
    edges = edges_of(edge[0])
    if kind_of(edge[0]) != "Mul" or len(edges) != 1:
        return None
    counts = constant_of(edge[0])
    if counts is None or counts.numel() <= 1 or not bool((counts >= 0).all()):
        return None
    inner: Edge = edge[0].next_functions[edges[0]]
    while kind_of(inner[0]) in SPREADS and edges_of(inner[0]) == [0]:
        inner = inner[0].next_functions[0]
    return inner


def _holds(terms: Form, part: Form, share: float) -> bool:
    return bool(part) and all(is_near(terms.get(atom), share * times) for atom, times in part.items())


def _times(terms: Form, share: float) -> Iterator[Edge]:
    """The values that are in a sum so often."""
    for (name, edge), times in terms.items():
        if not name and is_near(times, share):
            yield edge


def _is_exponential(edge: Edge, of: Form) -> bool:
    return kind_of(edge[0]) == "Exp" and sum_of(edge[0].next_functions[0]) == of


def _last(given: Form) -> str:
    """The operation that made a value, where it is one value as it is."""
    (name, edge), times = next(iter(given.items()), (("", (None, 0)), 0.0))
    return kind_of(edge[0]) if len(given) == 1 and not name and times == 1 else ""


def _is_mixture(rates: Form) -> bool:
    """Whether a rate is a product of matrices without a number below zero, as sums of rates are."""
    node = next(iter(rates))[1][0]
    if kind_of(node) not in _PRODUCTS:
        return False
    known = [kept(node, name) for name in ("self", "mat2")]
    makers = [kind_of(maker) for maker, _ in node.next_functions]
    return all(
        maker in RATES if values is None else bool((values >= 0).all())
        for values, maker in zip(known, makers, strict=True)
    )


def _row(last: str, *, log_input: bool, least: float) -> Row:
    return Row(part="terms", kind="poisson_nll_loss", last=last, log_input=log_input, least=least)
