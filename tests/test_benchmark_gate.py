"""The regression gate: ratios against a baseline of the same kind of machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from bench_samples import MACHINE, file_report
from tiny import Tiny, quiet, run_script

from stgcn_onnx.bench.gate import Gate, apply_gate, read_gate
from stgcn_onnx.bench.machine import this_machine
from stgcn_onnx.bench.report import Report, report_json
from stgcn_onnx.errors import BenchmarkGateError, UsageError


def gate(baseline: Report, max_regression: float) -> Gate:
    return Gate(Path("base.json"), json.loads(report_json(baseline)), max_regression)


def test_a_file_that_kept_its_ratio_passes(capsys: pytest.CaptureFixture[str]) -> None:
    # Four times PyTorch before and 3.8 now, on a machine that is twice as slow today.
    apply_gate(gate(file_report(40, 10), 1.1), file_report(76, 20), quiet())
    assert "1.05 times slower, allowed 1.1" in capsys.readouterr().err


def test_a_file_that_became_faster_passes() -> None:
    apply_gate(gate(file_report(40, 10), 1.0), file_report(40, 5), quiet())


def test_a_file_that_became_slower_is_refused() -> None:
    with pytest.raises(BenchmarkGateError, match=r"benchmark.max_regression: ONNX .* 2.00 times slower, allowed 1.1"):
        apply_gate(gate(file_report(40, 10), 1.1), file_report(40, 20), quiet())


def test_no_gate_no_verdict(tiny: Tiny) -> None:
    assert read_gate(tiny.resolve().preset) is None
    apply_gate(None, file_report(1, 1000), quiet())


def test_a_baseline_of_another_machine_is_refused() -> None:
    other = dataclasses.replace(file_report(), machine=dataclasses.replace(MACHINE, cores=64))
    with pytest.raises(UsageError, match=r"another machine: 64 cores of Some CPU, device cpu; this one is 2 cores"):
        apply_gate(gate(other, 2.0), file_report(), quiet())


def test_a_baseline_of_another_device_is_refused() -> None:
    other = dataclasses.replace(file_report(), device="cuda:0")
    with pytest.raises(UsageError, match="device cuda:0; this one"):
        apply_gate(gate(other, 2.0), file_report(), quiet())


def test_a_baseline_of_another_input_is_refused() -> None:
    report = file_report()
    rows = tuple(dataclasses.replace(row, clips=row.clips.with_frames(31)) for row in report.rows)
    with pytest.raises(UsageError, match="has no ratio for ONNX"):
        apply_gate(gate(report, 2.0), dataclasses.replace(report, rows=rows), quiet())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not JSON"),
        ("[]", "not a benchmark of a file"),
        ('{"format_version": 1, "kind": "peers"}', "not a benchmark of a file"),
    ],
)
def test_a_baseline_that_is_none_is_refused(tiny: Tiny, content: str | None, message: str) -> None:
    path = tiny.folder / "base.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    resolved = tiny.resolve(
        {"benchmark.enabled": True, "benchmark.max_regression": 1.1, "benchmark.baseline": str(path)}
    )
    with pytest.raises(UsageError, match=message):
        read_gate(resolved.preset)


def test_a_gate_without_a_baseline_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="max_regression needs a baseline"):
        tiny.resolve({"benchmark.enabled": True, "benchmark.max_regression": 1.1})


def test_a_gate_that_would_never_run_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="max_regression needs a measurement"):
        tiny.resolve({"benchmark.max_regression": 1.1, "benchmark.baseline": "base.json"})


def test_a_baseline_is_relative_to_its_preset(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    tiny.preset.write_text(tiny.preset.read_text(encoding="utf-8") + "benchmark: {baseline: base.json}\n")
    baseline = tiny.resolve().preset.benchmark.baseline
    assert baseline is not None
    assert Path("/", baseline) == tiny.folder / "base.json"


@pytest.mark.slow
def test_a_conversion_that_became_slower_leaves_no_file(tiny: Tiny) -> None:
    """The baseline claims a ratio that nothing reaches; the real command measures and refuses."""
    claimed = json.loads(report_json(dataclasses.replace(file_report(1e9, 1), machine=this_machine())))
    (tiny.folder / "base.json").write_text(json.dumps(claimed), encoding="utf-8")
    with tiny.preset.open("a", encoding="utf-8") as preset:
        preset.write("benchmark: {rounds: 1, iterations: 2, warmup: 0, max_regression: 1.1, baseline: base.json}\n")
    # The measurement is asked for on the command line, as a build server would.
    outcome = run_script("convert.py", "--preset", tiny.preset, "--benchmark", "--no-verify")
    outcome.expect_error(
        7,
        "benchmark.max_regression: ONNX [1, 2, 20, 17, 3]",
        "times slower, allowed 1.1",
        nothing_in=tiny.output.parent,
    )
