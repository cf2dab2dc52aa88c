"""What losses compare that is suspicious and may be meant, told as advice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pytest_dlcheck.trace import Row


def copied(row: Row) -> str:
    """Advice where a model of sequences may be taught to copy."""
    return (
        f"{row.integer('copied')} of {row.integer('looked')} losses have as targets the very tokens "
        "that the model is called on, place by place: a language model's are shifted, y[t] = x[t + 1], "
        "or hidden from it, unless the model shifts them itself or is to copy"
    )


def given(row: Row) -> str:
    """Advice where the answer is among what is asked."""
    return (
        f"in {row.integer('given')} of {row.integer('looked')} losses the target of every sample is "
        f"among its own inputs, {row.text('given_shapes')}: a leak, unless it is to be copied; the "
        "target of a forecast comes after its window"
    )


def padding(row: Row) -> str:
    """Advice where a loss counts what lies beyond the ends of sequences."""
    return (
        f"in {row.integer('padding')} of {row.integer('looked')} losses {row.text('padding_shapes')} of "
        "the targets lie on padding, where all are of one class: ignore_index or a mask leaves them "
        "out of the loss, and of the accuracy"
    )


def masked(row: Row) -> str:
    """Advice where a mean is taken over what a mask leaves out, too."""
    return (
        f"in {row.integer('masked')} of {row.integer('looked')} losses a mask sets "
        f"{row.text('masked_shapes')} of the places to 0, and the mean is over all of them: divide the "
        "sum by mask.sum(), or the loss is smaller the fewer places count"
    )


def unlikelier(row: Row) -> str:
    """Advice where the sign of a policy's loss is that of costs."""
    return (
        f"in {row.integer('unlikelier')} of {row.integer('looked')} losses actions become less likely "
        "the more they are worth: right where these numbers are costs; where they are rewards, the "
        "loss has the wrong sign: -(log_prob * advantage).mean()"
    )


def weightless(row: Row) -> str:
    """Advice where a term has no weight."""
    return (
        f"a term of the loss is multiplied by 0 in {row.integer('weightless')} of "
        f"{row.integer('looked')} losses: it trains nothing"
    )


def cut(row: Row) -> str:
    """Advice where a batch is viewed with other rows before the model."""
    shapes = row.text("cut_shapes")
    return f"a view cuts samples apart: the model is called on {shapes}; mind view(-1, n)"


def cut_targets(row: Row) -> str:
    """Advice where inputs are to be made anew in other rows than samples."""
    if 2 * row.integer("cut") > row.integer("looked"):
        return ""
    before, _, after = row.text("cut_targets_shapes").partition(" as ")
    return (
        f"a view cuts samples apart: inputs of {before} are the targets as {after}, several rows of "
        "each; mind view(-1, n)"
    )


def cut_apart(row: Row) -> str:
    """Advice where a view within the model makes several rows of a sample."""
    before, _, after = row.text("cut_inside_shapes").partition(" as ")
    return (
        f"a view within the model cuts samples apart: {before} is taken as {after}, several rows for "
        "each sample, and they are never put together again: mind view(-1, n), and use flatten(1)"
    )


def beyond(row: Row) -> Iterator[str]:
    """Advice where values are taken from beyond the end of an episode, and never stop there."""
    count, name = row.integer("beyond"), row.text("beyond_shapes")
    if count >= OFTEN and not row.integer("ended"):
        yield (
            f"in {count} losses the targets hold the value of a next state also where `{name}` says "
            "that the episode is over: unless that is a limit of time only, mask what lies beyond a "
            f"terminal state, r + gamma * value * (1 - {name})"
        )


OFTEN = 3
"""Losses (count) that are no accident, of those that are looked at and have an end in their batch."""
ADVICE: Mapping[str, Callable[[Row], str]] = {
    "copied": copied,
    "given": given,
    "padding": padding,
    "masked": masked,
    "unlikelier": unlikelier,
    "weightless": weightless,
    "cut": cut,
    "cut_inside": cut_apart,
    "cut_targets": cut_targets,
}
"""Advice likewise."""


def advice_on(row: Row, loop: Row) -> Iterator[str]:
    """What most losses show, and may be meant.

    Args:
        row: what losses compare.
        loop: the loop's own.
    """
    looked = row.integer("looked")
    if 2 * row.integer("moving") > looked:
        yield "gradients flow into the targets of the loss: detach() them, unless both should move"
    for name, advice in ADVICE.items():
        if 2 * row.integer(name) > looked and (said := advice(row)):
            yield said
    yield from beyond(row)
    if seen := loop.text("unflattened"):
        yield f"{seen}: a linear layer reads the last axis only, here rows: flatten(1) first"
