"""Figures of a classifier: from logits or probabilities and the true classes to numbers, and from two models to how far
they agree.

Accuracy and the confusion matrix are MMAction2's own functions, so that a figure here is the one its `tools/test.py`
gives. Arrays are `[N, classes]` for N clips; labels are N class numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stgcn_onnx.mmaction import load_mmaction

Scores = npt.NDArray[np.floating]
Labels = Sequence[int] | npt.NDArray[np.integer]


def softmax(logits: Scores) -> npt.NDArray[np.float64]:
    """Probabilities `[N, classes]` of logits, in float64; NaN for a clip with a logit that is not finite."""
    load_mmaction()
    from mmaction.evaluation import softmax as of_mmaction

    with np.errstate(invalid="ignore"):
        probabilities: npt.NDArray[np.float64] = of_mmaction(np.asarray(logits, np.float64), dim=1)
    return probabilities


def top1(scores: Scores, labels: Labels) -> float:
    """Share of the clips whose largest score is that of the true class."""
    load_mmaction()
    from mmaction.evaluation import top_k_accuracy

    return float(top_k_accuracy(scores, labels, (1,))[0])


def mean_class_accuracy(scores: Scores, labels: Labels) -> float:
    """Mean over the classes of the share of their clips that were found.

    As MMAction2 counts it: a class that occurs neither in the labels nor in the answers is left out, one that is
    answered and never true counts as 0.
    """
    load_mmaction()
    from mmaction.evaluation import mean_class_accuracy as of_mmaction

    return float(of_mmaction(scores, np.asarray(labels, np.int64)))


def confusion(scores: Scores, labels: Labels) -> npt.NDArray[np.int64]:
    """Counts `[classes, classes]`: rows are the true classes, columns the answers; classes without a clip included."""
    load_mmaction()
    from mmaction.evaluation.metrics import ConfusionMatrix

    answers = np.asarray(scores).argmax(axis=1)
    counts = ConfusionMatrix.calculate(answers, np.asarray(labels, np.int64), num_classes=np.shape(scores)[1])
    result: npt.NDArray[np.int64] = counts.numpy()
    return result


def roc_curve(scores: Scores, labels: Labels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """The receiver operating characteristic of two classes: false and true positive rate, both from 0 to 1.

    Args:
        scores: (N,) the larger, the more class 1. Clips of equal score are one step of the curve.

    Returns:
        None where the labels hold one class only: there is nothing to tell apart.
    """
    positive = np.asarray(labels) == 1
    if not positive.any() or positive.all():
        return None
    values, step = np.unique(-np.asarray(scores), return_inverse=True)
    rates = []
    for chosen in (~positive, positive):
        counts = np.bincount(step[chosen], minlength=len(values))
        rates.append(np.concatenate([[0.0], counts.cumsum() / chosen.sum()]))
    return rates[0], rates[1]


def roc_auc(scores: Scores, labels: Labels) -> float | None:
    """Probability that a clip of class 1 scores higher than one of class 0, ties counting half; 0.5 is chance.

    None where the labels hold one class only.
    """
    curve = roc_curve(scores, labels)
    return None if curve is None else float(np.trapezoid(curve[1], curve[0]))


def agrees(candidate: Scores, reference: Scores) -> npt.NDArray[np.bool_]:
    """(N,) whether both give the same class; a candidate with a score that is not finite agrees with nothing."""
    same: npt.NDArray[np.bool_] = candidate.argmax(axis=1) == reference.argmax(axis=1)
    return same & np.isfinite(candidate).all(axis=1)


def probability_difference(candidate: Scores, reference: Scores) -> npt.NDArray[np.float64]:
    """(N,) how far the probabilities `[N, classes]` of each clip are apart, from 0 to 1.

    Half the sum of the absolute differences (total variation). With two classes that is the absolute difference of
    either probability; with many it does not shrink, as the mean over the classes would. A candidate with a
    probability that is not finite is 1 away.
    """
    half = np.abs(np.asarray(candidate, np.float64) - reference).sum(axis=1) / 2
    return np.where(np.isfinite(half), half, 1.0)
