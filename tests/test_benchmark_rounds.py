"""Turns, failures, and real processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from bench_samples import CLIPS, process
from tiny import quiet

from stgcn_onnx.bench import rounds
from stgcn_onnx.bench.figures import Process
from stgcn_onnx.bench.rounds import start_worker, take_turns
from stgcn_onnx.bench.spec import Candidate, Effort, from_json, to_json
from stgcn_onnx.errors import EnvironmentFault, ExportError

ONE_RUN = Effort(rounds=1, iterations=1, warmup=0)


def candidate(label: str, *, optional: bool = False, model: str = "") -> Candidate:
    return Candidate(label, "onnxruntime", (CLIPS,), model=model, optional=optional)


def test_candidates_take_turns() -> None:
    order: list[str] = []

    def worker(job: Candidate, _effort: Effort) -> Process:
        order.append(job.label)
        return process(float(len(order)))

    found = take_turns([candidate("A"), candidate("B"), candidate("C")], Effort(2, 1, 0), quiet(), worker)
    assert order == ["A", "B", "C", "A", "B", "C"]
    assert [item.timings[0].median_ms for item in found["B"].processes] == [2.0, 5.0]


def test_an_optional_candidate_that_fails_keeps_its_reason_and_is_not_tried_again() -> None:
    calls: list[str] = []

    def worker(job: Candidate, _effort: Effort) -> Process:
        calls.append(job.label)
        if job.optional:
            raise EnvironmentFault("no C++ compiler", hint="install one")
        return process(1.0)

    found = take_turns([candidate("A"), candidate("B", optional=True)], Effort(3, 1, 0), quiet(), worker)
    assert calls.count("B") == 1
    assert found["B"].failure == "no C++ compiler"
    assert found["B"].processes == ()
    assert len(found["A"].processes) == 3


def test_any_other_failure_ends_the_measurement() -> None:
    def worker(_job: Candidate, _effort: Effort) -> Process:
        raise EnvironmentFault("no GPU", hint="use the CPU")

    with pytest.raises(EnvironmentFault, match="no GPU"):
        take_turns([candidate("A")], ONE_RUN, quiet(), worker)


def test_a_job_survives_the_pipe() -> None:
    job = Candidate("A", "torch", (CLIPS, CLIPS.with_people(1)), source={"config": "x.py"}, precision="bf16")
    assert from_json(to_json(job, ONE_RUN)) == (job, ONE_RUN)


def test_a_process_measures_a_file(tmp_path: Path, static_content: bytes) -> None:
    model = tmp_path / "tiny.onnx"
    model.write_bytes(static_content)
    job = Candidate("ONNX", "onnxruntime", (CLIPS, CLIPS.with_people(0)), model=str(model))
    found = start_worker(job, Effort(rounds=1, iterations=3, warmup=1))
    assert [len(timing.times_ms) for timing in found.timings] == [3, 3]
    assert all(time_ms > 0 for timing in found.timings for time_ms in timing.times_ms)
    assert found.load_ms > 0
    assert found.gpu_bytes is None
    # The process that started it holds PyTorch, which alone is larger: its peak must not be counted.
    assert 0 < found.idle_bytes < found.peak_bytes < 250e6


def test_a_file_that_does_not_load_is_named_with_its_candidate(tmp_path: Path) -> None:
    model = tmp_path / "broken.onnx"
    model.write_bytes(b"no protobuf")
    with pytest.raises(ExportError, match=r"ours: onnxruntime .* refuses the file"):
        start_worker(candidate("ours", model=str(model)), ONE_RUN)


def test_a_process_that_dies_is_reported_with_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def died(*_args: object, **_options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], -9, stdout="", stderr="loading\nKilled\n")

    monkeypatch.setattr(rounds.subprocess, "run", died)
    with pytest.raises(EnvironmentFault, match="A: the measuring process ended with code -9: Killed"):
        start_worker(candidate("A"), ONE_RUN)


def test_a_module_of_the_current_folder_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, static_content: bytes
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')", encoding="utf-8")
    (tmp_path / "tiny.onnx").write_bytes(static_content)
    monkeypatch.chdir(tmp_path)
    assert start_worker(candidate("A", model="tiny.onnx"), ONE_RUN).timings
