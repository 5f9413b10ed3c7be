"""Where a command runs: the command line for each engine, the choice of `auto`, and how a run ends."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from fake_engine import FakeEngine, only_path

from container.command import Limits, check_memory, run_command
from container.engine import Engine
from container.image import reference
from container.mounts import Identity, Mount
from container.runner import ContainerRun, Job, Run, prepare
from stgcn_onnx.errors import EnvironmentFault, UsageError

ROOT = Path(__file__).resolve().parent.parent
CPU, GPU = reference(ROOT, "cpu"), reference(ROOT, "gpu")


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    only_path(monkeypatch, tmp_path)
    return tmp_path


def job(folder: Path, *arguments: str) -> Job:
    output = folder / "out" / "x.onnx"
    return Job(ROOT, "convert.py", ("--preset", "realtime", "--output", str(output), *arguments))


@pytest.mark.parametrize(("name", "gpu"), [("podman", "--device=nvidia.com/gpu=all"), ("docker", "--gpus=all")])
def test_the_command_line_of_each_engine(
    bin_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, gpu: str
) -> None:
    FakeEngine(bin_folder, name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(ROOT)
    mounts = [Mount(ROOT, ROOT), Mount(Path("/data"), Path("/data"), writable=True)]
    limits = Limits(memory="4g", gpu=True)
    command = run_command(Engine(name), "image:1", "called", ["a.py", "-x"], mounts, Identity(1000, 100), limits)
    assert command == [
        name, "run", "--name=called", "--pull=never", "--log-driver=none", "--network=none", "--read-only",
        "--tmpfs=/tmp:mode=1777", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--security-opt=label=disable",
        "--user=1000:100", "--memory=4g", "--memory-swap=4g", gpu, "--env=NO_COLOR",
        f"--mount=type=bind,source={ROOT},target={ROOT},ro", "--mount=type=bind,source=/data,target=/data",
        f"--workdir={ROOT}", "image:1", "a.py", "-x",
    ]  # fmt: skip
    plain = run_command(Engine(name), "image:1", "called", [], mounts, Identity(0, 0), Limits())
    assert not [word for word in plain if re.search("gpu|memory", word)]


@pytest.mark.parametrize("text", ["4", "4x", "", "-4g", "4 g", "0g"])
def test_a_wrong_memory_limit_is_refused(text: str) -> None:
    check_memory("512M")
    with pytest.raises(UsageError, match=rf"--memory {text}: expected a whole number and b, k, m or g"):
        check_memory(text)


def test_auto_says_why_it_stays_here(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> str:
        run = prepare(job(bin_folder), runner="auto", memory=None)
        assert type(run) is Run
        assert run.command[:2] == (sys.executable, str(ROOT / "scripts" / "convert.py"))
        return capsys.readouterr().err.removeprefix("runner: this machine ").strip()

    assert said() == "(no container engine is installed)"
    podman = FakeEngine(bin_folder, "podman")
    assert said() == "(podman: no image is built for these lock files)"
    podman.has(GPU)
    assert said() == f"(podman: no image {CPU})"
    podman.has(CPU)
    podman.on("probe", "echo no cgroups >&2; exit 126")
    assert said() == "(podman has the image but runs no container: no cgroups)"
    assert not (bin_folder / "out").exists()


def test_auto_takes_an_engine_that_has_the_image_and_runs(bin_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FakeEngine(bin_folder, "podman")
    docker = FakeEngine(bin_folder, "docker")
    docker.has(CPU)
    run = prepare(job(bin_folder), runner="auto", memory=None)
    assert isinstance(run, ContainerRun)
    assert run.command[:2] == ("docker", "run")
    assert capsys.readouterr().err == f"runner: docker, {CPU}\n"


def test_a_gpu_command_needs_the_gpu_image_and_asks_for_the_gpu(bin_folder: Path) -> None:
    podman = FakeEngine(bin_folder, "podman")
    podman.has(CPU)
    with pytest.raises(EnvironmentFault) as caught:
        prepare(job(bin_folder, "--device", "cuda:0"), runner="podman", memory=None)
    assert str(caught.value) == (
        f"--runner podman: the image {GPU} of requirements/gpu.lock is not built (the cpu image is, but does not serve "
        "cuda:0); build it: invoke image --variant gpu --engine podman"
    )
    podman.has(CPU, GPU)
    command = prepare(job(bin_folder, "--device", "cuda:0"), runner="podman", memory=None).command
    assert GPU in command
    assert "--device=nvidia.com/gpu=all" in command


def test_an_engine_that_was_asked_for_is_used_or_refused_with_the_next_step(bin_folder: Path) -> None:
    def refused() -> str:
        with pytest.raises(EnvironmentFault) as caught:
            prepare(job(bin_folder), runner="podman", memory=None)
        assert caught.value.code == 3
        return str(caught.value)

    assert refused() == "--runner podman: podman is not installed; install podman, or use --runner local"
    podman = FakeEngine(bin_folder, "podman")
    assert refused().endswith("is not built; build it: invoke image --variant cpu --engine podman")
    podman.on("probe", "echo 'Cannot connect to the Docker daemon' >&2; exit 125")
    assert refused().startswith("--runner podman: the client is there, but no container runs: Cannot connect")
    assert not (bin_folder / "out").exists()


def test_a_runner_that_does_not_exist_and_a_limit_without_a_container_are_refused(bin_folder: Path) -> None:
    with pytest.raises(UsageError, match="--runner moon is unknown; give one of: auto, local, podman, docker"):
        prepare(job(bin_folder), runner="moon", memory=None)
    for runner in ("auto", "local"):
        with pytest.raises(
            EnvironmentFault, match="--memory 4g limits a container, and this would run on this machine"
        ):
            prepare(job(bin_folder), runner=runner, memory="4g")


def started(folder: Path, memory: str | None = None) -> tuple[FakeEngine, Run]:
    podman = FakeEngine(folder, "podman")
    podman.has(CPU)
    return podman, prepare(job(folder), runner="podman", memory=memory)


@pytest.mark.parametrize("code", [0, 2, 6, 8, 130])
def test_exit_codes_come_through_and_the_container_goes_away(bin_folder: Path, code: int) -> None:
    podman, run = started(bin_folder)
    assert isinstance(run, ContainerRun)
    assert run.finish(code, stopped=False) == code
    assert podman.calls("rm") == [f"rm --force {run.name}"]
    assert not run.folder.exists()


@pytest.mark.parametrize("code", [125, 126, 127])
def test_an_engine_that_fails_is_code_3(bin_folder: Path, code: int) -> None:
    _, run = started(bin_folder)
    with pytest.raises(EnvironmentFault, match=rf"podman could not run the container \(code {code}.*invoke doctor"):
        run.finish(code, stopped=False)


@pytest.mark.parametrize(
    ("inspected", "memory", "message"),
    [
        ("true", "4g", "the container was killed for memory: its limit is 4g; nothing was written; give it more"),
        ("true", None, "the container was killed for memory: this machine has no more;"),
        ("false", "4g", r"was killed \(code 137\), most likely for memory: its limit is 4g;"),
        ("", None, r"was killed \(code 137\), most likely for memory: this machine has no more;"),
    ],
)
def test_a_container_that_was_killed_for_memory_says_so_and_leaves_nothing(
    bin_folder: Path, inspected: str, memory: str | None, message: str
) -> None:
    podman, run = started(bin_folder, memory)
    podman.on("inspect", inspected)
    (bin_folder / "out" / ".x.onnx.build-abc").mkdir()
    (bin_folder / "out" / ".x.onnx.lock").touch()
    with pytest.raises(EnvironmentFault, match=message):
        run.finish(137, stopped=False)
    assert list((bin_folder / "out").iterdir()) == []


def test_the_monitors_word_counts_where_the_engine_did_not_notice(bin_folder: Path) -> None:
    _, run = started(bin_folder)
    assert run.folder is not None
    (run.folder / "oom").touch()
    with pytest.raises(EnvironmentFault, match="killed for memory"):
        run.finish(137, stopped=False)


@pytest.mark.parametrize("code", [125, 130, 137])
def test_a_container_that_was_stopped_is_an_interrupt(bin_folder: Path, code: int) -> None:
    podman, run = started(bin_folder)
    run.stop()
    assert run.finish(code, stopped=True) == 130
    assert len(podman.calls("kill")) == 1
    assert os.environ["PATH"].startswith(str(bin_folder))
