"""The machine and the packages that figures belong to: the kind of machine, never its name or a path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from stgcn_onnx.console import Log

_PACKAGES = ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "onnxslim", "mmaction2", "numpy")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_PROC_BIND", "KMP_AFFINITY", "KMP_BLOCKTIME")
BUSY_PERCENT = 15.0
"""From here on other programs disturb the measurement."""


@dataclass(frozen=True)
class Machine:
    """What decides over figures: cores that this process may use, the processor, and the GPU where one was used."""

    cores: int
    processor: str
    gpu: str | None = None

    def __str__(self) -> str:
        return f"{self.cores} cores of {self.processor}" + (f", {self.gpu}" if self.gpu else "")


def this_machine(device: str = "cpu") -> Machine:
    """The machine that this runs on, with the GPU of `device`."""
    return Machine(usable_cores(), _processor(), None if device == "cpu" else _gpu(device))


def usable_cores() -> int:
    """Cores that the scheduler gives this process, which a container may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of the packages that decide over speed, as far as they are installed, and of Python."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def thread_settings() -> dict[str, str]:
    """Variables of the environment that change how many threads a runtime uses; empty for the defaults."""
    return {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}


def note_other_work(log: Log) -> float:
    """How busy the processor is before anything is measured, in per cent; a busy one is said in the log."""
    busy_percent: float = psutil.cpu_percent(interval=0.5)
    if busy_percent > BUSY_PERCENT:
        text = f"other programs keep the processor {busy_percent:.0f} % busy: times will be too long"
        log.line("benchmark", text, style="yellow")
    return busy_percent


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu(device: str) -> str:
    query = ["nvidia-smi", f"--id={device.partition(':')[2] or '0'}", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "GPU of unknown kind"
