"""Options become overrides of a preset, failures become exit codes and one last line."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT

from stgcn_onnx import cli, errors
from stgcn_onnx.console import Log
from stgcn_onnx.preset_file import Override


def parsed(*argv: str) -> list[Override]:
    parser = cli.Parser("x")
    cli.add_preset_options(parser)
    return cli.preset_overrides(parser.parse_args(argv))


def values(*argv: str) -> dict[str, object]:
    return {override.key: override.value for override in parsed(*argv)}


def test_without_options_nothing_is_overridden() -> None:
    assert parsed() == []


@pytest.mark.parametrize(
    ("argv", "key", "value"),
    [
        (["--config", "c.py"], "model.config", "c.py"),
        (["--checkpoint", "c.pth"], "model.checkpoint", "c.pth"),
        (["-o", "o.onnx"], "output", "o.onnx"),
        (["--output", "o.onnx"], "output", "o.onnx"),
        (["-d", "cuda:0"], "device", "cuda:0"),
        (["--opset", "13"], "export.opset", 13),
        (["--exporter", "dynamo"], "export.exporter", "dynamo"),
        (["--batch-size", "8"], "input.batch_size", 8),
        (["--num-frames", "64"], "input.num_frames", 64),
        (["--num-person", "2"], "input.num_person", 2),
        (["--precision", "fp32"], "export.precision", "fp32"),
        (["--verify"], "verify.enabled", True),
        (["--no-verify"], "verify.enabled", False),
        (["--rtol", "1e-4"], "verify.rtol", 1e-4),
        (["--atol", "0.5"], "verify.atol", 0.5),
        (["--data", "c.pkl"], "verify.data", "c.pkl"),
        (["--benchmark"], "benchmark.enabled", True),
        (["--no-benchmark"], "benchmark.enabled", False),
        (["--trust-checkpoint"], "model.trust_checkpoint", True),
        (["--trust-config"], "model.trust_config", True),
        (["--set", "verify.seed=3"], "verify.seed", 3),
    ],
)
def test_every_option_of_the_contract_sets_its_key(argv: list[str], key: str, value: object) -> None:
    found = values(*argv)
    assert found[key] == value
    assert type(found[key]) is type(value)


@pytest.mark.parametrize(
    ("argv", "batch", "frames"),
    [
        ([], None, None),
        (["--dynamic"], True, None),
        (["--no-dynamic"], False, False),
        (["--dynamic-frames"], None, True),
        (["--no-dynamic-frames"], None, False),
        (["--dynamic", "--no-dynamic-frames"], True, False),
        (["--no-dynamic", "--dynamic-frames"], False, True),
    ],
)
def test_the_switches_for_free_axes(argv: list[str], batch: bool | None, frames: bool | None) -> None:
    found = values(*argv)
    assert (found.get("axes.batch_size.dynamic"), found.get("axes.num_frames.dynamic")) == (batch, frames)


def test_a_named_option_comes_after_set_and_both_say_where_they_are_from() -> None:
    found = parsed("--opset", "13", "--set", "export.opset=12", "--no-verify")
    assert [(o.value, o.source) for o in found if o.key == "export.opset"] == [(12, "--set"), (13, "--opset")]
    assert [o.source for o in found if o.key == "verify.enabled"] == ["--no-verify"]


def test_another_checkpoint_drops_the_presets_digest_but_not_one_that_is_given() -> None:
    assert values("--checkpoint", "c.pth")["model.sha256"] is None
    assert values("--checkpoint", "c.pth", "--set", "model.sha256=ab")["model.sha256"] == "ab"
    assert "model.sha256" not in values("--config", "c.py")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--opst", "1"], "error: --opst is not an option; did you mean --opset?"),
        (["--zzzzzzz"], "error: --zzzzzzz is not an option; see "),
        (["--opset"], "error: argument --opset: expected one argument; see "),
        (["--opset", "x"], "error: argument --opset: invalid int value: 'x'; see "),
        (["--num", "1"], "error: --num is not an option"),
    ],
)
def test_a_mistyped_option_is_the_last_line_with_the_closest(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(*argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)


def run(error: BaseException | None, *argv: str) -> int:
    parser = cli.Parser("x")
    parser.add_argument("-v", "--verbose", action="store_true")

    def command(_arguments: argparse.Namespace, _log: Log) -> int:
        if error is not None:
            raise error
        return 0

    return cli.run(command, parser, argv)


CODES = {
    errors.UsageError: 2,
    errors.EnvironmentFault: 3,
    errors.CheckpointError: 4,
    errors.ExportError: 5,
    errors.VerificationError: 6,
    errors.BenchmarkGateError: 7,
    errors.IntegrityError: 8,
}


@pytest.mark.parametrize("kind", CODES)
def test_every_failure_has_its_code_and_one_last_line(
    kind: type[errors.ConverterError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(kind("what is\n  wrong", hint="do this")) == CODES[kind]
    captured = capsys.readouterr()
    assert captured.err == "error: what is wrong; do this\n"
    assert captured.out == ""


def test_every_class_of_failure_is_in_the_table() -> None:
    assert set(errors.ConverterError.__subclasses__()) == set(CODES)


def test_a_traceback_appears_when_verbose_and_for_internal_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(errors.UsageError("x", hint="y"), "-v") == 2
    assert "Traceback" in capsys.readouterr().err
    assert run(ZeroDivisionError("x")) == 1
    lines = capsys.readouterr().err
    assert "Traceback" in lines
    assert lines.splitlines()[-1] == (
        "error: internal error: ZeroDivisionError: x; please report it with the lines above"
    )


def test_an_interrupt_is_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(KeyboardInterrupt()) == errors.INTERRUPTED == 130
    assert capsys.readouterr().err.startswith("error: interrupted")


def test_sigterm_is_an_interrupt_too() -> None:
    code = (
        f"import os, signal, sys; sys.path.insert(0, {str(ROOT / 'scripts')!r}); from stgcn_onnx import cli\n"
        "def command(a, l):\n    os.kill(os.getpid(), signal.SIGTERM)\n    return 0\n"
        "sys.exit(cli.run(command, cli.Parser('x'), []))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 130, signal.Signals(-process.returncode)


def test_success_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(None) == 0
    assert capsys.readouterr() == ("", "")


def test_paths_are_shown_relative_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.shown(tmp_path / "a" / "b") == "a/b"
    assert cli.shown(Path("/elsewhere/b")) == "/elsewhere/b"
