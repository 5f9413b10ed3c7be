"""One real measurement of a file with free axes, and what it leaves."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from tiny import Tiny, quiet, write_tiny

from stgcn_onnx.bench import conversion
from stgcn_onnx.bench.conversion import ONNX, measure_conversion, measure_file
from stgcn_onnx.bench.report import PYTORCH, Report, report_json
from stgcn_onnx.bench.spec import Clips
from stgcn_onnx.bench.subject import Subject, read_subject, require_same_checkpoint
from stgcn_onnx.errors import BenchmarkGateError, IntegrityError, UsageError
from stgcn_onnx.preset_file import ResolvedPreset

ONCE = {"benchmark.rounds": 1, "benchmark.iterations": 2, "benchmark.warmup": 0}


@pytest.fixture(scope="module")
def resolved(tiny_source: Tiny) -> ResolvedPreset:
    return tiny_source.resolve(ONCE)


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory, dynamic_content: bytes) -> Subject:
    path = tmp_path_factory.mktemp("subject") / "tiny.onnx"
    path.write_bytes(dynamic_content)
    return read_subject(path)


@pytest.fixture(scope="module")
def report(subject: Subject, resolved: ResolvedPreset) -> Report:
    """Two processes: PyTorch and onnxruntime; the machine may be shared, so a thread each."""
    text = "invoke benchmark --model tiny.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return measure_file(subject, resolved.preset, quiet(), command=text, people=(1, 0))


def test_rows_for_everybody_and_for_fewer(report: Report) -> None:
    assert [(row.label, row.clips.people) for row in report.rows] == [
        (label, people) for people in (2, 1, 0) for label in (PYTORCH, ONNX)
    ]
    assert all(row.figures and row.figures.median_ms.median > 0 for row in report.rows)
    assert all(row.speedups[PYTORCH].median == 1 for row in report.rows if row.label == PYTORCH)


def test_the_sweep_covers_the_declared_range(report: Report) -> None:
    assert [row.clips.frames for row in report.sweep if row.label == ONNX] == [8, 16, 24, 32]
    assert all(row.figures and row.figures.first_run_ms > 0 for row in report.sweep)


def test_the_file_computes_what_pytorch_computes(report: Report) -> None:
    found = [row.max_abs_difference for row in (*report.rows, *report.sweep)]
    assert all(difference is not None and difference < 1e-2 for difference in found)


def test_pytorch_takes_more_memory_than_the_runtime_alone(report: Report) -> None:
    eager, onnx = (row.figures for row in report.rows[:2])
    assert eager and onnx
    assert eager.peak_memory_bytes > onnx.peak_memory_bytes > onnx.idle_memory_bytes > 0


def test_the_document_says_what_was_measured_and_not_where(report: Report, subject: Subject) -> None:
    text = report_json(report)
    document: dict[str, Any] = json.loads(text)
    assert document["artefact"]["sha256"] == hashlib.sha256(subject.path.read_bytes()).hexdigest()
    assert document["effort"] == {"rounds": 1, "iterations": 2, "warmup": 0, "seed": 0}
    assert document["machine"]["cores"] >= 1
    assert {"torch", "onnxruntime", "python"} <= document["versions"].keys()
    assert str(subject.path.parent) not in text
    assert socket.gethostname() not in text


def test_a_conversion_measures_before_it_publishes(
    subject: Subject, report: Report, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "measure_file", lambda *_args, **_options: report)
    baseline = tiny.folder / "base.json"
    baseline.write_text(measure_conversion(subject.path, tiny.resolve(), quiet()), encoding="utf-8")
    gated = tiny.resolve(
        {**ONCE, "benchmark.enabled": True, "benchmark.max_regression": 1.1, "benchmark.baseline": str(baseline)}
    )
    assert json.loads(measure_conversion(subject.path, gated, quiet()))["kind"] == "file"

    slower = tuple(
        dataclasses.replace(
            row, speedups={k: dataclasses.replace(v, median=v.median / 2) for k, v in row.speedups.items()}
        )
        for row in report.rows
    )
    monkeypatch.setattr(conversion, "measure_file", lambda *_a, **_o: dataclasses.replace(report, rows=slower))
    with pytest.raises(BenchmarkGateError, match=r"2\.00 times slower, allowed 1\.1"):
        measure_conversion(subject.path, gated, quiet())


def test_more_people_than_slots(subject: Subject, resolved: ResolvedPreset) -> None:
    with pytest.raises(UsageError, match="--people 3: the model has 2 slots"):
        measure_file(subject, resolved.preset, quiet(), command="", people=(3,))


def test_the_input_follows_the_file(subject: Subject) -> None:
    assert subject.clips() == Clips(1, 2, 20, 17, 3, 2)
    assert subject.clips(batch=3, frames=31).sizes() == (3, 2, 31, 17, 3)
    with pytest.raises(UsageError, match=r"--num-frames 40: tiny.onnx takes 8 to 32"):
        subject.clips(frames=40)


def test_a_fixed_axis_stays_fixed(tmp_path: Path, static_content: bytes) -> None:
    path = tmp_path / "static.onnx"
    path.write_bytes(static_content)
    static = read_subject(path)
    assert static.sweep() == ()
    with pytest.raises(UsageError, match=r"--batch-size 8: static\.onnx takes 1 alone, the axis is fixed"):
        static.clips(batch=8)


def test_a_file_of_another_checkpoint_is_refused(subject: Subject, tiny_source: Tiny, tmp_path: Path) -> None:
    require_same_checkpoint(subject, tiny_source.checkpoint)
    other = write_tiny(tmp_path, weights={})
    with pytest.raises(IntegrityError, match=r"tiny.onnx was made from tiny.pth \(sha256 .*\), not from") as caught:
        require_same_checkpoint(subject, other.checkpoint)
    assert caught.value.code == 8
    with pytest.raises(UsageError, match=r"checkpoint .*none.pth does not exist"):
        require_same_checkpoint(subject, tmp_path / "none.pth")


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model .*none.onnx does not exist"):
        read_subject(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not ONNX", encoding="utf-8")
    with pytest.raises(UsageError, match="not an ONNX file"):
        read_subject(tmp_path / "text.onnx")


def test_a_file_of_another_converter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="does not say which checkpoint it was made from"):
        read_subject(tmp_path / "empty.onnx")
