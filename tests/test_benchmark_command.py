"""The command: which measurement, which options go with it, and where results go."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from bench_samples import file_report
from tiny import Outcome, Tiny

import benchmark as script
from stgcn_onnx.bench import command
from stgcn_onnx.bench.files import BEGIN, END


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """The command in this process: importing PyTorch for each mistake would take minutes."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
        code = script.main()
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def model(tiny: Tiny, static_content: bytes) -> Path:
    path = tiny.folder / "tiny.onnx"
    path.write_bytes(static_content)
    return path


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ((), ["expected one of --model FILE, --table and --peers, found none of them"]),
        (("--table", "--peers"), ["found --table and --peers"]),
        (("--table", "--people", "1"), ["--people does not go with --table"]),
        (("--peers", "--num-frames", "50"), ["--num-frames does not go with --peers"]),
        (("--table", "--svg", "x.svg"), ["--svg does not go with --table"]),
        (("--model", "none.onnx"), ["model none.onnx does not exist"]),
        (("--peers", "--people", "1;2"), ["--people 1;2: expected counts with commas"]),
        (("--table", "--json", "none/x.json"), ["output none/x.json", "missing or not writable"]),
        (("--table", "--update-readme", "none.md"), ["README none.md cannot be read"]),
        (("--table", "--preset", "realtme"), ["preset 'realtme' is unknown", "did you mean 'realtime'?"]),
        (("--table", "--set", "benchmark.round=1"), ["benchmark.round is not a key", "did you mean 'rounds'?"]),
    ],
)
def test_mistakes_are_named(run, arguments, fragments, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    run(*arguments).expect_error(2, *fragments)


def test_rounds_have_to_be_positive(run) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SystemExit) as caught:
        run("--table", "--rounds", "0")
    assert caught.value.code == 2


def test_a_file_of_another_checkpoint_ends_with_code_8(run, tiny: Tiny, model: Path) -> None:  # type: ignore[no-untyped-def]
    tiny.checkpoint.write_bytes(b"other weights")
    run("--model", model, "--preset", tiny.preset).expect_error(8, "tiny.onnx was made from tiny.pth")


def test_a_missing_gpu_ends_with_code_3(run, tiny: Tiny, model: Path) -> None:  # type: ignore[no-untyped-def]
    run("--model", model, "--preset", tiny.preset, "--device", "cuda:7").expect_error(3, "device cuda:7")


def test_results_go_where_they_are_asked_for(run, tiny: Tiny, model: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(command, "measure_file", lambda *_args, **_options: file_report())
    readme = tiny.folder / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    places = ("--json", tiny.folder / "x.json", "--markdown", tiny.folder / "x.md", "--update-readme", readme)
    outcome = run("--model", model, "--preset", tiny.preset, *places)
    assert outcome.code == 0
    table = outcome.stdout.strip()
    assert table.startswith("| candidate |")
    assert json.loads((tiny.folder / "x.json").read_text(encoding="utf-8"))["kind"] == "file"
    assert (tiny.folder / "x.md").read_text(encoding="utf-8").startswith(table)
    assert table in readme.read_text(encoding="utf-8")


def test_the_gate_holds_here_too_and_the_figures_are_kept(run, tiny: Tiny, model: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    baseline, kept = tiny.folder / "base.json", tiny.folder / "x.json"
    monkeypatch.setattr(command, "measure_file", lambda *_args, **_options: file_report(40, 10))
    assert run("--model", model, "--preset", tiny.preset, "--json", baseline).code == 0
    monkeypatch.setattr(command, "measure_file", lambda *_args, **_options: file_report(40, 30))
    gate = ("--set", "benchmark.enabled=true", "--set", "benchmark.max_regression=1.2")
    outcome = run(
        "--model", model, "--preset", tiny.preset, "--json", kept, *gate, "--set", f"benchmark.baseline={baseline}"
    )
    assert outcome.code == 7
    assert "3.00 times slower, allowed 1.2" in outcome.last_line
    assert kept.is_file()


def test_the_command_that_is_noted_holds_no_folder(run, tiny: Tiny, model: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    noted: list[str] = []
    monkeypatch.setattr(
        command, "measure_file", lambda *_args, **options: noted.append(options["command"]) or file_report()
    )
    run("--model", model, "--preset", tiny.preset, "--people", "1", "--num-frames", "20", "--set", "benchmark.warmup=1")
    assert noted == [
        "invoke benchmark --model tiny.onnx --preset tiny.yaml --people 1 --num-frames 20 --set benchmark.warmup=1"
    ]
