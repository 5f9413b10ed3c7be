"""Verification reports as files: `X.verify.json`, and what a failure leaves for looking into it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.compare import Comparison
from stgcn_onnx.errors import UsageError, VerificationError
from stgcn_onnx.publish import full_disk_is_a_fault
from stgcn_onnx.verify import Divergence, Failure, VerifyReport

FORMAT_VERSION = 1


def report_json(report: VerifyReport, content: bytes, name: str) -> str:
    """The report as JSON text; `artefact.sha256` says which bytes it speaks of."""
    failure = report.failure
    divergence = failure.divergence if failure else None
    versions = read_metadata(onnx.load_from_string(content)).get("versions", {})
    document = {
        "format_version": FORMAT_VERSION,
        "artefact": {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)},
        "passed": report.passed,
        "tolerance": asdict(report.tolerance),
        "compared_with": "PyTorch eager, float32; rounding against float64",
        "versions": versions,
        "first_divergence": _plain(divergence) if divergence else None,
        "rows": [_plain(row) for row in report.rows],
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def require_pass(report: VerifyReport, content: bytes, model: Path, path: Path | None) -> None:
    """Keep the report at `path` and a failure's reproducer beside it, where there is a path; refuse a failure.

    Raises:
        VerificationError: the file does not compute what the PyTorch model computes.
        UsageError: the report cannot be written.
        EnvironmentFault: the disk is full.
    """
    failure = report.failure
    written = []
    if path is not None:
        written = [path, path.with_suffix(".npz")] if failure else [path]
        try:
            with full_disk_is_a_fault(path):
                path.write_text(report_json(report, content, model.name), encoding="utf-8")
                if failure is not None:
                    np.savez(written[1], input=failure.case.clip, expected=failure.expected, found=failure.found)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UsageError(f"report {path} cannot be written: {reason}", hint="give another place") from error
    if failure is not None:
        hint = f"see {' and '.join(map(str, written))}" if written else "give --json FILE to keep a reproducer"
        raise VerificationError(f"model {model}: {_failure_text(report, failure)}{_not_seen(content)}", hint=hint)


def _not_seen(content: bytes) -> str:
    """What the search for the first module that diverges passed over."""
    if all(node.op_type != "Loop" for node in onnx.load_from_string(content).graph.node):
        return ""
    return " (what runs in a loop cannot be compared: leave people_groups out of export.deploy to see inside)"


def _failure_text(report: VerifyReport, failure: Failure) -> str:
    row, where = failure.row, failure.divergence
    return (
        f"{failure.case.label} {list(failure.case.clip.shape)}: logits differ from PyTorch by {row.max_abs:.1e}, "
        f"allowed atol {report.tolerance.atol:g} + rtol {report.tolerance.rtol:g} "
        f"(atol {row.needed_atol:.1e} would pass); first module that diverges: "
        f"{where.module if where else 'none that can be compared'}"
    )


def table_text(report: VerifyReport) -> str:
    """The report as a table, a line for each comparison."""
    head = ("verdict", "clip", "shape", "people", "max abs", "max rel", "cosine", "argmax", "needs atol", "rounding")
    lines = [head] + [
        (
            "ok" if row.passed else "DIFFERS",
            row.label,
            "x".join(map(str, row.shape)),
            ",".join(map(str, sorted(set(row.people)))),
            f"{row.max_abs:.1e}",
            f"{row.max_rel:.1e}",
            f"{row.cosine:.6f}",
            f"{row.argmax_agreement:.0%}",
            f"{row.needed_atol:.1e}",
            f"{row.rounding_abs:.1e}",
        )
        for row in report.rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def row_text(row: Comparison) -> str:
    """One row of the report as a line of the log."""
    people = ",".join(map(str, sorted(set(row.people))))
    return (
        f"{'ok' if row.passed else 'DIFFERS':<8}{row.label} {list(row.shape)} people {people}: "
        f"max abs {row.max_abs:.1e}, max rel {row.max_rel:.1e}, cosine {row.cosine:.6f}, "
        f"argmax {row.argmax_agreement:.0%} (margin {row.margin:.1e}), needs atol {row.needed_atol:.1e}, "
        f"rounding {row.rounding_abs:.1e}"
    )


def _plain(row: Comparison | Divergence) -> dict[str, Any]:
    """JSON knows neither NaN nor infinity: those become text."""
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(row).items()
    }
