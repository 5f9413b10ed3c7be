"""Measurements with times that are known, for tests that need no process."""

from __future__ import annotations

from collections.abc import Sequence

from stgcn_onnx.bench.figures import Measured, Process, Timing
from stgcn_onnx.bench.machine import Machine
from stgcn_onnx.bench.report import PYTORCH, Report, row
from stgcn_onnx.bench.spec import Candidate, Clips, Effort

CLIPS = Clips(batch=1, person=2, frames=20, joints=17, channels=3, people=2)
EFFORT = Effort(rounds=2, iterations=3, warmup=1)
MACHINE = Machine(cores=2, processor="Some CPU")


def process(*times_ms: float) -> Process:
    """A process with one input."""
    return Process(
        load_ms=10, idle_bytes=50_000_000, peak_bytes=90_000_000, gpu_bytes=None, timings=(Timing(5.0, times_ms),)
    )


def measured(label: str, rounds: Sequence[Sequence[float]], clips: Clips = CLIPS) -> Measured:
    """A candidate with one process for each list of times."""
    engine = "torch" if label == PYTORCH else "onnxruntime"
    return Measured(Candidate(label, engine, (clips,)), tuple(process(*times_ms) for times_ms in rounds))


def file_report(eager_ms: float = 40.0, onnx_ms: float = 10.0) -> Report:
    """A report of a file that takes `onnx_ms` where PyTorch takes `eager_ms`."""
    eager, onnx = measured(PYTORCH, [[eager_ms]]), measured("ONNX", [[onnx_ms]])
    return Report(
        kind="file",
        command="invoke benchmark --model x.onnx",
        device="cpu",
        machine=MACHINE,
        versions={"python": "3.11"},
        thread_settings={},
        busy_percent=0.0,
        effort=EFFORT,
        rows=tuple(row(item, 0, {PYTORCH: eager}) for item in (eager, onnx)),
    )
