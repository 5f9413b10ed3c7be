"""The figures of the demo model: measured through the config's own test pipeline, written as JSON and Markdown.

Nothing here is typed in by hand: `report.json` holds what was measured, and the part of `checkpoints/README.md`
between two markers is made from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stgcn_onnx.annotations import Annotation
from stgcn_onnx.clips import decode
from stgcn_onnx.errors import UsageError
from stgcn_onnx.generated import CLASSES
from stgcn_onnx.metrics import roc_auc
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.runtime import FloatArray

BEGIN = "<!-- figures: begin (written by scripts/train_demo.py; do not edit) -->"
END = "<!-- figures: end -->"

_BATCH = 4
"""Larger ones take twice the time: their activations go back to the system after every batch."""
_NORMAL_QUANTILE = 1.96


@dataclass(frozen=True)
class Result:
    """Predictions on a set of clips.

    Attributes:
        labels: (N,) true classes.
        logits: (N, classes).
        kinds: (N,) kind of action of each clip; empty where any is unknown.
    """

    labels: npt.NDArray[np.integer]
    logits: FloatArray
    kinds: tuple[str, ...]

    @property
    def predicted(self) -> FloatArray:
        """(N,) the class with the larger logit."""
        chosen: FloatArray = self.logits.argmax(axis=1)
        return chosen

    def figures(self) -> dict[str, Any]:
        """Accuracy with its 95 % interval, confusion matrix (rows true, columns predicted), AUC, and by kind."""
        hits = self.predicted == self.labels
        auc = roc_auc(self.logits[:, 1] - self.logits[:, 0], self.labels)
        figures: dict[str, Any] = {
            "clips": len(hits),
            "correct": int(hits.sum()),
            "accuracy": round(float(hits.mean()), 4),
            "interval_95": [round(bound, 4) for bound in wilson(int(hits.sum()), len(hits))],
            "roc_auc": None if auc is None else round(auc, 4),
            "confusion": [
                [int(((self.labels == true) & (self.predicted == guess)).sum()) for guess in range(len(CLASSES))]
                for true in range(len(CLASSES))
            ],
        }
        if self.kinds:
            of_kind = np.array(self.kinds)
            figures["by_action"] = {
                kind: {"clips": int((of_kind == kind).sum()), "correct": int(hits[of_kind == kind].sum())}
                for kind in dict.fromkeys(self.kinds)
            }
        return figures


def evaluate(model: LoadedModel, annotations: Sequence[Annotation], path: Path) -> Result:
    """Run the model over the clips, each through the config's own test pipeline.

    Args:
        model: in evaluation mode.
        annotations: clips with labels 0 or 1.
        path: where they came from, for messages.

    Raises:
        UsageError: without any clip, or when the pipeline cannot take one.
    """
    if not annotations:
        raise UsageError(f"clips {path}: nothing to evaluate on", hint="give at least one clip")
    logits, batch = [], []
    with torch.inference_mode():
        for index, (_, views) in enumerate(decode(annotations, model.config, model.shape, path)):
            batch.append(views[0])  # (1, M, T, V, C) -> (M, T, V, C)
            if len(batch) == _BATCH or index == len(annotations) - 1:
                logits.append(model.recogniser(torch.from_numpy(np.stack(batch))).numpy())
                batch = []
    kinds = tuple(str(annotation.get("action", "")) for annotation in annotations)
    return Result(
        labels=np.array([annotation["label"] for annotation in annotations]),
        logits=np.concatenate(logits),
        kinds=kinds if all(kinds) else (),
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, z2 = successes / trials, _NORMAL_QUANTILE**2
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _NORMAL_QUANTILE * np.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    return centre - float(half), centre + float(half)


def write_report(report: Mapping[str, Any], json_path: Path, readme_path: Path) -> None:
    """Write the figures as JSON, and as Markdown between the markers of the README.

    Raises:
        UsageError: when the README lacks the markers.
    """
    text = readme_path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise UsageError(
            f"{readme_path.name}: expected the markers {BEGIN!r} and {END!r} once each", hint="put them back"
        )
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    json_path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    readme_path.write_text(f"{before}{BEGIN}\n\n{markdown(report)}\n{END}{after}", encoding="utf-8")


def markdown(report: Mapping[str, Any]) -> str:
    """The figures as Markdown tables."""
    parts = [_summary_table(report), _confusion_tables(report), _action_table(report["held_out"])]
    if report.get("training"):
        parts.append(_training_lines(report["training"]))
    return "\n".join(parts)


def _summary_table(report: Mapping[str, Any]) -> str:
    names = {
        "held_out": "generated, held-out seeds and scene parameters",
        "same_ranges": "generated, held-out seeds, scene parameters as in training",
        "real": "real surveillance video, never trained on",
    }
    rows = [(name, report[key]) for key, name in names.items() if report.get(key)]
    alone = report.get("held_out_alone") or {}
    rows += [(f"generated, only the parameters of *{group}* held out", row) for group, row in alone.items()]
    lines = ["| clips | number | accuracy | 95 % interval | ROC AUC |", "|---|---|---|---|---|"]
    for name, row in rows:
        low, high = row["interval_95"]
        share = f"**{row['accuracy']:.1%}** | {low:.1%} to {high:.1%}"
        area = "-" if row["roc_auc"] is None else f"{row['roc_auc']:.3f}"
        lines.append(f"| {name} | {row['clips']} | {share} | {area} |")
    return "\n".join(lines) + "\n"


def _confusion_tables(report: Mapping[str, Any]) -> str:
    lines = ["| true class | held out: said normal | said fight |", "|---|---|---|"]
    if report.get("real"):
        lines = [
            "| true class | held out: said normal | said fight | real: said normal | said fight |",
            "|---|---|---|---|---|",
        ]
    for index, name in enumerate(CLASSES):
        cells = [*report["held_out"]["confusion"][index]]
        if report.get("real"):
            cells += report["real"]["confusion"][index]
        lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _action_table(held_out: Mapping[str, Any]) -> str:
    lines = ["| action (held out) | clips | correct |", "|---|---|---|"]
    for kind, row in sorted(held_out["by_action"].items(), key=lambda item: item[1]["correct"] / item[1]["clips"]):
        lines.append(f"| {kind.replace('_', ' ')} | {row['clips']} | {row['correct'] / row['clips']:.1%} |")
    return "\n".join(lines) + "\n"


def _training_lines(training: Mapping[str, Any]) -> str:
    return (
        f"Trained on {training['train_clips']} generated clips for {training['epochs']} epochs (seed "
        f"{training['seed']}, {training['precision']}, {training['threads']} threads): "
        f"{training['training_s'] / 60:.1f} minutes of training after {training['generation_s']:.0f} s of generating "
        f"clips, {training['cpu_s'] / 60:.1f} minutes of CPU time in all; PyTorch {training['torch']}.\n"
    )
