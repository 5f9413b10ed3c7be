"""An evaluation as JSON and as tables; every number comes from it."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stgcn_onnx.bench.files import write_text
from stgcn_onnx.bench.tables import Table, markdown, show
from stgcn_onnx.evaluation import Evaluation, Figures, Subject
from stgcn_onnx.evaluation_plot import plot
from stgcn_onnx.predictions import Differing, differing

FORMAT_VERSION = 1
_MOST_CLASSES = 12
"""A confusion matrix of more classes does not fit a page; of those the most frequent mistakes are listed."""


def deliver(result: Evaluation, arguments: argparse.Namespace) -> None:
    """The tables to stdout, and each form to the file that an option names.

    Args:
        arguments: with `json`, `markdown` and `svg`.
    """
    show(tables_of(result))
    forms = ((arguments.json, report_json), (arguments.markdown, document), (arguments.svg, plot))
    for place, form in forms:
        if place is not None:
            write_text(Path(place), form(result))


def report_json(result: Evaluation) -> str:
    """The evaluation as JSON text, with the probabilities of each sample on which the two models differ."""
    document = {
        "format_version": FORMAT_VERSION,
        "subject": asdict(result.subject),
        "videos": result.videos,
        "used_for_calibration": result.calibrated,
        "samples": len(result.said.names),
        "file": _figures(result.file),
        "pytorch": _figures(result.pytorch),
        "agreement": _rounded(result.agreement),
        "mean_probability_difference": _rounded(result.mean_probability_difference),
        "max_probability_difference": _rounded(result.max_probability_difference),
        "differing": [_sample(item) for item in differing(result.said)],
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def tables_of(result: Evaluation) -> list[Table]:
    """The figures of both models, the mistakes of the file, and the samples on which the two differ."""
    tables = [_figures_table(result), _confusion_table(result)]
    found = differing(result.said)
    return [*tables, _differing_table(found, result.subject)] if found else tables


def document(result: Evaluation) -> str:
    """All tables and what was evaluated, as Markdown."""
    return "\n\n".join([*map(markdown, tables_of(result)), footnote(result)]) + "\n"


def footnote(result: Evaluation) -> str:
    """What was evaluated on what, as a paragraph of Markdown."""
    subject = result.subject
    of_split = f", split {subject.split}" if subject.split else ""
    averaged = (
        f"the clips of a video are averaged by `{subject.average_clips}`"
        if subject.average_clips
        else "clips of one video are not averaged, each counts"
    )
    calibrated = f", {result.calibrated} of which were used to calibrate the file" if result.calibrated else ""
    return (
        f"{subject.model} ({subject.precision}, sha256 {subject.sha256[:12]}…) and {subject.checkpoint} with "
        f"{subject.config} on {result.videos} videos of {subject.clips}{of_split}{calibrated}; {averaged}. The "
        "difference of the probabilities is half the sum over the classes, with two classes that of either."
    )


def _figures_table(result: Evaluation) -> Table:
    file, pytorch = result.file, result.pytorch
    rows = [
        ("samples", str(len(result.said.names)), str(len(result.said.names))),
        ("top-1", f"{file.top1:.2%}", f"{pytorch.top1:.2%}"),
        ("mean class accuracy", f"{file.mean_class_accuracy:.2%}", f"{pytorch.mean_class_accuracy:.2%}"),
    ]
    if file.roc_auc is not None and pytorch.roc_auc is not None:
        rows.append(("ROC-AUC", f"{file.roc_auc:.4f}", f"{pytorch.roc_auc:.4f}"))
    rows += [
        ("agreement with PyTorch", f"{result.agreement:.2%}", ""),
        ("mean probability difference", f"{result.mean_probability_difference:.2g}", ""),
        ("largest probability difference", f"{result.max_probability_difference:.2g}", ""),
    ]
    return Table("", ("figure", "this file", "PyTorch"), tuple(rows))


def _confusion_table(result: Evaluation) -> Table:
    classes, counts = result.subject.classes, result.file.confusion
    if len(classes) > _MOST_CLASSES:
        mistakes = counts - np.diag(np.diag(counts))
        worst = np.argsort(-mistakes, axis=None, kind="stable")[:_MOST_CLASSES]
        pairs = [divmod(int(place), len(classes)) for place in worst if mistakes.flat[place]]
        rows = tuple((classes[true], classes[said], str(mistakes[true, said])) for true, said in pairs)
        return Table("Most frequent mistakes", ("true class", "said", "samples"), rows, frozenset({0, 1}))
    headers = ("true class", *(f"said {name}" for name in classes))
    answers = tuple((name, *map(str, row)) for name, row in zip(classes, counts, strict=True))
    return Table("Answers of this file", headers, answers)


def _differing_table(found: tuple[Differing, ...], subject: Subject) -> Table:
    rows = []
    for item in found:
        answers = (_answer(probabilities, subject) for probabilities in (item.candidate, item.reference))
        rows.append((item.frame_dir, "" if item.label is None else subject.classes[item.label], *answers))
    headers = ("clip", "true class", "this file", "PyTorch")
    return Table("Clips on which the two differ", headers, tuple(rows), frozenset(range(4)))


def _answer(probabilities: tuple[float, ...], subject: Subject) -> str:
    """The winning class and every class's probability, or its own alone where there are many."""
    if not all(map(math.isfinite, probabilities)):
        return "no finite number"
    winner = int(np.argmax(probabilities))
    if len(probabilities) > 2:
        return f"{subject.classes[winner]} {probabilities[winner]:.3f}"
    return f"{subject.classes[winner]} ({' : '.join(f'{value:.3f}' for value in probabilities)})"


def _figures(figures: Figures) -> dict[str, Any]:
    return {
        "top1": _rounded(figures.top1),
        "mean_class_accuracy": _rounded(figures.mean_class_accuracy),
        "roc_auc": None if figures.roc_auc is None else _rounded(figures.roc_auc),
        "confusion": figures.confusion.tolist(),
    }


def _sample(item: Differing) -> dict[str, Any]:
    return {
        "frame_dir": item.frame_dir,
        "label": item.label,
        "file": list(map(_rounded, item.candidate)),
        "pytorch": list(map(_rounded, item.reference)),
    }


def _rounded(value: float) -> float | str:
    """Six significant digits; JSON knows neither NaN nor infinity, those become text."""
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)
