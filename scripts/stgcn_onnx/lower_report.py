"""The report on a file of lower precision: as JSON, as a table, and what a failure leaves for looking into it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stgcn_onnx.accuracy import accuracy_document, set_text
from stgcn_onnx.errors import VerificationError
from stgcn_onnx.verify_lower import LowerReport


def lower_document(report: LowerReport) -> dict[str, Any]:
    """The verdict as JSON values: the accuracy on each set of clips, and a row for each shape."""
    return {
        "passed": report.passed,
        "arithmetic": report.arithmetic,
        "accuracy": accuracy_document(report.accuracy, () if report.passed else report.suggestions),
        "shapes": [{**asdict(row), "passed": row.passed} for row in report.rows],
    }


def keep_failing(report: LowerReport, path: Path) -> None:
    """Write the inputs that show the failure, under the names of their clips."""
    with path.open("wb") as stream:
        # A zip archive takes no folders apart: names of clips may hold slashes.
        np.savez(stream, allow_pickle=False, **{name.replace("/", "_"): clip for name, clip in report.failing.items()})


def refuse(report: LowerReport, model: Path, see: str) -> None:
    """Refuse a file that failed.

    Args:
        see: where more is written, as a hint; empty where nothing is.

    Raises:
        VerificationError: naming what is broken, and which layers to leave in float.
    """
    broken = [f"{item.name}: {text}" for item in report.accuracy.sets for text in item.broken]
    for row in report.rows:
        if not row.finite:
            broken.append(f"{list(row.shape)}: logits that are not finite")
        elif not row.passed:
            broken.append(
                f"{list(row.shape)}: mean probability difference {row.mean_probability_difference:.4f} on "
                f"{row.clips} clips, allowed {row.allowed:g}"
            )
    if broken:
        layers = ", ".join(report.suggestions)
        advice = f"leave these layers in float with calibration.exclude: {layers}" if layers else "raise the precision"
        raise VerificationError(f"model {model}: {'; '.join(broken)}", hint="; ".join(filter(None, (advice, see))))


def lower_table(report: LowerReport) -> str:
    """The report as text: a line for each set of clips, and one for each shape."""
    lines = [f"{'ok' if item.passed else 'DIFFERS':<8}{set_text(item)}" for item in report.accuracy.sets]
    lines += [
        f"{'ok' if row.passed else 'DIFFERS':<8}{'x'.join(map(str, row.shape))}: {row.cases} cases "
        f"{'finite' if row.finite else 'NOT FINITE'}, mean probability difference {row.mean_probability_difference:.4f}"
        for row in report.rows
    ]
    return "\n".join(lines)
