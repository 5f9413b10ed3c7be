"""A benchmark as data: rows with figures and ratios, the machine, the versions, and the command that made it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from stgcn_onnx.bench.figures import Figures, Measured, Spread, figures, max_abs_difference, speedup
from stgcn_onnx.bench.machine import Machine, this_machine, thread_settings, versions
from stgcn_onnx.bench.rounds import effort_of
from stgcn_onnx.bench.spec import Clips, Effort
from stgcn_onnx.preset import Preset

FORMAT_VERSION = 1
PYTORCH = "PyTorch eager"
"""The label of the candidate that everything is held against."""
SAME_RUNTIME, ONNXRUNTIME = "plain export, same runtime", "plain export, onnxruntime"
"""Names of ratios to the plain export."""


@dataclass(frozen=True)
class Row:
    """One candidate with one input.

    Args:
        figures: None where the candidate does not work; then `failure` says why.
        speedups: how many times as fast per clip as the candidate of that label, with the spread over the rounds.
        max_abs_difference: of the logits from those of a reference with the same input, PyTorch where it is one.
        size_bytes: of the ONNX file.
        note: what the row is recommended for.
    """

    label: str
    engine: str
    precision: str
    clips: Clips
    figures: Figures | None
    failure: str | None = None
    speedups: Mapping[str, Spread] = field(default_factory=dict)
    max_abs_difference: float | None = None
    size_bytes: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Limit:
    """What the arithmetic alone would take: multiplications of the graph over the machine's rate of them.

    The rate is that of a matrix product in each round: where it varies, so does what a file can reach.
    """

    macs: int
    macs_by_kind: Mapping[str, int]
    rate_gflops: Spread
    ms: float
    speedup: Spread


@dataclass(frozen=True)
class Report:
    """A whole benchmark; `sweep` holds the rows at other numbers of frames, `by_people` those with fewer people."""

    kind: str
    command: str
    device: str
    machine: Machine
    versions: Mapping[str, str]
    thread_settings: Mapping[str, str]
    busy_percent: float
    effort: Effort
    rows: tuple[Row, ...]
    sweep: tuple[Row, ...] = ()
    by_people: tuple[Row, ...] = ()
    limit: Limit | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def report_here(
    kind: str, command: str, preset: Preset, busy_percent: float, rows: tuple[Row, ...], **values: Any
) -> Report:
    """The report of what has just been measured on this machine.

    Args:
        values: `sweep`, `by_people`, `limit`, `extra`.
    """
    return Report(
        kind=kind,
        command=command,
        device=preset.device,
        machine=this_machine(preset.device),
        versions=versions(),
        thread_settings=thread_settings(),
        busy_percent=busy_percent,
        effort=effort_of(preset),
        rows=rows,
        **values,
    )


def row(measured: Measured, index: int = 0, against: Mapping[str, Measured] | None = None, **values: Any) -> Row:
    """The row of a candidate's input number `index`.

    Args:
        against: the references by the name that the ratio gets; the ratio is taken at the same place of their inputs,
            or at their first where they have fewer.
        values: `label`, `size_bytes`, `note`.
    """
    candidate = measured.candidate
    clips = candidate.clips[index]
    label = values.pop("label", candidate.label)
    if measured.failure is not None:
        return Row(label, candidate.engine, candidate.precision, clips, None, measured.failure, **values)
    speedups = {
        name: speedup(measured, other, index, min(index, len(other.candidate.clips) - 1))
        for name, other in (against or {}).items()
        if other.failure is None
    }
    references = [other for other in (against or {}).values() if other.failure is None]
    far = (max_abs_difference(measured, other, clips) for other in references)
    return Row(
        label,
        candidate.engine,
        candidate.precision,
        clips,
        figures(measured, index),
        speedups=speedups,
        max_abs_difference=next((value for value in far if value is not None), None),
        **values,
    )


def report_json(report: Report) -> str:
    """The report as JSON text; numbers to six digits, and as text where JSON knows none."""
    document = {"format_version": FORMAT_VERSION, **asdict(report)}
    document.update(document.pop("extra"))
    return json.dumps(_rounded(document), indent=2, sort_keys=True) + "\n"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
