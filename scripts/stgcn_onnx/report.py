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
from stgcn_onnx.lower_report import keep_failing, lower_document, lower_table, refuse
from stgcn_onnx.publish import full_disk_is_a_fault
from stgcn_onnx.runtime import onnxruntime_version
from stgcn_onnx.verify import Failure, VerifyReport
from stgcn_onnx.verify_lower import LowerReport

FORMAT_VERSION = 1


AnyReport = VerifyReport | LowerReport
"""What `pipeline.check` finds: the first for fp32, the second for lower precisions."""
_OF_PRECISION = ("precision", "calibration", "float_layers")


def report_json(report: AnyReport, content: bytes, name: str) -> str:
    """The report as JSON text; `artefact.sha256` says which bytes it speaks of."""
    metadata = read_metadata(onnx.load_from_string(content))
    found = lower_document(report) if isinstance(report, LowerReport) else _document(report)
    document = {
        "format_version": FORMAT_VERSION,
        "artefact": {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)},
        "versions": {**metadata.get("versions", {}), "onnxruntime": onnxruntime_version()},
        **{key: metadata[key] for key in _OF_PRECISION if key in metadata},
        **found,
    }
    return json.dumps(_plain(document), indent=2, sort_keys=True) + "\n"


def require_pass(report: AnyReport, content: bytes, model: Path, path: Path | None) -> None:
    """Keep the report at `path` and a failure's reproducer beside it, where there is a path; refuse a failure.

    Raises:
        VerificationError: the file does not compute what the PyTorch model computes.
        UsageError: the report cannot be written.
        EnvironmentFault: the disk is full.
    """
    written = []
    if path is not None:
        written = [path] if report.passed else [path, path.with_suffix(".npz")]
        try:
            with full_disk_is_a_fault(path):
                path.write_text(report_json(report, content, model.name), encoding="utf-8")
                if not report.passed:
                    _keep_reproducer(report, written[1])
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UsageError(f"report {path} cannot be written: {reason}", hint="give another place") from error
    if not report.passed:
        hint = f"see {' and '.join(map(str, written))}" if written else "give --json FILE to keep a reproducer"
        if isinstance(report, LowerReport):
            refuse(report, model, hint)
        elif report.failure is not None:
            text = _failure_text(report, report.failure) + _not_seen(content)
            raise VerificationError(f"model {model}: {text}", hint=hint)


def _keep_reproducer(report: AnyReport, path: Path) -> None:
    if isinstance(report, LowerReport):
        keep_failing(report, path)
    elif report.failure is not None:
        failure = report.failure
        np.savez(path, input=failure.case.clip, expected=failure.expected, found=failure.found)


def _document(report: VerifyReport) -> dict[str, Any]:
    divergence = report.failure.divergence if report.failure else None
    return {
        "passed": report.passed,
        "tolerance": asdict(report.tolerance),
        "compared_with": "PyTorch eager, float32; rounding against float64",
        "first_divergence": asdict(divergence) if divergence else None,
        "rows": [asdict(row) for row in report.rows],
    }


def _not_seen(content: bytes) -> str:
    """What the search for the first module that diverges passed over."""
    if all(node.op_type != "Loop" for node in onnx.load_from_string(content).graph.node):
        return ""
    return " (what runs in a loop cannot be compared: leave people_groups out of export.deploy to see inside)"


def _failure_text(report: VerifyReport, failure: Failure) -> str:
    row, where = failure.row, failure.divergence
    return (
        f"{row.label} {list(failure.case.clip.shape)}: logits differ from PyTorch by {row.max_abs:.1e}, "
        f"allowed atol {report.tolerance.atol:g} + rtol {report.tolerance.rtol:g} "
        f"(atol {row.needed_atol:.1e} would pass); first module that diverges: "
        f"{where.module if where else 'none that can be compared'}"
    )


def table_text(report: AnyReport) -> str:
    """The report as a table, a line for each comparison."""
    if isinstance(report, LowerReport):
        return lower_table(report)
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


def _plain(value: Any) -> Any:
    """JSON knows neither NaN nor infinity: those become text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
