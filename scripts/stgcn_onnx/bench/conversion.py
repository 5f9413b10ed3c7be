"""PyTorch eager against one ONNX file: what `--benchmark` and `invoke benchmark --model` measure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stgcn_onnx.bench.candidates import onnx_candidate, present, torch_candidate
from stgcn_onnx.bench.gate import apply_gate, read_gate
from stgcn_onnx.bench.machine import note_other_work
from stgcn_onnx.bench.report import PYTORCH, Report, Row, report_here, report_json, row
from stgcn_onnx.bench.rounds import effort_of, take_turns
from stgcn_onnx.bench.spec import Clips
from stgcn_onnx.bench.subject import Subject, read_subject
from stgcn_onnx.console import Log
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import ResolvedPreset

ONNX = "ONNX"


def measure_conversion(model_path: Path, resolved: ResolvedPreset, log: Log) -> str:
    """Measure a file that is about to be published; the text of its `X.benchmark.json`.

    Raises:
        BenchmarkGateError: it is slower than the preset allows.
        UsageError: the preset's baseline cannot be used.
    """
    gate = read_gate(resolved.preset)
    subject = read_subject(model_path)
    command = f"invoke convert --preset {resolved.name} --benchmark" if resolved.files else "scripts, --benchmark"
    report = measure_file(subject, resolved.preset, log, command=command)
    apply_gate(gate, report, log)
    return report_json(report)


def measure_file(
    subject: Subject,
    preset: Preset,
    log: Log,
    *,
    command: str,
    clips: Clips | None = None,
    people: Sequence[int] = (),
) -> Report:
    """PyTorch and the file in its runtime at one input, with fewer people present, and at other numbers of frames.

    Args:
        clips: the input, by default the traced one with everybody present.
        people: further counts of people present.

    Raises:
        UsageError: more people than the file has slots for.
        EnvironmentFault: a runtime or device does not work.
    """
    first = clips or subject.clips()
    fewer = [present(first, count) for count in people]
    sweep = [first.with_frames(frames) for frames in subject.sweep()]
    inputs = tuple(dict.fromkeys([first, *fewer, *sweep]))
    own = replace(onnx_candidate(ONNX, subject.path, inputs, preset.device), engine=subject.runtime)
    candidates = (torch_candidate(preset, inputs), own)
    busy_percent = note_other_work(log)
    measured = take_turns(candidates, effort_of(preset), log)
    against = {PYTORCH: measured[PYTORCH]}
    sizes = {ONNX: subject.size_bytes}

    def rows(wanted: Sequence[Clips]) -> tuple[Row, ...]:
        return tuple(
            row(item, inputs.index(each), against, size_bytes=sizes.get(item.candidate.label))
            for each in dict.fromkeys(wanted)
            for item in measured.values()
        )

    report = report_here(
        "file",
        command,
        preset,
        busy_percent,
        rows([first, *fewer]),
        sweep=rows(sweep),
        extra={"artefact": _digest(subject)},
    )
    _say(report, log)
    return report


def _digest(subject: Subject) -> dict[str, object]:
    digest = hashlib.sha256(subject.path.read_bytes()).hexdigest()
    return {"file": subject.path.name, "sha256": digest, "size_bytes": subject.size_bytes}


def _say(report: Report, log: Log) -> None:
    for each in report.rows:
        if each.figures and each.label == ONNX:
            ratio = each.speedups[PYTORCH]
            what = f"{list(each.clips.sizes())} with {each.clips.people} people"
            log.line(
                "benchmark",
                f"{what}: {each.figures.median_ms.median:.1f} ms, "
                f"{ratio.median:.2f} times as fast as PyTorch eager ({ratio.min:.2f} to {ratio.max:.2f} by round)",
            )
