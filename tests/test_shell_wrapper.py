"""scripts/convert_stgcn_to_onnx.sh: its options, its mistakes, and which Python it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAME = "scripts/convert_stgcn_to_onnx.sh"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the real wrapper and a convert.py that prints its arguments and ends with code 6."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / NAME, tmp_path / NAME)
    (tmp_path / "scripts" / "convert.py").write_text("import sys; print(*sys.argv[1:], sep='|'); sys.exit(6)")
    return tmp_path


def run(project: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        [project / NAME, *arguments],
        cwd=folder or project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["realtime"], "--preset|realtime"),
        (["-d", "cpu", "batch", "-o", "a b.onnx"], "--preset|batch|-d|cpu|-o|a b.onnx"),
        (["mine.yaml", "-v", "--no-verify", "--benchmark"], "--preset|mine.yaml|-v|--no-verify|--benchmark"),
    ],
)
def test_options_are_passed_on_and_so_is_the_exit_code(project: Path, arguments: list[str], expected: str) -> None:
    done = run(project, *arguments)
    assert done.stdout.strip() == expected
    assert done.returncode == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PRESET is missing"),
        (["realtime", "batch"], "one PRESET is expected, found realtime and batch"),
        (["realtime", "--verfy"], "--verfy is not an option"),
        (["realtime", "-o"], "-o needs a value"),
    ],
)
def test_a_usage_error_is_code_2(project: Path, arguments: list[str], message: str) -> None:
    done = run(project, *arguments)
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_help_lists_every_option(project: Path) -> None:
    done = run(project, "-h")
    assert done.returncode == 0
    for option in ("PRESET", "-h", "-d", "-o", "-v", "--no-verify", "--benchmark"):
        assert option in done.stdout


def test_the_projects_environment_comes_first(project: Path) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "venv $2 $3"\n')
    python.chmod(0o755)
    assert run(project, "realtime", folder=project / "scripts").stdout == "venv --preset realtime\n"


def test_it_runs_from_any_folder(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run(project, "realtime", folder=elsewhere).returncode == 6
