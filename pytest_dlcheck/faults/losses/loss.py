"""What can be wrong with a loss, told as faults with cause and remedy. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_dlcheck.faults.contract import collapse
from pytest_dlcheck.faults.losses.class_shares import of_shares
from pytest_dlcheck.faults.losses.collapsing import of_collapsing
from pytest_dlcheck.faults.losses.counts import advice_on_counts, of_counts
from pytest_dlcheck.faults.losses.deviations import of_deviations
from pytest_dlcheck.faults.losses.fault import Fault
from pytest_dlcheck.faults.losses.ignored import advice_on_ignored
from pytest_dlcheck.faults.losses.matches import advice_on_matches, of_matches
from pytest_dlcheck.faults.losses.one_class import advice_on_one_class, of_one_class
from pytest_dlcheck.faults.losses.rows import advice_on_rows, of_rows
from pytest_dlcheck.faults.losses.targets import advice_on_targets, of_targets
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure

_TWO = 2
_MATTERS = 100
_LOGITS = frozenset({"cross_entropy", "binary_cross_entropy_with_logits"})
_SUMS = ("rows_off", "columns_off", "log_rows_off", "log_columns_off")

_CERTAIN = 1 - 1e-6


def of_call(row: Row, tight: float, loose: float) -> Iterator[Fault]:
    """What is wrong with what a torch loss was given.

    Args:
        row: the call.
        tight: distance of sums from 1 (ratio) up to which rows are probabilities.
        loose: the same for rows that must be log-probabilities.
    """
    yield from of_rows(row)
    yield from of_targets(row)
    yield from of_matches(row)
    yield from _of_any_call(row)
    if row.text("kind") in {"binary_cross_entropy_with_logits", "logsigmoid"}:
        yield from _squashed(row)
    if any(row.get(key) is None for key in _SUMS) or row.integer("classes") < _TWO:
        return
    kind, rows, columns = row.text("kind"), row.number("rows_off"), row.number("columns_off")
    log_rows, log_columns = row.number("log_rows_off"), row.number("log_columns_off")
    off = Measure("distance of sum(exp) from 1", log_rows, "ratio", loose)
    if min(columns, log_columns) <= tight < min(rows, log_rows):
        yield _over_batch(row, Measure("rows' distance from 1", min(rows, log_rows), "ratio", tight))
    elif kind == "cross_entropy" and rows <= tight:
        yield _twice(row, Measure("rows' distance from 1", rows, "ratio", tight, ">="))
    elif kind == "cross_entropy":
        yield from _squashed(row)
    elif kind == "nll_loss" and log_rows > loose and row.text("last") == "LogSoftmax":
        yield _over_another_axis(row, off)
    elif kind == "nll_loss" and log_rows > loose:
        yield _no_logs(row, off, probabilities=rows <= tight)
    elif kind == "kl_div" and rows <= tight:
        near = Measure("rows' distance from 1", rows, "ratio", tight, ">=")
        yield _no_logs(row, near, probabilities=True)


def of_test(row: Row, least: float) -> Iterator[Fault]:
    """What is wrong with a loss by what it was asked, or by the terms that it is made of.

    Args:
        row: the test.
        least: relative change with permuted targets up to which they are ignored.
    """
    if row.text("part") == "pairing":
        yield from of_pairing(row, least)
    yield from of_classes(row)
    yield from of_shares(row)
    yield from of_collapsing(row)
    yield from of_deviations(row)
    yield from of_counts(row)


def of_pairing(row: Row, least: float) -> Iterator[Fault]:
    """A loss that ignores which target belongs to which output, where their shapes broadcast.

    Args:
        row: the test.
        least: relative change with permuted targets up to which they are ignored.
    """
    moved = row.number("moved")
    if row.number("changed") > _MATTERS * least and moved <= least:
        name = "change of the loss with permuted targets"
        yield _broadcast(row, Measure(name, moved, "ratio", least, ">="))


def of_classes(row: Row) -> Iterator[Fault]:
    """Classes that the loss does not hear, or hears alone.

    Args:
        row: the test.
    """
    yield from of_one_class(row)
    if not row.text("silent") or row.integer("heard") != 1:
        return
    heard, known, silent = row.integer("heard"), row.integer("known"), row.text("silent")
    text = f"samples of {known - heard} of {known} classes ({silent}) never change the loss"
    cause = f"the loss has no gradient for targets of {silent}: a term is missing, or labels are coded"
    yield Fault(
        "loss",
        text,
        f"{cause} otherwise (0 and 1 for -1 and 1)",
        "add the term of the other class, or map labels to what the loss is made for",
        Measure("classes that change the loss", heard, "count", known, "="),
    )


def of_sign(rows: Sequence[Row]) -> Iterator[Fault]:
    """A loss that rewards wrong answers: by its slope, or, where no torch loss is in it, by trial."""
    known = [r.number("sign") for r in rows if r.text("part") == "call" and r.get("sign") is not None]
    if known and not any(known) and any(r.flag("flat") for r in rows):
        text = f"the loss does not change with {len(known)} of {len(known)} torch losses in it"
        slope = Measure("slope", 0.0, "ratio", 0.0, ">")
        yield Fault("loss", text, "the loss is multiplied by 0", "give it a weight", slope)
    if any(r.flag("maximized") for r in rows):
        yield from _climbing(rows, known)
        return
    signs = [sign for sign in known if sign]
    if signs and max(signs) < 0:
        slope = Measure("slope", max(signs), "ratio", 0.0, ">=")
        yield _backwards(f"the loss falls as {len(signs)} of {len(signs)} torch losses rise", slope)
    for row in () if signs else rows:
        right, wrong = row.number("right"), row.number("wrong")
        if row.text("part") == "answers" and row.integer("higher") == row.integer("ways"):
            text = f"right answers cost {right:.4g}, wrong ones {wrong:.4g}"
            yield _backwards(text, Measure("loss of right answers", right, "loss", wrong))


def _climbing(rows: Sequence[Row], known: Sequence[float]) -> Iterator[Fault]:
    """An optimizer that maximises what is to be minimised."""
    answers = [r for r in rows if r.text("part") == "answers"]
    lower = any(r.integer("lower") == r.integer("ways") for r in answers)
    if (known and min(known) > 0) or (not known and lower):
        text = "maximize=True: the optimizer raises a loss that is lower for right answers"
        slope = Measure("slope of what is minimised", -1.0, "ratio", 0.0, ">=")
        yield Fault("optimizer", text, "the optimizer climbs", "remove maximize=True", slope)


def advice_on(row: Row, tight: float, doubling: float) -> Iterator[str]:
    """What is suspicious, but can be meant."""
    if row.text("silent") and row.integer("heard") > 1:
        silent = row.text("silent")
        yield f"samples of class {silent} never change the loss: are they meant to be ignored?"
    if row.text("part") == "answers" and row.integer("higher") < row.integer("ways") == row.integer(
        "dearer"
    ):
        right, wrong = row.number("right"), row.number("wrong")
        yield (
            f"right answers, place by place, cost {right:.4g}, wrong ones {wrong:.4g}: is a score, "
            "such as Dice's, minimised? So it is meant where outputs are distances, or masks inverted"
        )
    if row.text("part") == "doubling" and abs(row.number("ratio") - _TWO) <= doubling:
        yield (
            "the loss is a sum over samples: its gradients, and the right learning rate, "
            "grow with the batch"
        )
    if row.text("kind") == "cross_entropy" and row.number("log_rows_off") <= tight:
        yield f"{_given(row, 'log-probabilities')}: harmless, one softmax too many"
    if row.text("kind") in _LOGITS and row.text("last") in {"Relu", "Tanh", "Hardtanh"}:
        kind, last = row.text("kind"), row.text("last").lower()
        yield f"the last operation before {kind} is {last}: logits are best left unbounded"
    if row.flag("dropped"):
        kind = row.text("kind")
        yield f"the last operation before {kind} is dropout: put it before the last layer, not after"
    if row.text("broadcast") and not row.flag("squared"):
        yield f"torch warns: {row.text('broadcast')}"
    yield from collapse.advice_at_first_sight(row)
    yield from advice_on_targets(row)
    yield from advice_on_rows(row)
    yield from advice_on_matches(row)
    yield from advice_on_one_class(row)
    yield from advice_on_ignored(row)
    yield from advice_on_counts(row)


def of_value(row: Row) -> Iterator[Fault]:
    """What is wrong with the value itself."""
    if not row.flag("tensor"):
        text = f"the loss is a {row.text('type')}, not a tensor"
        yield Fault("loss", text, ".item() or float() cuts the graph", "return the tensor", _one(0))
        return
    if row.integer("numel", 1) != 1:
        count = row.integer("numel")
        text = f"the loss has the shape {row.text('shape')}, not one number"
        yield Fault("loss", text, "it is not reduced", 'reduce it: reduction="mean"', _one(count))
    if not row.flag("finite"):
        text = "the loss is NaN or infinite"
        yield Fault("loss", text, "see outputs_are_finite", "", _one(0, "finite losses"))
    if row.integer("trainable") and not row.integer("reached"):
        text = f"the loss is cut from the graph: it reaches 0 of {row.integer('trainable')} parameters"
        cause = (
            "outputs or loss are detached, converted (argmax, round, ==), or computed without gradients"
        )
        remedy = "remove detach(), item(), .data, no_grad() or a torch.tensor(...) around the loss"
        yield Fault("loss", text, cause, remedy, Measure("parameters reached", 0, "count", 1, ">="))


def _of_any_call(row: Row) -> Iterator[Fault]:
    """What is wrong with what a torch loss was given, whatever its kind."""
    kind, low, high = row.text("kind"), row.number("target_least"), row.number("target_most")
    if row.flag("squared"):
        yield _broadcast(
            row, Measure("samples each target is compared with", row.integer("samples"), "count", 1)
        )
    if row.get("classes") == 1 or row.flag("batch_as_classes"):
        what = "over the batch" if row.flag("batch_as_classes") else "over one class: it is always 0"
        text = f"{kind} of outputs of shape {row.text('shape')} is taken {what}"
        remedy = "give one logit per class, or use binary_cross_entropy_with_logits"
        yield Fault(
            "loss", text, "wrong loss for one output", remedy, Measure("classes", 1, "count", _TWO, ">=")
        )
    if kind.startswith("binary") and row.flag("target_float") and not 0 <= low <= high <= 1:
        text = f"targets of {kind} run from {low:.4g} to {high:.4g}, outside 0 to 1"
        worst = Measure("distance outside", max(high - 1, -low), "target", 0.0)
        yield Fault("data", text, "labels are no probabilities", "map labels to 0 and 1", worst)
    if kind == "cross_entropy" and row.flag("target_float") and low < 0:
        text = f"soft targets of {kind} go down to {low:.4g}, below 0"
        least = Measure("least target", low, "target", 0.0, ">=")
        yield Fault("data", text, "targets are no probabilities", "use a regression loss", least)
    if row.text("last") == "Softmax" and row.number("least") >= _CERTAIN:
        text = f"softmax over one class: every output under {kind} is 1"
        spread = row.number("most") - row.number("least")
        apart = Measure("difference between outputs", spread, "probability", 1e-6, ">=")
        yield Fault(row.text("site"), text, "softmax for one output", "use sigmoid", apart)


def _broadcast(row: Row, measure: Measure) -> Fault:
    """Outputs and targets are compared in all pairs."""
    shapes = f"outputs {row.text('shape')} and targets {row.text('target_shape')}"
    text = f"{shapes} broadcast: every output is compared with every target"
    cause = "a missing or superfluous last axis: the loss cannot tell which target belongs to which"
    return Fault(
        "loss", text, cause, "give both the same shape: outputs.squeeze(1) or targets[:, None]", measure
    )


def _twice(row: Row, measure: Measure) -> Fault:
    """Probabilities where logits are wanted."""
    text = _given(row, "probabilities", "logits")
    itself = "" if row.flag("is_written") else ": cross_entropy applies it itself"
    cause = f"softmax is applied twice{itself}"
    return Fault(row.text("site"), text, cause, "remove the softmax in training", measure)


def _squashed(row: Row) -> Iterator[Fault]:
    """Outputs of an activation where logits are wanted."""
    last = row.text("last").lower()
    if last not in {"sigmoid", "softmax"} or row.number("least") >= _CERTAIN:
        return
    text = _given(row, f"outputs of a {last}", "logits")
    cause = f"a {last} before a loss that applies its own activation"
    twice = Measure("activations in a row", 2, "count", 1)
    yield Fault(row.text("site"), text, cause, f"remove the {last} in training", twice)


def _over_batch(row: Row, measure: Measure) -> Fault:
    """Probabilities over the wrong axis."""
    site = row.text("site")
    what = f"what {_kind(row)} is given" if site == "loss" else f"`{site}`"
    text = f"{what} is normalised over the batch: columns sum to 1, rows do not"
    cause, remedy = "softmax over axis 0", "use softmax(dim=1)"
    if row.text("kind") == "cross_entropy":
        cause = f"{cause}, that of the samples, before a loss that applies its own over the classes"
        remedy = "remove the softmax"
    return Fault(row.text("site"), text, cause, remedy, measure, over_batch=True)


def _over_another_axis(row: Row, measure: Measure) -> Fault:
    """Log-probabilities over positions or pixels, where those over classes are wanted."""
    text = _given(row, "log-probabilities that do not sum to 1 over the classes")
    cause = "log_softmax over another axis than that of the classes"
    return Fault(row.text("site"), text, cause, "give log_softmax the axis of the classes", measure)


def _kind(row: Row) -> str:
    return f"a {row.text('kind')} that is written out" if row.flag("is_written") else row.text("kind")


def _given(row: Row, what: str, wanted: str = "") -> str:
    """Who gives what to the loss: a module, or whatever stands between the model and the loss."""
    kind, site = _kind(row), row.text("site")
    if site == "loss":
        return f"{kind} is given {what}" + (f", and wants {wanted}" if wanted else "")
    return f"`{site}` gives {what} to {kind}" + (f", which wants {wanted}" if wanted else "")


def _no_logs(row: Row, measure: Measure, *, probabilities: bool) -> Fault:
    """No log-probabilities where such are wanted."""
    text = _given(row, "probabilities" if probabilities else "raw outputs", "log-probabilities")
    cause = "softmax where log_softmax is meant" if probabilities else "log_softmax is missing"
    return Fault(row.text("site"), text, cause, "use log_softmax, or cross_entropy on logits", measure)


def _backwards(finding: str, measure: Measure) -> Fault:
    """Wrong answers are rewarded."""
    cause = "the sign is flipped: training makes answers worse"
    return Fault("loss", finding, cause, "minimise the loss: remove the minus", measure)


def _one(value: float, name: str = "numbers in the loss") -> Measure:
    return Measure(name, value, "count", 1, "=")
