"""`scripts/image.py` as a user calls it: its result, and its last line when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_engine import FakeEngine, only_path

from container.image import reference

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    only_path(monkeypatch, tmp_path)
    return tmp_path


def image(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "image.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_result_is_the_name_and_the_log_is_not_in_it(bin_folder: Path) -> None:
    FakeEngine(bin_folder, "podman").on("build", "echo STEP 1")
    done = image("--variant", "cpu")
    assert (done.returncode, done.stdout) == (0, f"{reference(ROOT, 'cpu')}\n")
    assert done.stderr == "STEP 1\n"


def test_the_first_engine_that_runs_builds(bin_folder: Path) -> None:
    podman, docker = FakeEngine(bin_folder, "podman"), FakeEngine(bin_folder, "docker")
    podman.on("probe", "exit 126")
    assert image("--variant", "gpu").returncode == 0
    assert (len(podman.calls("build")), len(docker.calls("build"))) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--variant", "tpu"), 2, "error: --variant tpu: there is no such image; give one of: cpu, gpu"),
        (("--engine", "moby"), 2, "error: --engine moby is unknown; give one of: podman, docker"),
        (("--engine", "docker"), 3, "error: docker is not installed; install podman or docker"),
        (("--wheels", "/nowhere"), 2, "error: --wheels /nowhere: no wheel is there; fill it with `pip download"),
    ],
)
def test_bad_input_has_its_code_and_next_step(
    bin_folder: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    podman = FakeEngine(bin_folder, "podman")
    done = image(*arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.splitlines()[-1].startswith(message)
    assert podman.calls("build") == []


def test_no_engine_and_none_that_runs_are_code_3(bin_folder: Path) -> None:
    done = image()
    assert (done.returncode, done.stderr) == (3, "error: no container engine is installed; install podman or docker\n")
    FakeEngine(bin_folder, "docker").on("probe", "echo 'Cannot connect to the Docker daemon' >&2; exit 125")
    done = image()
    assert done.returncode == 3
    assert done.stderr == (
        "error: docker: the client is there, but no container runs: Cannot connect to the Docker daemon; "
        "start the daemon: systemctl start docker\n"
    )
