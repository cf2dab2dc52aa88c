"""Faults that most losses of a training show, as they are counted by name: what is said of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_dlcheck.faults.fault import Fault
from pytest_dlcheck.trace import Row
from pytest_dlcheck.verdict import Measure, Suspect


@dataclass(frozen=True)
class Story:
    """What is said of losses that show a fault; ``{words}`` stands for what was noticed, such as shapes.

    Attributes:
        seen: what is so in them, a sentence without its end.
        counted: what the losses are called that are counted.
        finding: what is wrong at the site; and
        cause: why, and
        remedy: what to do about it.
        site: where.
        of: the counts that are, together, the losses that could show it.
    """

    seen: str
    counted: str
    finding: str
    cause: str
    remedy: str
    site: str = "loss"
    of: tuple[str, ...] = ("looked",)


STORIES: Mapping[str, Story] = {
    "crossed_within": Story(
        seen="broadcasting puts every sample beside every other within the model: {words}",
        counted="losses of outputs of broadcast shapes",
        finding="numbers of shape {words}",
        cause="[n, 1] and [n] are broadcast within the model: one output for each pair of samples",
        remedy="give them one shape: squeeze(-1) what a layer of one output gives",
        site="the model",
    ),
    "crossed": Story(
        seen="broadcasting compares every output with every target: {words}",
        counted="losses of broadcast shapes",
        finding="outputs of shape {words}",
        cause="outputs [n, 1] and targets [n] are broadcast: each output is drawn to the mean target",
        remedy="give them one shape: outputs.squeeze(1), or targets.unsqueeze(1)",
    ),
    "turned": Story(
        seen="flattened scores are compared with flattened targets whose axes are turned: {words}",
        counted="losses with turned axes",
        finding="scores and targets are in another order: {words}",
        cause="one is time-major, the other batch-major: scores meet the targets of other places",
        remedy="bring both into one order, then flatten: scores.transpose(0, 1), or targets.T",
    ),
    "its_own": Story(
        seen=(
            "the right answer of each sample is the product of its features with themselves, z @ z.T: "
            "one view is its own positive"
        ),
        counted="losses that pair samples with themselves",
        finding="both sides of the products are the same features",
        cause="the positive of each sample is itself: one view is compared with itself, not another",
        remedy="compare one view's features with the other's: z1 @ z2.T; or mask the diagonal",
    ),
    "foreseen": Story(
        seen=(
            "targets are the next words, and every attention over the words lets a place see the next "
            "one: what is to be said is shown"
        ),
        counted="losses whose next words are shown",
        finding="no causal mask",
        cause="attention without a causal mask: each word is predicted from itself",
        remedy="mask what comes later: is_causal=True, or a mask that is -inf above the diagonal",
        site="attention",
    ),
    "skipped": Story(
        seen="the target of each place is not the next word but the one after it",
        counted="losses that skip a word",
        finding="targets are two steps ahead",
        cause="targets are shifted twice: by the loop, and again by the model or the loss",
        remedy="shift once: a model that shifts labels itself is given the input as its labels",
        site="targets",
    ),
    "advantage": Story(
        seen=(
            "log-probabilities of what was chosen, {words}, are weighed by returns less values with "
            "gradients"
        ),
        counted="losses whose weights have gradients",
        finding="the actor's loss reaches the critic through the advantage",
        cause="the advantage is not detached: the actor's loss trains the critic to please it",
        remedy="detach the advantage in the actor's loss: -(log_prob * advantage.detach()).mean()",
    ),
    "one_sample": Story(
        seen=(
            "all samples of {words} that the model is called on are one and the same, while their "
            "targets differ"
        ),
        counted="losses on one sample with many targets",
        finding="all rows of {words} are equal",
        cause="samples were kept by reference: one tensor, or array, is written to again",
        remedy="keep copies: memory.append(state.clone()), or state.copy() of an array",
        site="data",
    ),
    "masked_late": Story(
        seen=(
            "a mask, {words} zeros, is multiplied by one number, the mean over all places: those that "
            "it is to leave out count"
        ),
        counted="masks after the mean",
        finding="is averaged before the mask is applied",
        cause="the loss is reduced before its mask, which changes nothing: masked places are fitted too",
        remedy='mask before the mean: (F.mse_loss(x, y, reduction="none") * mask).sum() / mask.sum()',
    ),
    "punished": Story(
        seen="actions are weighed, {words}, so that they become less likely the more they have earned",
        counted="losses that punish what was earned",
        finding="rises with the log-probability of what earned most",
        cause="the policy's loss has the wrong sign: a minus is missing, or is one too many",
        remedy=(
            "maximise it: -(log_prob * (returns - values)).mean(); a cross-entropy is minus log_prob "
            "already"
        ),
        of=("punished", "rewarded"),
    ),
    "optimistic": Story(
        seen=(
            "of a policy's ratio times its advantages, and the same with the ratio clipped, {words}: "
            "where one is better than the other, the better one counts"
        ),
        counted="losses with the wrong bound of a clipped ratio",
        finding="the clipped objective of PPO is turned",
        cause=(
            "the policy's loss has the wrong sign: the clipped objective is to be maximised, and a "
            "minus is missing (or min and max are exchanged)"
        ),
        remedy="-torch.min(ratio * a, ratio.clamp(1 - eps, 1 + eps) * a).mean()",
        of=("optimistic",),
    ),
    "certain": Story(
        seen=(
            "the entropy of a policy, of probabilities {words}, is added to its loss, beside the gain "
            "of what it chooses"
        ),
        counted="losses that grow with a policy's entropy",
        finding="grows with the entropy of the policy: it is made to stop exploring",
        cause="the entropy bonus has the wrong sign: the loss penalises exploration",
        remedy="subtract it: policy_loss - beta * entropy.mean()",
    ),
}
"""By the name under which the losses that show a fault are counted, the gravest first."""


def first_of(row: Row, several: int, some: float) -> Fault | None:
    """The first fault that so many losses show.

    Args:
        row: what losses compare.
        several: losses (count) that are no accident.
        some: share of the losses that could show it (ratio).
    """
    shown = (
        (name, bound)
        for name, story in STORIES.items()
        if row.integer(name) >= (bound := max(several, some * _able(story, row)))
    )
    return next((_told(name, row, bound) for name, bound in shown), None)


def _able(story: Story, row: Row) -> int:
    return sum(row.integer(each) for each in story.of)


def _told(name: str, row: Row, bound: float) -> Fault:
    story, words = STORIES[name], row.text(f"{name}_shapes")
    count, able = row.integer(name), _able(story, row)
    seen = story.seen.format(words=words)
    return Fault(
        because=f"in {count} of {able} losses (fewer than {bound:g} may) {seen}",
        measures=(Measure(story.counted, count, "count", bound, "<"),),
        suspects=(Suspect(story.site, story.finding.format(words=words), story.remedy),),
        cause=story.cause,
        remedy=story.remedy,
    )
