"""`make` with the real converter and the demo model, in a copy of the repository that uses this environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = {
    "realtime": "stgcn_fight_realtime.onnx",
    "batch": "stgcn_fight_batch.onnx",
    "development": "stgcn_fight_dev.onnx",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fresh copy of everything that is committed and needed to build."""
    folder = tmp_path_factory.mktemp("project with a blank")
    for name in ("Makefile", "tasks.py"):
        shutil.copy(ROOT / name, folder)
    for name in ("presets", "scripts", "requirements", "checkpoints/demo"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    command = ["make", *arguments, f"INVOKE={Path(sys.executable).parent / 'invoke'}", "VARIANT=cpu"]
    return subprocess.Popen(
        command, cwd=project, env=os.environ | {"NO_COLOR": "1"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def make(project: Path, *arguments: str) -> tuple[int, str, str]:
    with start(project, *arguments) as process:
        output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def times(project: Path) -> dict[str, int]:
    found = {preset: project / "checkpoints" / name for preset, name in FILES.items()}
    return {preset: path.stat().st_mtime_ns for preset, path in found.items() if path.exists()}


def changed(project: Path, *arguments: str) -> set[str]:
    """Run make, which must succeed, and return the presets whose file is new."""
    before = times(project)
    code, _, errors = make(project, *arguments)
    assert code == 0, errors
    return {preset for preset, modified in times(project).items() if modified != before.get(preset)}


def opset_of(project: Path, preset: str) -> int:
    (domain,) = onnx.load(project / "checkpoints" / FILES[preset]).opset_import
    return int(domain.version)


def test_three_files_then_nothing_then_one(project: Path) -> None:
    assert changed(project, "-j3", *FILES) == set(FILES)
    for name in FILES.values():
        assert (project / "checkpoints" / name.replace(".onnx", ".verify.json")).exists()

    started = time.monotonic()
    code, output, _ = make(project, *FILES)
    assert time.monotonic() - started < 1
    assert (code, output.count("is up to date")) == (0, 3)

    (project / "presets" / "batch.yaml").touch()
    assert changed(project, *FILES) == {"batch"}

    default = opset_of(project, "development")
    assert changed(project, "development", "OPSET=13") == {"development"}
    assert opset_of(project, "development") == 13
    assert changed(project, "development") == {"development"}
    assert opset_of(project, "development") == default


def test_two_builds_of_the_same_file_at_once_leave_one_good_file(project: Path) -> None:
    (project / "presets" / "batch.yaml").touch()
    processes = [start(project, "batch") for _ in range(2)]
    endings = [(process.communicate(timeout=600)[1], process.returncode) for process in processes]
    assert any(code == 0 for _, code in endings), endings
    onnx.checker.check_model(onnx.load(project / "checkpoints" / FILES["batch"]), full_check=True)
    report = json.loads((project / "checkpoints" / "stgcn_fight_batch.verify.json").read_text())
    assert report
    left = {path.name for path in (project / "checkpoints").glob("*batch*")}
    assert left == {"stgcn_fight_batch.onnx", "stgcn_fight_batch.verify.json"}
    assert changed(project, "batch") == set()


def test_a_gpu_that_is_not_there_is_an_error_and_the_good_file_stays(project: Path) -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has an NVIDIA driver")
    make(project, "development")
    before = times(project)
    code, _, errors = make(project, "development", "DEVICE=cuda:0")
    assert code == 2
    assert "device cuda:0" in errors
    assert errors.splitlines()[-1].endswith("Error 3")
    assert times(project) == before
