"""The regression gate: a file that became slower than the preset allows is not published (issue 3).

Only ratios to PyTorch eager are compared, each measured in one run: milliseconds do not carry over. Even ratios hold
for one kind of machine alone, so a baseline from another is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stgcn_onnx.bench.report import FORMAT_VERSION, PYTORCH, Report, Row
from stgcn_onnx.console import Log
from stgcn_onnx.errors import BenchmarkGateError, UsageError
from stgcn_onnx.preset import Preset


@dataclass(frozen=True)
class Gate:
    """A baseline (an `X.benchmark.json`), and how many times slower than it a file may be."""

    path: Path
    baseline: dict[str, Any]
    max_regression: float


def read_gate(preset: Preset) -> Gate | None:
    """The preset's gate; None where it has none.

    Raises:
        UsageError: the baseline is missing or is no benchmark of a file.
    """
    options = preset.benchmark
    if options.max_regression is None or options.baseline is None:
        return None
    path = Path(options.baseline)
    hint = "give the X.benchmark.json of an earlier conversion"
    try:
        baseline = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"benchmark.baseline {path} cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise UsageError(f"benchmark.baseline {path}: not JSON", hint=hint) from error
    kind = (baseline.get("format_version"), baseline.get("kind")) if isinstance(baseline, dict) else None
    if kind != (FORMAT_VERSION, "file"):
        raise UsageError(f"benchmark.baseline {path}: not a benchmark of a file, format {FORMAT_VERSION}", hint=hint)
    return Gate(path, baseline, options.max_regression)


def apply_gate(gate: Gate | None, report: Report, log: Log) -> None:
    """Hold the report's rows against the baseline's.

    Raises:
        UsageError: the baseline is of another kind of machine, or has no row for this input.
        BenchmarkGateError: a ratio to PyTorch fell by more than allowed.
    """
    if gate is None:
        return
    _require_same_machine(gate, report)
    for row in report.rows:
        if PYTORCH not in row.speedups or row.label == PYTORCH:
            continue
        now, before = row.speedups[PYTORCH].median, _ratio_before(gate, row)
        regression = before / now
        verdict = (
            f"{now:.2f} times as fast as PyTorch, {before:.2f} in the baseline: "
            f"{regression:.2f} times slower, allowed {gate.max_regression:g}"
        )
        if regression > gate.max_regression:
            raise BenchmarkGateError(
                f"benchmark.max_regression: {row.label} {list(row.clips.sizes())} is {verdict} ({gate.path})",
                hint="find the cause with `invoke profile`, or renew the baseline if it is meant to be slower",
            )
        log.line("gate", verdict, style="green")


def _require_same_machine(gate: Gate, report: Report) -> None:
    expected = {"machine": asdict(report.machine), "device": report.device}
    found = {key: gate.baseline.get(key) for key in expected}
    if found != expected:
        raise UsageError(
            f"benchmark.baseline {gate.path} is of another machine: {_shown(found)}; this one is {_shown(expected)}",
            hint="measure a baseline on this kind of machine",
        )


def _ratio_before(gate: Gate, row: Row) -> float:
    for other in gate.baseline.get("rows", []):
        if other.get("label") == row.label and other.get("clips") == asdict(row.clips):
            ratio = other.get("speedups", {}).get(PYTORCH, {}).get("median")
            if isinstance(ratio, int | float) and ratio > 0:
                return float(ratio)
    raise UsageError(
        f"benchmark.baseline {gate.path} has no ratio for {row.label} with {asdict(row.clips)}",
        hint="measure a baseline with the same input",
    )


def _shown(kind: dict[str, Any]) -> str:
    machine = kind["machine"] or {}
    gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
    return f"{machine.get('cores')} cores of {machine.get('processor')}{gpu}, device {kind['device']}"
