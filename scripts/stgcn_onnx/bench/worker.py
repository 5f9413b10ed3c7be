"""The process that measures one candidate once: a job as JSON on stdin, its figures as JSON in stdout's last line.

onnxruntime's threads go on spinning after a run, so two sessions alive in one process slow each other and pick the
wrong winner; a process that does nothing else measures its candidate alone.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from stgcn_onnx.bench.engines import ENGINES, Run, import_engine
from stgcn_onnx.bench.spec import Candidate, Effort, FloatArray, from_json
from stgcn_onnx.errors import ConverterError

_MOST_LOGITS = 100_000


def measure(candidate: Candidate, effort: Effort) -> dict[str, Any]:
    """Load the candidate and run each of its inputs: once, `warmup` times, and `iterations` times by the clock."""
    import_engine(candidate.engine)
    idle_gpu_bytes = gpu_used_bytes(candidate.device)
    idle_bytes = psutil.Process().memory_info().rss
    started = time.perf_counter()
    run = ENGINES[candidate.engine](candidate)
    load_ms = _since(started)
    runs, peak_bytes, gpu_bytes = [], 0, None
    for index, clips in enumerate(candidate.clips):
        runs.append(_timed(run, clips.generate(effort.seed), effort))
        if index == 0:
            peak_bytes = peak_resident_bytes()
            used = gpu_used_bytes(candidate.device)
            gpu_bytes = None if used is None or idle_gpu_bytes is None else max(used - idle_gpu_bytes, 0)
    return {
        "load_ms": load_ms,
        "idle_bytes": idle_bytes,
        "peak_bytes": peak_bytes,
        "gpu_bytes": gpu_bytes,
        "runs": runs,
    }


def peak_resident_bytes() -> int:
    """The most memory that this process has held in RAM.

    `getrusage` would start from the peak of the process that started this one, so Linux's own count is read.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    resident: int = psutil.Process().memory_info().rss
    return resident


def gpu_used_bytes(device: str) -> int | None:
    """Memory in use on the GPU by all processes; None on the CPU, and where nvidia-smi does not answer."""
    if device == "cpu":
        return None
    index = device.partition(":")[2] or "0"
    query = ["nvidia-smi", f"--id={index}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return int(answer.split()[0]) * 2**20


def _timed(run: Run, clip: FloatArray, effort: Effort) -> dict[str, Any]:
    started = time.perf_counter()
    logits = run(clip)
    first_run_ms = _since(started)
    for _ in range(effort.warmup):
        run(clip)
    gc.collect()
    gc.disable()
    times_ms = []
    for _ in range(effort.iterations):
        started = time.perf_counter()
        run(clip)
        times_ms.append(_since(started))
    gc.enable()
    # The matrix product gives a million values, which nobody compares.
    kept = logits.ravel().tolist() if logits.size <= _MOST_LOGITS else []
    return {"first_run_ms": first_run_ms, "times_ms": times_ms, "logits": kept}


def _since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1000


def main() -> int:
    candidate, effort = from_json(sys.stdin.read())
    try:
        result = measure(candidate, effort)
    except ConverterError as error:
        result = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    except Exception as error:  # whatever a runtime raises is the parent's to judge
        if not candidate.optional:
            raise
        first_line = (str(error).strip().splitlines() or ["no message"])[0]
        result = {"error": "EnvironmentFault", "message": f"{type(error).__name__}: {first_line}", "hint": ""}
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
