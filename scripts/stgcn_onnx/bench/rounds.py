"""Rounds that take turns: A B C A B C, a fresh process each time, so that a slow minute of the machine hits all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stgcn_onnx import errors
from stgcn_onnx.bench.figures import Measured, Process, Timing
from stgcn_onnx.bench.spec import Candidate, Effort, to_json
from stgcn_onnx.console import Log
from stgcn_onnx.errors import ConverterError, EnvironmentFault
from stgcn_onnx.preset import Preset

_SCRIPTS = Path(__file__).resolve().parents[2]
_LIMIT_S = 1800
Worker = Callable[[Candidate, Effort], Process]


def effort_of(preset: Preset) -> Effort:
    """How often the preset has things measured."""
    options = preset.benchmark
    return Effort(options.rounds, options.iterations, options.warmup)


def start_worker(candidate: Candidate, effort: Effort) -> Process:
    """Measure a candidate once, in a process of its own.

    Raises:
        ConverterError: the class that the worker raised: a missing package or GPU, a file that does not load.
        EnvironmentFault: the process ended without a result.
    """
    # -P keeps the current folder, which may hold a module of any name, off the worker's path.
    command = [sys.executable, "-P", "-m", "stgcn_onnx.bench.worker"]
    path = os.pathsep.join(filter(None, [str(_SCRIPTS), os.environ.get("PYTHONPATH", "")]))
    # Make lets waiting threads sleep for the sake of other conversions; a measurement takes the runtimes' default.
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    try:
        done = subprocess.run(
            command,
            input=to_json(candidate, effort),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            env={**environment, "PYTHONPATH": path},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentFault(
            f"{candidate.label}: no result within {_LIMIT_S} s", hint="lower benchmark.iterations"
        ) from error
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EnvironmentFault(
            f"{candidate.label}: the measuring process ended with code {done.returncode}: {last}",
            hint="run `make doctor`; out of memory is the usual cause of code -9",
        )
    return _process(json.loads(lines[-1]), candidate)


def take_turns(
    candidates: Sequence[Candidate], effort: Effort, log: Log, worker: Worker = start_worker
) -> dict[str, Measured]:
    """Measure all candidates in `effort.rounds` rounds; the result has them by label.

    Raises:
        ConverterError: a candidate that is not optional fails.
    """
    found: dict[str, list[Process]] = {candidate.label: [] for candidate in candidates}
    failures: dict[str, str] = {}
    for number in range(1, effort.rounds + 1):
        for candidate in candidates:
            if candidate.label in failures:
                continue
            log.progress(f"measuring, round {number} of {effort.rounds}: {candidate.label} …")
            try:
                process = worker(candidate, effort)
            except ConverterError as error:
                if not candidate.optional:
                    raise
                failures[candidate.label] = error.message.removeprefix(f"{candidate.label}: ")
                found[candidate.label].clear()
                log.line("benchmark", f"left out: {error.message}", style="yellow")
                continue
            found[candidate.label].append(process)
            log.detail("round", f"{number}: {candidate.label}: median {process.timings[0].median_ms:.2f} ms")
    return {
        candidate.label: Measured(candidate, tuple(found[candidate.label]), failures.get(candidate.label))
        for candidate in candidates
    }


def _process(result: Mapping[str, Any], candidate: Candidate) -> Process:
    if "error" in result:
        kind: type[ConverterError] = getattr(errors, result["error"])
        raise kind(f"{candidate.label}: {result['message']}", hint=result["hint"] or "run `make doctor`")
    timings = tuple(
        Timing(item["first_run_ms"], tuple(item["times_ms"]), tuple(item["logits"])) for item in result["runs"]
    )
    return Process(result["load_ms"], result["idle_bytes"], result["peak_bytes"], result["gpu_bytes"], timings)
