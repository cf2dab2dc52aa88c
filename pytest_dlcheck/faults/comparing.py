"""Losses that compare the wrong things, told as faults. Thresholds are the check's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.faults.overwritten import one_sample
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


def of_another_batch(row: Row, bound: float) -> Fault:
    """The targets did not come with the inputs."""
    wrong, known = row.integer("misaligned"), row.integer("misaligned") + row.integer("aligned")
    age = row.integer("age")
    far = f"{abs(age)} {'batch' if abs(age) == 1 else 'batches'} {'older' if age > 0 else 'newer'}"
    return Fault(
        because=(
            f"{wrong} of {known} losses compare a batch with the targets of another one, {far} "
            f"(fewer than {bound:g} may)"
        ),
        measures=(Measure("losses with another batch's targets", wrong, "count", bound, "<"),),
        suspects=(Suspect("data", f"the targets are {far} than the inputs"),),
        cause="inputs and targets come from different batches: a variable is kept from the batch before",
        remedy="take inputs and targets from one batch: for inputs, targets in loader",
    )


def crossed(row: Row, bound: float) -> Fault:
    """Outputs and targets are broadcast against each other."""
    count, looked, shapes = row.integer("crossed"), row.integer("looked"), row.text("crossed_shapes")
    return Fault(
        because=(
            f"{count} of {looked} losses compare every output with every target: {shapes} "
            f"(fewer than {bound:g} may)"
        ),
        measures=(Measure("losses of broadcast shapes", count, "count", bound, "<"),),
        suspects=(Suspect("loss", f"outputs of shape {shapes}"),),
        cause="outputs [n, 1] and targets [n] are broadcast: each output is drawn to the mean target",
        remedy="give them one shape: outputs.squeeze(1), or targets.unsqueeze(1)",
    )


def taught(row: Row) -> Fault:
    """A trained network that gives the targets is trained along."""
    count, name = row.integer("taught"), row.text("teacher")
    return Fault(
        because=(
            f"{count} parameters of `{name}`, trained before, get gradients through the targets of the "
            "loss alone (0 should), and its own student's optimizer steps them"
        ),
        measures=(Measure("parameters trained as targets", count, "count", 0),),
        suspects=(
            Suspect(name, "gives the targets, with gradients, and is stepped beside its student"),
        ),
        cause=f"`{name}` gives targets that are not detached: the teacher is pulled towards its student",
        remedy="compute the targets under torch.no_grad(), and leave the teacher out of the optimizer",
    )


def in_another_order(row: Row, bound: float) -> Fault:
    """The targets are those of the batch, given to other samples of it."""
    count, looked = row.integer("permuted"), row.integer("looked")
    return Fault(
        because=(
            f"{count} of {looked} losses compare a batch with its own targets in another order "
            f"(fewer than {bound:g} may)"
        ),
        measures=(Measure("losses with targets in another order", count, "count", bound, "<"),),
        suspects=(
            Suspect(
                "data", "the targets are permuted, the inputs are not: each belongs to another sample"
            ),
        ),
        cause="targets are shuffled, rolled or sorted apart from their inputs",
        remedy="give both one order: x, y = x[order], y[order], or leave both as the loader gives them",
    )


def copied(row: Row) -> str:
    """Advice where a model of sequences may be taught to copy."""
    return (
        f"{row.integer('copied')} of {row.integer('looked')} losses have as targets the very tokens "
        "that the model is called on, place by place: a language model's are shifted, y[t] = x[t + 1], "
        "unless the model shifts them itself or is to copy"
    )


def foreseen(row: Row, bound: float) -> Fault:
    """Attention shows a language model the word that it is to say."""
    count, looked = row.integer("foreseen"), row.integer("looked")
    return Fault(
        because=(
            f"in {count} of {looked} losses (fewer than {bound:g} may) targets are the next words, and "
            "every attention over the words lets a place see the next one: what is to be said is shown"
        ),
        measures=(Measure("losses whose next words are shown", count, "count", bound, "<"),),
        suspects=(Suspect("attention", "no causal mask"),),
        cause="attention without a causal mask: each word is predicted from itself",
        remedy="mask what comes later: is_causal=True, or a mask that is -inf above the diagonal",
    )


def turned(row: Row, bound: float) -> Fault:
    """Scores by steps beside targets by samples, both flattened."""
    count, looked, shapes = row.integer("turned"), row.integer("looked"), row.text("turned_shapes")
    remedy = "bring both into one order before they are flattened: scores.transpose(0, 1), or targets.T"
    return Fault(
        because=(
            f"{count} of {looked} losses (fewer than {bound:g} may) compare flattened scores with "
            f"flattened targets whose axes are turned: {shapes}"
        ),
        measures=(Measure("losses with turned axes", count, "count", bound, "<"),),
        suspects=(Suspect("loss", f"scores and targets are in another order: {shapes}", remedy),),
        cause="scores are time-major, targets batch-major: each is compared with another place's target",
        remedy=remedy,
    )


def its_own(row: Row, bound: float) -> Fault:
    """A contrastive loss whose positives are the samples themselves."""
    count, looked = row.integer("its_own"), row.integer("looked")
    remedy = "compare the features of one view with those of the other: z1 @ z2.T; or mask the diagonal"
    return Fault(
        because=(
            f"in {count} of {looked} losses (fewer than {bound:g} may) the right answer of each sample "
            "is the product of its features with themselves, z @ z.T: one view is its own positive"
        ),
        measures=(Measure("losses that pair samples with themselves", count, "count", bound, "<"),),
        suspects=(Suspect("loss", "both sides of the products are the same features", remedy),),
        cause="the positive of each sample is itself: one view is compared with itself, not another",
        remedy=remedy,
    )


def advantage(row: Row, bound: float) -> Fault:
    """A critic that is drawn along by the loss of its actor."""
    count, looked = row.integer("advantage"), row.integer("looked")
    remedy = "detach the advantage in the actor's loss: -(log_prob * advantage.detach()).mean()"
    return Fault(
        because=(
            f"in {count} of {looked} losses (fewer than {bound:g} may) log-probabilities of what was "
            f"chosen, {row.text('advantage_shapes')}, are weighed by returns less values with gradients"
        ),
        measures=(Measure("losses whose weights have gradients", count, "count", bound, "<"),),
        suspects=(Suspect("loss", "the actor's loss reaches the critic through the advantage", remedy),),
        cause="the advantage is not detached: the actor's loss trains the critic to please it",
        remedy=remedy,
    )


def weightless(row: Row) -> str:
    """Advice where a term has no weight."""
    return (
        f"a term of the loss is multiplied by 0 in {row.integer('weightless')} of "
        f"{row.integer('looked')} losses: it trains nothing"
    )


def given(row: Row) -> str:
    """Advice where the answer is among what is asked."""
    return (
        f"in {row.integer('given')} of {row.integer('looked')} losses the target of every sample is one "
        f"of its own inputs, {row.text('given_shapes')}: a leak, unless it is to be copied; the target "
        "of a forecast comes after its window"
    )


def padding(row: Row) -> str:
    """Advice where a loss counts what lies beyond the ends of sequences."""
    return (
        f"in {row.integer('padding')} of {row.integer('looked')} losses {row.text('padding_shapes')} of "
        "the targets lie on padding, where all are of one class: ignore_index or a mask leaves them "
        "out of the loss, and of the accuracy"
    )


def unlikelier(row: Row) -> str:
    """Advice where the sign of a policy's loss is that of costs."""
    return (
        f"in {row.integer('unlikelier')} of {row.integer('looked')} losses actions become less likely "
        "the more they are worth: right where these numbers are costs; where they are rewards, the "
        "loss has the wrong sign: -(log_prob * advantage).mean()"
    )


def punished(row: Row, bound: float) -> Fault:
    """A policy that is led away from what earned something, by the loop's own words."""
    count, looked, by = row.integer("punished"), row.integer("looked"), row.text("punished_shapes")
    remedy = "maximise it: -(log_prob * advantage).mean()"
    return Fault(
        because=(
            f"in {count} of {looked} losses (fewer than {bound:g} may) actions are weighed, {by}, so "
            "that they become less likely the more they have earned"
        ),
        measures=(Measure("losses that punish what was earned", count, "count", bound, "<"),),
        suspects=(Suspect("loss", "rises with the log-probability of what earned most", remedy),),
        cause="the policy's loss has the wrong sign: a minus is missing",
        remedy=remedy,
    )


def masked(row: Row) -> str:
    """Advice where a mean is taken over what a mask leaves out, too."""
    return (
        f"in {row.integer('masked')} of {row.integer('looked')} losses a mask sets "
        f"{row.text('masked_shapes')} of the places to 0, and the mean is over all of them: divide the "
        "sum by mask.sum(), or the loss is smaller the fewer places count"
    )


def masked_late(row: Row, bound: float) -> Fault:
    """A mask that the mean of a loss is multiplied by, which leaves nothing out."""
    count, share = row.integer("masked_late"), row.text("masked_late_shapes")
    remedy = 'mask before the mean: (F.mse_loss(x, y, reduction="none") * mask).sum() / mask.sum()'
    return Fault(
        because=(
            f"in {count} of {row.integer('looked')} losses (fewer than {bound:g} may) a mask, {share} "
            "zeros, is multiplied by one number, the mean over all places: those that it is to leave "
            "out count"
        ),
        measures=(Measure("masks after the mean", count, "count", bound, "<"),),
        suspects=(Suspect("loss", "is averaged before the mask is applied", remedy),),
        cause="the loss is reduced before its mask, which changes nothing: masked places are fitted too",
        remedy=remedy,
    )


def cut(row: Row) -> str:
    """Advice where a batch is viewed with other rows before the model."""
    shapes = row.text("cut_shapes")
    return f"a view cuts samples apart: the model is called on {shapes}; mind view(-1, n)"


def cut_apart(row: Row) -> str:
    """Advice where a view within the model makes several rows of a sample."""
    before, _, after = row.text("cut_inside_shapes").partition(" as ")
    return (
        f"a view within the model cuts samples apart: {before} is taken as {after}, several rows for "
        "each sample, and they are never put together again: mind view(-1, n), and use flatten(1)"
    )


BY_NAME: Mapping[str, Callable[[Row, float], Fault]] = {
    "crossed": crossed,
    "turned": turned,
    "its_own": its_own,
    "foreseen": foreseen,
    "advantage": advantage,
    "one_sample": one_sample,
    "masked_late": masked_late,
    "punished": punished,
}
"""Faults by the name under which the losses that show them are counted."""
ADVICE: Mapping[str, Callable[[Row], str]] = {
    "copied": copied,
    "given": given,
    "padding": padding,
    "masked": masked,
    "unlikelier": unlikelier,
    "weightless": weightless,
    "cut": cut,
    "cut_inside": cut_apart,
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
        if 2 * row.integer(name) > looked:
            yield advice(row)
    if seen := loop.text("unflattened"):
        yield f"{seen}: a linear layer reads the last axis only, here rows: flatten(1) first"
