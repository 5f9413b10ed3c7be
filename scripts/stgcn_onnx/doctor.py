"""What is installed, what really works, and what to do about the rest.

Imports nothing beyond the standard library, so that it also runs where nothing is installed and with another
Python than 3.11; whatever needs a package is asked of `probe` in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from container.engine import ENGINES, Engine, installed, next_step, probe
from container.image import built_variants

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (3, 11)
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PROBE_LIMIT_S = 180
DRIVER_LIMIT_S = 10
LEAST_FREE_BYTES = 200 * 2**20

OK, NOTE, WARN, FAIL = "ok", "note", "warn", "fail"
"""`fail` keeps the conversion on this machine from running, `warn` needs attention, `note` is for information."""


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        subject: what was looked at.
        status: ok, note, warn or fail.
        found: what was found there.
        hint: the next step, in the imperative; empty where there is none.
    """

    subject: str
    status: str
    found: str
    hint: str = ""


def examine(root: Path = ROOT) -> list[Finding]:
    """Look at everything; takes as long as importing MMAction2 does."""
    with ThreadPoolExecutor() as pool:
        probes = {name: pool.submit(run_probe, root, name) for name in ("torch", "mmaction", "providers")}
        driver = has_nvidia_driver()
        engines = [pool.submit(check_engine, root, name, gpu=driver) for name in ENGINES]
        versions = installed_versions()
        return [
            check_python(sys.version_info[:3]),
            *check_packages(versions, root / "requirements"),
            check_openvino(versions, root / "requirements"),
            check_torch(probes["torch"].result()),
            check_mmaction(probes["mmaction"].result()),
            check_driver(driver),
            *check_providers(probes["providers"].result(), driver=driver),
            *(engine.result() for engine in engines),
            check_disk(root),
        ]


def run_probe(root: Path, name: str) -> Mapping[str, Any]:
    """Run one probe of `probe.PROBES` and return what it found; its failure is {"error": text}."""
    command = [sys.executable, str(root / "scripts" / "doctor.py"), "--probe", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {PROBE_LIMIT_S} s"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        return {"error": f"the process ended with code {done.returncode}: {last}"}
    result: Mapping[str, Any] = json.loads(lines[-1])
    return result


def check_python(version: tuple[int, ...]) -> Finding:
    found = f"{'.'.join(map(str, version))} ({sys.executable})"
    if version[:2] != PYTHON:
        return Finding("Python", FAIL, found, "use Python 3.11: make setup PYTHON=/path/to/python3.11")
    return Finding("Python", OK, found)


def installed_versions() -> dict[str, str]:
    """Version of each installed distribution by normalised name, without a local part such as +cpu."""
    found = {}
    for distribution in importlib.metadata.distributions():
        found[normalise(distribution.metadata["Name"])] = distribution.version.partition("+")[0]
    return found


def normalise(name: str) -> str:
    """A distribution's name as PEP 503 spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> dict[str, str]:
    """Name and version of each line of a lock file."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return {normalise(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def check_packages(installed: Mapping[str, str], requirements: Path) -> Iterator[Finding]:
    """Compare what is installed with the lock file of its variant."""
    if {"onnxruntime", "onnxruntime-gpu"} <= installed.keys():
        yield Finding(
            "onnxruntime",
            FAIL,
            "onnxruntime and onnxruntime-gpu are both installed and overwrite one another",
            "remove .venv and run `make setup`",
        )
    variant = "gpu" if "onnxruntime-gpu" in installed else "cpu"
    locked = read_lock(requirements / f"{variant}.lock")
    locked.update(read_lock(requirements / "openmmlab.lock"))
    missing = sorted(locked.keys() - installed.keys())
    other = [f"{n} {installed[n]} instead of {v}" for n, v in locked.items() if installed.get(n, v) != v]
    subject = f"packages ({variant})"
    if missing:
        yield Finding(
            subject, FAIL, f"{len(missing)} of {len(locked)} are missing: {_some(missing)}", "run `make setup`"
        )
    if other:
        yield Finding(subject, WARN, f"not as locked: {_some(other)}", "remove .venv and run `make setup`")
    if not missing and not other:
        yield Finding(subject, OK, f"{len(locked)} as in requirements/{variant}.lock")


def check_openvino(installed: Mapping[str, str], requirements: Path) -> Finding:
    """It is in no variant: only files that are arranged for it are verified and measured there."""
    version, locked = installed.get("openvino"), read_lock(requirements / "openvino.lock")["openvino"]
    command = "`.venv/bin/pip install -r requirements/openvino.lock`"
    if version is None:
        return Finding("OpenVINO", NOTE, "not installed; needed only for export.runtime openvino", f"{command} adds it")
    if version != locked:
        return Finding("OpenVINO", WARN, f"{version} instead of {locked}", f"run {command}")
    return Finding("OpenVINO", OK, version)


def _some(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (" …" if len(names) > limit else "")


def check_torch(probe: Mapping[str, Any]) -> Finding:
    if "error" in probe:
        return Finding("PyTorch", FAIL, probe["error"], "run `make setup`")
    gpus = ", ".join(probe["gpus"]) or "no GPU"
    return Finding("PyTorch", OK, f"{probe['version']}, CUDA {probe['cuda'] or 'not built in'}, {gpus}")


def check_mmaction(probe: Mapping[str, Any]) -> Finding:
    if "error" in probe:
        return Finding("MMAction2", FAIL, probe["error"], "run `make setup`")
    return Finding("MMAction2", OK, f"{probe['version']} imports")


def check_providers(probe: Mapping[str, Any], *, driver: bool) -> Iterator[Finding]:
    """One finding for each execution provider that the installed onnxruntime was built with."""
    if "error" in probe:
        yield Finding("onnxruntime", FAIL, probe["error"], "run `make setup`")
        return
    for name, result in probe["providers"].items():
        if result["works"]:
            yield Finding(name, OK, f"onnxruntime {probe['version']}: a matrix product ran on it")
        elif name == CPU:
            yield Finding(name, FAIL, result["problem"], "remove .venv and run `make setup`")
        elif name == CUDA and driver:
            hint = "compare `nvidia-smi` with requirements/gpu.lock (CUDA, cuDNN)"
            yield Finding(name, WARN, f"does not work: {result['problem']}", hint)
        else:
            yield Finding(name, NOTE, f"does not work here: {result['problem']}")
    if driver and CUDA not in probe["providers"]:
        yield Finding(CUDA, WARN, "not in this build", "run `make setup VARIANT=gpu` to use the GPU")


def has_nvidia_driver() -> bool:
    """Whether the kernel module is loaded or, as on WSL, nvidia-smi lists a GPU."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=DRIVER_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def check_driver(driver: bool) -> Finding:
    return Finding("NVIDIA driver", OK if driver else NOTE, "visible" if driver else "none; conversions run on the CPU")


def check_engine(root: Path, name: str, *, gpu: bool) -> Finding:
    """Run a container: a client that answers is no engine. With `gpu` also one that asks for the GPUs."""
    engine = Engine(name)
    if engine not in installed():
        return Finding(name, NOTE, "not installed; needed only for containers")
    problem = probe(engine)
    if problem:
        found = f"the client is installed, but no container runs: {problem}"
        return Finding(name, NOTE, found, next_step(engine, problem))
    built = built_variants(root, engine)
    found = f"a container ran; images of these lock files: {', '.join(built) or 'none'}"
    problem = probe(engine, gpu=True) if gpu else ""
    if problem:
        return Finding(name, WARN, f"{found}; none gets the GPU: {problem}", next_step(engine, problem))
    return Finding(name, OK, found, "" if built else f"`invoke image --engine {name}` builds one")


def check_disk(root: Path) -> Finding:
    free_bytes = shutil.disk_usage(root).free
    found = f"{free_bytes / 2**30:.1f} GiB free for {root.name}, {platform.system()} {platform.machine()}"
    if free_bytes < LEAST_FREE_BYTES:
        return Finding("disk", FAIL, found, f"free at least {LEAST_FREE_BYTES // 2**20} MiB")
    return Finding("disk", OK, found)
