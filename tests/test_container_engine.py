"""Engines: what counts as running, and where podman and docker differ."""

from __future__ import annotations

import io
import os
import platform
import subprocess
import tarfile
from pathlib import Path

import pytest
from fake_engine import FakeEngine, only_path

from container import engine as engines
from container import tiny
from container.engine import Engine, installed, next_step, probe

PODMAN, DOCKER = Engine("podman"), Engine("docker")


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    only_path(monkeypatch, tmp_path)
    return tmp_path


@pytest.mark.skipif(platform.system() != "Linux", reason="the program is for Linux")
def test_the_smallest_program_runs(tmp_path: Path) -> None:
    program = tmp_path / "exit0"
    program.write_bytes(tiny.program(platform.machine()))
    program.chmod(0o755)
    assert subprocess.run([program], check=False).returncode == 0
    program.write_bytes(tiny.program(platform.machine())[:-1])
    assert subprocess.run([program], check=False).returncode != 0


def test_the_archive_holds_the_program_alone_and_executable() -> None:
    with tarfile.open(fileobj=io.BytesIO(tiny.archive("aarch64"))) as tar:
        (entry,) = tar.getmembers()
        content = tar.extractfile(entry)
        assert content is not None
        assert content.read() == tiny.program("aarch64")
    assert (entry.name, entry.mode) == ("exit0", 0o755)


def test_only_what_is_on_the_path_is_installed(bin_folder: Path) -> None:
    assert installed() == ()
    FakeEngine(bin_folder, "docker")
    assert installed() == (DOCKER,)
    FakeEngine(bin_folder, "podman")
    assert installed() == (PODMAN, DOCKER)


def test_a_probe_runs_a_container_and_leaves_nothing(bin_folder: Path) -> None:
    fake = FakeEngine(bin_folder, "podman")
    assert probe(PODMAN) == ""
    (run,) = fake.calls("run")
    image = f"localhost/stgcn-onnx-probe:{os.getpid()}"
    assert run == f"run --rm --pull=never --network=none --read-only {image} /exit0"
    assert fake.calls("import") == [f"import - {image}"]
    assert fake.calls("rmi") == [f"rmi --force {image}"]


@pytest.mark.parametrize(("name", "option"), [("podman", "--device=nvidia.com/gpu=all"), ("docker", "--gpus=all")])
def test_a_probe_asks_for_the_gpu_in_the_engines_own_way(bin_folder: Path, name: str, option: str) -> None:
    fake = FakeEngine(bin_folder, name)
    assert probe(Engine(name), gpu=True) == ""
    assert option in fake.calls("run")[0].split()


def test_an_engine_that_answers_but_cannot_run_is_found_out(bin_folder: Path) -> None:
    fake = FakeEngine(bin_folder, "podman")
    fake.on("probe", "echo first >&2; echo 'Error: runc: error setting rlimit type 7' >&2; exit 126")
    assert PODMAN.ask("info").code == 0
    problem = probe(PODMAN)
    assert problem == "Error: runc: error setting rlimit type 7"
    assert "default_ulimits" in next_step(PODMAN, problem)
    assert len(fake.calls("rmi")) == 1


def test_an_engine_that_hangs_is_given_up(bin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FakeEngine(bin_folder, "podman").on("probe", "exec sleep 20")
    monkeypatch.setattr(engines, "ANSWER_LIMIT_S", 0.5)
    assert probe(PODMAN) == "no answer within 0.5 s"


def test_a_client_that_is_no_program_is_reported(bin_folder: Path) -> None:
    (bin_folder / "docker").write_text("not a program")
    (bin_folder / "docker").chmod(0o755)
    assert "docker does not start" in DOCKER.ask("info").complaint


@pytest.mark.parametrize(
    ("problem", "step"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "start the daemon"),
        ("permission denied while trying to connect", "group docker"),
        ("could not select device driver with capabilities: [[gpu]]", "NVIDIA Container Toolkit"),
        ("setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all", "nvidia-ctk cdi generate"),
        ("something new", "docker info"),
    ],
)
def test_each_known_problem_has_its_next_step(problem: str, step: str) -> None:
    assert step in next_step(DOCKER, problem)


@pytest.mark.parametrize(
    ("name", "info", "expected"),
    [
        ("podman", "false", ("--user=1000:100",)),
        ("podman", "true", ("--userns=keep-id", "--user=1000:100")),
        ("docker", "[name=seccomp,profile=default]", ("--user=1000:100",)),
        ("docker", "[name=seccomp,profile=default name=rootless]", ("--user=0:0",)),
    ],
)
def test_the_container_is_the_caller_also_without_root(
    bin_folder: Path, name: str, info: str, expected: tuple[str, ...]
) -> None:
    FakeEngine(bin_folder, name).on("info", info)
    assert Engine(name).identity_arguments(1000, 100) == expected
