"""Percentiles, medians of rounds, and ratios taken within a round."""

from __future__ import annotations

import dataclasses
import math

import pytest
from bench_samples import CLIPS, measured

from stgcn_onnx.bench.figures import Measured, figures, max_abs_difference, percentile, speedup, spread


def test_percentiles_are_measured_values() -> None:
    times_ms = [float(value) for value in range(1, 101)]
    assert [percentile(times_ms, percent) for percent in (50, 90, 99)] == [50.0, 90.0, 99.0]
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([7.0], 50) == 7.0


def test_spread_keeps_the_extremes() -> None:
    found = spread([3.0, 1.0, 8.0])
    assert (found.median, found.min, found.max) == (3.0, 1.0, 8.0)


def test_median_is_that_of_the_rounds_and_percentiles_are_over_all_runs() -> None:
    # Over all runs the median would be 4: the slow round has as many runs as the fast one.
    found = figures(measured("x", [[1, 2, 4], [4, 6, 100], [5, 5, 5]]))
    assert (found.median_ms.median, found.median_ms.min, found.median_ms.max) == (5, 2, 6)
    assert found.p50_ms == 5
    assert found.p99_ms == 100
    assert found.first_run_ms == 5.0
    assert found.peak_memory_bytes == 90_000_000
    assert found.gpu_memory_bytes is None


def test_throughput_counts_every_clip_of_a_batch() -> None:
    batch = dataclasses.replace(CLIPS, batch=8)
    found = figures(measured("x", [[40.0]], batch))
    assert found.ms_per_clip == 5.0
    assert found.clips_per_s == 200.0


def test_ratio_is_taken_within_each_round() -> None:
    # The machine was three times slower in the second round, for both alike.
    ours, eager = measured("x", [[10.0], [30.0]]), measured("y", [[40.0], [120.0]])
    found = speedup(ours, eager)
    assert (found.median, found.min, found.max) == (4.0, 4.0, 4.0)


def test_ratio_of_batches_is_per_clip() -> None:
    batch = measured("x", [[40.0]], dataclasses.replace(CLIPS, batch=8))
    assert speedup(batch, measured("y", [[20.0]])).median == 4.0


def test_a_candidate_that_is_wrong_shows() -> None:
    def with_logits(label: str, *logits: float) -> Measured:
        one = measured(label, [[1.0]])
        timing = dataclasses.replace(one.processes[0].timings[0], logits=logits)
        return dataclasses.replace(one, processes=(dataclasses.replace(one.processes[0], timings=(timing,)),))

    right = with_logits("y", 1.0, -2.0)
    assert max_abs_difference(with_logits("x", 1.0, -2.5), right, CLIPS) == 0.5
    assert max_abs_difference(right, right, CLIPS) == 0.0
    assert max_abs_difference(with_logits("x", 1.0, math.nan), right, CLIPS) == math.inf
    assert max_abs_difference(right, right, CLIPS.with_people(1)) is None


def test_ratio_needs_the_same_rounds_of_both() -> None:
    with pytest.raises(ValueError, match="zip"):
        speedup(measured("x", [[1.0]]), measured("y", [[1.0], [1.0]]))
