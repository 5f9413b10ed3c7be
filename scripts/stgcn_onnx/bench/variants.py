"""The four variants that users ask for: PyTorch, and the file with fixed axes, with free frames, and in batches.

They are told per clip, so that the batch of eight can be compared with the single clips.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from stgcn_onnx.bench.builds import FIXED, FREE_FRAMES, Source, build
from stgcn_onnx.bench.candidates import onnx_candidate, torch_candidate
from stgcn_onnx.bench.machine import note_other_work
from stgcn_onnx.bench.report import PYTORCH, Report, report_here, row
from stgcn_onnx.bench.rounds import effort_of, take_turns
from stgcn_onnx.bench.subject import Subject
from stgcn_onnx.console import Log
from stgcn_onnx.runtime import require_device

BATCH_SIZE = 8


def measure_variants(source: Source, log: Log, *, command: str) -> Report:
    """Build and measure the four variants of a preset, in a folder that goes away.

    Args:
        source: its `input.num_frames` is T, its `axes.num_frames` the range of the dynamic file.

    Raises:
        ConverterError: a conversion or a measurement fails.
    """
    require_device(source.preset().device)
    with tempfile.TemporaryDirectory(prefix="stgcn-onnx-") as folder:
        subjects = build(
            {
                "static": {**FIXED, "input.batch_size": 1},
                "dynamic": {**FREE_FRAMES, "input.batch_size": 1},
                "batch": {**FIXED, "input.batch_size": BATCH_SIZE},
            },
            source,
            Path(folder),
            log,
        )
        with log.stage("measuring"):
            return _measure(source, subjects, log, command)


def _measure(source: Source, subjects: dict[str, Subject], log: Log, command: str) -> Report:
    preset = source.preset()
    names = {
        "static": "ONNX static",
        "dynamic": "ONNX dynamic, {} to {} frames".format(*(subjects["dynamic"].frames_range or ())),
        "batch": f"ONNX batch of {BATCH_SIZE}",
    }
    notes = {
        PYTORCH: "training and evaluation",
        names["static"]: "one camera with clips of one length: lowest latency",
        names["dynamic"]: "cameras whose clips differ in length",
        names["batch"]: "recorded footage or several cameras, eight clips in one call",
    }
    sizes = {names[key]: subject.size_bytes for key, subject in subjects.items()}
    candidates = [torch_candidate(preset, (subjects["static"].traced,))]
    candidates += [
        onnx_candidate(names[key], subject.path, (subject.traced,), preset.device) for key, subject in subjects.items()
    ]
    busy_percent = note_other_work(log)
    measured = take_turns(candidates, effort_of(preset), log)
    against = {PYTORCH: measured[PYTORCH]}
    rows = tuple(
        row(item, 0, against, note=notes[label], size_bytes=sizes.get(label)) for label, item in measured.items()
    )
    return report_here("variants", command, preset, busy_percent, rows)
