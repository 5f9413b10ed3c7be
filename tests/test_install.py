"""requirements/install.sh: what it does when all goes well, and what it leaves when it does not; the lock files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A Python that creates an environment whose pip only writes down what it was asked for.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) echo "${FAKE_VERSION:-3.11.2}" ;;
    "-m venv"*)
        rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python
        echo "venv" >>calls.log; exit ${FAKE_VENV:-0} ;;
    *pip*) echo "pip ${*#*install }" >>calls.log; exit ${FAKE_PIP:-0} ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the real requirements and Pythons that are none."""
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "bin").mkdir()
    for name in ("python3.11", "python3"):
        python = tmp_path / "bin" / name
        python.write_text(PYTHON)
        python.chmod(0o755)
    return tmp_path


def install(project: Path, name: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{project / 'bin'}:/usr/bin:/bin"} | extra
    command = [project / "requirements" / "install.sh", name]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=60)


def calls(project: Path) -> list[str]:
    log = project / "calls.log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_nothing_is_compiled_and_openmmlab_comes_without_its_requirements(project: Path) -> None:
    assert install(project, "cpu").returncode == 0
    assert install(project, "dev").returncode == 0
    made, main, openmmlab, dev = calls(project)
    assert made == "venv"
    assert all("--only-binary :all:" in call for call in (main, openmmlab, dev))
    assert "requirements/cpu.lock --constraint requirements/gpu.lock" in main
    assert openmmlab.endswith("requirements/openmmlab.lock --no-deps")
    assert "requirements/dev.lock" in dev
    assert {path.name for path in (project / ".venv").glob(".stamp-*")} == {".stamp-cpu", ".stamp-dev"}


def test_the_same_lock_is_not_installed_twice(project: Path) -> None:
    install(project, "cpu")
    calls(project)
    stamp = project / ".venv" / ".stamp-cpu"
    os.utime(stamp, (0, 0))
    assert install(project, "cpu").returncode == 0
    assert calls(project) == []
    assert stamp.stat().st_mtime > 0


def test_a_changed_lock_or_another_variant_starts_afresh(project: Path) -> None:
    install(project, "cpu")
    lock = project / "requirements" / "cpu.lock"
    lock.write_text(lock.read_text() + "another==1.0\n")
    calls(project)
    assert install(project, "cpu").returncode == 0
    assert calls(project)[0] == "venv"
    assert install(project, "gpu").returncode == 0
    assert "requirements/gpu.lock" in calls(project)[1]
    assert [path.name for path in (project / ".venv").glob(".stamp-*")] == [".stamp-gpu"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"FAKE_VERSION": "3.12.4"}, "Python 3.11 is needed, found: python3.11 is 3.12.4; python3 is 3.12.4;"),
        ({"PYTHON": "/no/such/python"}, "Python 3.11 is needed, found: none;"),
        ({"FAKE_VENV": "1"}, "apt-get install python3.11-venv"),
        ({"FAKE_PIP": "1"}, "then run make setup again"),
    ],
)
def test_a_failure_says_what_to_do_and_leaves_no_stamp(project: Path, extra: dict[str, str], message: str) -> None:
    done = install(project, "cpu", **extra)
    assert done.returncode == 3
    assert message in done.stderr.splitlines()[-1]
    assert not list(project.glob(".venv/.stamp-*"))


def test_python_names_the_interpreter(project: Path) -> None:
    mine = project / "my python"
    (project / "bin" / "python3.11").rename(mine)
    assert install(project, "cpu", PYTHON=str(mine)).returncode == 0
    assert calls(project)[0] == "venv"


def read(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements" / name).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines), name
    return dict(line.split("==") for line in lines)


def test_the_locks_are_exact_agree_and_differ_only_in_what_the_gpu_needs() -> None:
    cpu, gpu, dev, openmmlab = (read(f"{name}.lock") for name in ("cpu", "gpu", "dev", "openmmlab"))
    assert cpu.keys() - gpu.keys() == {"onnxruntime"}
    assert cpu["onnxruntime"] == gpu["onnxruntime-gpu"]
    assert all(re.match(r"(nvidia|cuda)-|triton$|onnxruntime-gpu$", name) for name in gpu.keys() - cpu.keys())
    for first, second in ((cpu, gpu), (cpu, dev), (gpu, openmmlab)):
        assert all(first[name] == second[name] for name in first.keys() & second.keys())
    assert cpu["torch"] == "2.13.0"
    assert openmmlab.keys() == {"mmaction2", "mmcv-lite", "mmengine"}
