"""What the Makefile decides: when a file is built, and what is left when a build fails."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from make_project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in which nothing is installed or built."""
    return Project(tmp_path)


@pytest.fixture
def ready(project: Project) -> Project:
    """Return a project in which three presets are built."""
    assert sorted(project.built("realtime", "batch", "development")) == ["batch", "development", "realtime"]
    return project


def test_the_second_call_builds_nothing_and_says_so_at_once(ready: Project) -> None:
    started = time.monotonic()
    done = ready.make("realtime", "batch", "development")
    assert time.monotonic() - started < 1
    assert ready.calls() == []
    assert done.stdout.count("is up to date") == 3


def test_presets_are_real_files(project: Project) -> None:
    assert project.built("all") == ["realtime", "batch", "development", "custom", "gpu", "edge", "openvino"]
    names = {path.name for path in (project.root / "checkpoints").glob("*.onnx")}
    assert names == {
        "stgcn_fight_realtime.onnx", "stgcn_fight_batch.onnx", "stgcn_fight_dev.onnx", "my_custom_model.onnx",
        "stgcn_fight_gpu.onnx", "stgcn_fight_edge.onnx", "stgcn_fight_openvino.onnx",
    }  # fmt: skip
    assert project.built("checkpoints/stgcn_fight_batch.onnx") == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("presets/batch.yaml", ["batch"]),
        ("presets/_demo.yaml", ["batch", "development", "realtime"]),
        ("scripts/stgcn_onnx/export.py", ["batch", "development", "realtime"]),
        ("scripts/stgcn_onnx/scene/body.py", ["batch", "development", "realtime"]),
        ("scripts/stgcn_onnx/doctor.py", []),
        ("requirements/cpu.lock", ["batch", "development", "realtime"]),
        ("README.md", []),
    ],
)
def test_a_changed_file_rebuilds_what_depends_on_it(ready: Project, changed: str, expected: list[str]) -> None:
    ready.touch(changed)
    assert sorted(ready.built("realtime", "batch", "development")) == expected
    assert ready.built("realtime", "batch", "development") == []


def test_a_config_that_changed_or_went_away_runs_the_converter(ready: Project) -> None:
    ready.touch("mine.py")
    ready.age()
    assert ready.built("batch", "CONFIG=mine.py") == ["batch"]
    ready.touch("mine.py")
    assert ready.built("batch", "CONFIG=mine.py") == ["batch"]
    (ready.root / "mine.py").unlink()
    assert ready.built("batch", "CONFIG=mine.py") == ["batch"]


def test_a_failed_build_keeps_the_last_good_file_and_is_tried_again(ready: Project) -> None:
    before = (ready.root / "checkpoints/stgcn_fight_batch.onnx").stat()
    ready.touch("presets/batch.yaml")
    ready.touch("broken")
    done = ready.make("batch")
    assert done.returncode == 2
    assert "Error 6" in done.stderr
    assert (ready.root / "checkpoints/stgcn_fight_batch.onnx").stat() == before
    (ready.root / "broken").unlink()
    ready.age()
    ready.calls()
    assert ready.built("batch") == ["batch"]


def test_an_interrupted_build_keeps_the_last_good_file_and_is_tried_again(ready: Project) -> None:
    ready.touch("slow")
    command, environment = ready.command("realtime", "OPSET=13")
    process = subprocess.Popen(
        command, cwd=ready.root, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (ready.root / "calls.log").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert (ready.root / "checkpoints/stgcn_fight_realtime.onnx").read_text() == "realtime\n"
    (ready.root / "slow").unlink()
    ready.calls()
    assert ready.built("realtime", "OPSET=13") == ["realtime"]


def test_parallel_builds_set_up_once(project: Project) -> None:
    done = project.make("-j3", "realtime", "batch", "development", "custom")
    assert done.returncode == 0, done.stderr
    calls = project.calls()
    assert calls[0] == "install cpu"
    assert len(calls) == 5
    assert all(call.startswith("convert") for call in calls[1:])


def test_set_up_is_repeated_when_it_failed_or_the_lock_changed(project: Project) -> None:
    project.touch("broken")
    assert project.make("setup").returncode == 2
    (project.root / "broken").unlink()
    assert project.make("setup").returncode == 0
    project.age()
    assert ".venv is up to date" in project.make("setup").stdout
    project.touch("requirements/cpu.lock")
    assert project.make("setup").returncode == 0
    assert project.calls() == ["install cpu"] * 3


def test_the_installed_variant_stays_until_another_is_asked_for(project: Project) -> None:
    assert project.make("setup", "VARIANT=gpu").returncode == 0
    project.age()
    command, environment = project.command("setup")
    command.remove("VARIANT=cpu")
    subprocess.run(command, cwd=project.root, env=environment, check=True, capture_output=True)
    assert project.calls() == ["install gpu"]
    assert project.make("setup", "VARIANT=cpu").returncode == 0
    assert project.calls() == ["install cpu"]


def test_asking_with_q_builds_nothing(ready: Project) -> None:
    assert ready.make("-q", "batch").returncode == 0
    ready.touch("presets/batch.yaml")
    assert ready.make("-q", "batch").returncode == 1
    assert ready.calls() == []


def test_clean_removes_what_was_built_and_nothing_else(ready: Project) -> None:
    for name in ("stgcn_fight_batch.verify.json", "theirs.onnx"):
        ready.touch(f"checkpoints/{name}")
    assert ready.make("clean").returncode == 0
    assert [path.name for path in (ready.root / "checkpoints").iterdir()] == ["theirs.onnx"]
