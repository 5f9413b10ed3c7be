"""An evaluation as one SVG: the confusion matrix, the ROC of two classes, and each sample's probability in both."""

from __future__ import annotations

from typing import Any

import numpy as np

from stgcn_onnx.evaluation import Evaluation
from stgcn_onnx.metrics import agrees, roc_curve
from stgcn_onnx.svg import svg_text

_PANEL_INCHES = 4.2
_MOST_COUNTS = 12
"""Numbers are written into the matrix of so many classes at most."""
# Okabe and Ito's palette, told apart by colour-blind readers too.
_BLUE, _RED, _GREEN = "#0072B2", "#D55E00", "#009E73"


def plot(result: Evaluation) -> str:
    """The text of an SVG file; the same evaluation gives the same text."""
    from matplotlib.figure import Figure

    panels = [_confusion, _roc, _probabilities] if result.file.roc_auc is not None else [_confusion, _probabilities]
    figure = Figure(figsize=(_PANEL_INCHES * len(panels), _PANEL_INCHES), layout="constrained")
    for panel, axes in zip(panels, figure.subplots(1, len(panels)), strict=True):
        panel(axes, result)
    subject = result.subject
    figure.suptitle(f"{subject.model} ({subject.precision}) on {result.videos} videos of {subject.clips}", fontsize=10)
    return svg_text(figure)


def _confusion(axes: Any, result: Evaluation) -> None:
    counts, classes = result.file.confusion, result.subject.classes
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("said")
    axes.set_ylabel("true class")
    axes.set_title(f"top-1 {result.file.top1:.1%}", fontsize=9)
    if len(classes) > _MOST_COUNTS:
        return
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)


def _roc(axes: Any, result: Evaluation) -> None:
    said = result.said
    assert said.labels is not None
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    for name, probabilities, style in (
        ("PyTorch", said.reference, {"color": _BLUE, "linewidth": 3.0, "alpha": 0.5}),
        ("this file", said.candidate, {"color": _RED, "linewidth": 1.2}),
    ):
        curve = roc_curve(probabilities[:, 1], said.labels)
        figures = result.file if name == "this file" else result.pytorch
        if curve is not None:
            axes.plot(*curve, label=f"{name}, area {figures.roc_auc:.3f}", **style)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.set_title(f"ROC of '{result.subject.classes[1]}'", fontsize=9)
    axes.legend(fontsize=8, loc="lower right")


def _probabilities(axes: Any, result: Evaluation) -> None:
    """The same class in both models: the second of two, else the true one."""
    said, classes = result.said, result.subject.classes
    assert said.labels is not None
    chosen = np.ones_like(said.labels) if len(classes) == 2 else said.labels
    places = np.arange(len(chosen))
    x, y = said.reference[places, chosen], said.candidate[places, chosen]
    same = agrees(said.candidate, said.reference)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.scatter(x[same], y[same], s=10, color=_GREEN, label=f"same class ({same.sum()})")
    axes.scatter(x[~same], y[~same], s=24, color=_RED, marker="x", label=f"another class ({(~same).sum()})")
    axes.set_xlabel("probability in PyTorch")
    axes.set_ylabel("probability in this file")
    of_class = f"'{classes[1]}'" if len(classes) == 2 else "the true class"
    axes.set_title(f"probability of {of_class}", fontsize=9)
    axes.legend(fontsize=8, loc="upper left")
