"""Whether the code that scores a batch scores its samples together, as a correlation does.

Read from its bytecode; no judgement.
"""

from __future__ import annotations

from types import FrameType

from pytest_dlcheck.run.watch.batches.step_code import PRODUCT, named_in_a_step, words_in

_TOGETHER = frozenset(
    {
        *("corr", "corrcoef", "correlation", "cov", "covariance", "pearson", "pearsonr", "spearman"),
        *("spearmanr", "kendall", "kendalltau", "ccc", "concordance", "auc", "auroc", "roc", "ranking"),
        *("retrieve", "retrieved", "retrieval", "recall", "knn", "nearest", "neighbours", "neighbors"),
        *("mrr", "ndcg", "fid", "mmd", "cka", "contrastive", "infonce", "triplet", "similarity"),
        *("similarities", "pairwise", "cdist", "einsum", "mm", PRODUCT),
    }
)
"""Words of what is measured among the samples of a batch: it wants whole ones, in random order."""


def scores_together(frame: FrameType | None) -> bool:
    """Whether the code around a call of the model names such a measure.

    Args:
        frame: of the innermost function of the loop's own that runs.
    """
    names, _ = named_in_a_step(frame)
    return not _TOGETHER.isdisjoint(words_in(names))
