"""Verification reports as files: `X.verify.json`, and what a failure leaves for looking into it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from stgcn_onnx.compare import Comparison
from stgcn_onnx.verify import Failure, VerifyReport

FORMAT_VERSION = 1


def report_json(report: VerifyReport, content: bytes, name: str, versions: Mapping[str, str]) -> str:
    """The report as JSON text; `artefact.sha256` says which bytes it speaks of."""
    failure = report.failure
    divergence = failure.divergence if failure else None
    document = {
        "format_version": FORMAT_VERSION,
        "artefact": {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)},
        "passed": report.passed,
        "tolerance": asdict(report.tolerance),
        "compared_with": "PyTorch eager, float32; rounding against float64",
        "versions": dict(versions),
        "first_divergence": asdict(divergence) if divergence else None,
        "rows": [_row(row) for row in report.rows],
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def write_reproducer(path: Path, failure: Failure) -> None:
    """Input, expected and found logits of the first failed case, as `.npz`."""
    np.savez(path, input=failure.case.clip, expected=failure.expected, found=failure.found)


def row_text(row: Comparison) -> str:
    """One row of the report as a line of the log."""
    people = ",".join(map(str, sorted(set(row.people))))
    return (
        f"{'ok' if row.passed else 'DIFFERS':<8}{row.label} {list(row.shape)} people {people}: "
        f"max abs {row.max_abs:.1e}, max rel {row.max_rel:.1e}, cosine {row.cosine:.6f}, "
        f"argmax {row.argmax_agreement:.0%} (margin {row.margin:.1e}), needs atol {row.needed_atol:.1e}, "
        f"rounding {row.rounding_abs:.1e}"
    )


def _row(row: Comparison) -> dict[str, Any]:
    """JSON knows neither NaN nor infinity: those become text."""
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(row).items()
    }
