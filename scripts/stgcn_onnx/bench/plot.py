"""Latency against frames and against people present, as one SVG; bars reach from the fastest round to the slowest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stgcn_onnx.bench.report import Report, Row
from stgcn_onnx.svg import svg_text

_SIZE_INCHES = (10.0, 4.0)
# Okabe and Ito's palette, told apart by colour-blind readers too; the marker says it again.
_STYLES = {"PyTorch eager": ("#0072B2", "o"), "plain export": ("#D55E00", "s"), "this converter": ("#009E73", "^")}


def plot(report: Report) -> str:
    """The plot of a peers report as the text of an SVG file; the same report gives the same text."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    frames, people = figure.subplots(1, 2)
    _panel(frames, report.sweep, lambda row: row.clips.frames, "frames in a clip, T")
    _panel(people, report.by_people, lambda row: row.clips.people, "people present")
    figure.suptitle(f"Latency of one clip on {report.machine}, {report.device}", fontsize=10)
    return svg_text(figure)


def _panel(axes: Any, rows: Sequence[Row], place: Callable[[Row], int], label: str) -> None:
    for name in dict.fromkeys(row.label for row in rows):
        colour, marker = _STYLES[name.partition(",")[0]]
        points = sorted((place(row), row.figures.median_ms) for row in rows if row.label == name and row.figures)
        middle = [spread.median for _, spread in points]
        reach = [[s.median - s.min for _, s in points], [s.max - s.median for _, s in points]]
        axes.errorbar([x for x, _ in points], middle, yerr=reach, color=colour, marker=marker, capsize=3, label=name)
    axes.set_xlabel(label)
    axes.set_ylabel("median latency in ms")
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({place(row) for row in rows}))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
