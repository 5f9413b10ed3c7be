"""The arithmetic of measurements: percentiles over all runs, medians of rounds with their spread, ratios by round.

A ratio is taken within a round, where both candidates met the same machine, and only then summarised over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stgcn_onnx.bench.spec import Candidate, Clips


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, and the smallest and largest of them."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Timing:
    """One input in one process, in milliseconds, and the logits of its first run, flattened."""

    first_run_ms: float
    times_ms: tuple[float, ...]
    logits: tuple[float, ...] = ()

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)


@dataclass(frozen=True)
class Process:
    """What one process found: a timing for each of the candidate's inputs, and memory after the first of them.

    `idle_bytes` is resident before the model is loaded: the interpreter and the runtime's libraries.
    """

    load_ms: float
    idle_bytes: int
    peak_bytes: int
    gpu_bytes: int | None
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Measured:
    """A candidate with a process per round; none, and the reason, for an optional one that does not work."""

    candidate: Candidate
    processes: tuple[Process, ...]
    failure: str | None = None


@dataclass(frozen=True)
class Figures:
    """What is reported of one input. Times are of a whole batch, `ms_per_clip` excepted."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    median_ms: Spread
    ms_per_clip: float
    clips_per_s: float
    first_run_ms: float
    load_ms: float
    idle_memory_bytes: int
    peak_memory_bytes: int
    gpu_memory_bytes: int | None


def spread(values: Sequence[float]) -> Spread:
    """Median, smallest and largest of at least one value."""
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed: always one that was measured."""
    return float(np.percentile(values, percent, method="inverted_cdf"))


def figures(measured: Measured, index: int = 0) -> Figures:
    """The figures of a candidate's input number `index`; memory is that of its first input."""
    timings = [process.timings[index] for process in measured.processes]
    every_ms = [time for timing in timings for time in timing.times_ms]
    medians = spread([timing.median_ms for timing in timings])
    per_clip = medians.median / measured.candidate.clips[index].batch
    gpu = [process.gpu_bytes for process in measured.processes if process.gpu_bytes is not None]
    return Figures(
        p50_ms=percentile(every_ms, 50),
        p90_ms=percentile(every_ms, 90),
        p99_ms=percentile(every_ms, 99),
        median_ms=medians,
        ms_per_clip=per_clip,
        clips_per_s=1000 / per_clip,
        first_run_ms=statistics.median(timing.first_run_ms for timing in timings),
        load_ms=statistics.median(process.load_ms for process in measured.processes),
        idle_memory_bytes=max(process.idle_bytes for process in measured.processes),
        peak_memory_bytes=max(process.peak_bytes for process in measured.processes),
        gpu_memory_bytes=max(gpu) if gpu else None,
    )


def speedup(measured: Measured, reference: Measured, index: int = 0, reference_index: int = 0) -> Spread:
    """How many times as fast per clip the candidate is as the reference: each round's ratio, then their spread."""
    own_batch = measured.candidate.clips[index].batch
    other_batch = reference.candidate.clips[reference_index].batch
    return spread(
        [
            (other.timings[reference_index].median_ms / other_batch) / (own.timings[index].median_ms / own_batch)
            for own, other in zip(measured.processes, reference.processes, strict=True)
        ]
    )


def max_abs_difference(measured: Measured, reference: Measured, clips: Clips) -> float | None:
    """How far the logits lie from the reference's for the same input; None where one of them did not run it.

    A candidate that is fast and wrong has to be seen as such; NaN counts as infinitely far.
    """
    if clips not in measured.candidate.clips or clips not in reference.candidate.clips:
        return None
    own, other = (item.candidate.clips.index(clips) for item in (measured, reference))
    far = [
        np.abs(np.subtract(mine.timings[own].logits, theirs.timings[other].logits))
        for mine, theirs in zip(measured.processes, reference.processes, strict=True)
    ]
    return float(np.nan_to_num(far, nan=np.inf).max()) if np.size(far) else None
