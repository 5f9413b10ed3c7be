"""Real containers, with the image that `make image` built: the same bytes as here, and no way out.

Skipped with the reason where no engine runs or no image is built; a failure where REQUIRE_CONTAINER=1 is set.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from container.command import Limits, run_command
from container.engine import Engine, installed, probe
from container.image import reference, version
from container.mounts import Identity, Mount

ROOT = Path(__file__).resolve().parent.parent
SOMEBODY = Identity(12345, 12345)
SMALL = ("--preset", "development", "--num-frames", "16")

pytestmark = pytest.mark.slow


def not_here(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_CONTAINER") == "1":
        pytest.fail(f"REQUIRE_CONTAINER=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The first engine that runs and has the cpu image of these lock files."""
    reasons = ["no container engine is installed"]
    for candidate in installed():
        problem = probe(candidate)
        if not problem and candidate.has_image(reference(ROOT, "cpu")):
            return candidate
        reasons.append(f"{candidate.name}: {problem or reference(ROOT, 'cpu') + ' is not built'}")
    not_here("; ".join(reasons[1:] or reasons))


def inside(
    engine: Engine, arguments: Sequence[str], mounts: Sequence[Mount] = (), identity: Identity = SOMEBODY
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments as a command does."""
    name = f"stgcn-onnx-test-{os.getpid()}"
    command = run_command(engine, reference(ROOT, "cpu"), name, arguments, mounts, identity, Limits())
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    finally:
        engine.ask("rm", "--force", name)


def invoke(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "invoke", *arguments], cwd=ROOT, env=os.environ | {"NO_COLOR": "1"}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def finished(*arguments: str) -> tuple[int, str, str]:
    with invoke(*arguments) as process:
        output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def containers(engine: Engine) -> list[str]:
    names = engine.ask("ps", "--all", "--format", "{{.Names}}").output.split()
    return [name for name in names if name.startswith("stgcn-onnx")]


def make(folder: Path, runner: str) -> Path:
    """`make realtime` into a folder; its file."""
    output = folder / runner / "realtime.onnx"
    invoke = Path(sys.executable).parent / "invoke"
    command = ["make", "realtime", f"RUNNER={runner}", f"OUTPUT={output}", f"INVOKE={invoke}", "VARIANT=cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.timeout(1800)
def test_make_builds_the_same_bytes_in_a_container_as_here(engine: Engine, tmp_path: Path) -> None:
    there, here = make(tmp_path, engine.name), make(tmp_path, "local")
    assert there.read_bytes() == here.read_bytes()
    left = sorted(there.parent.iterdir())
    assert [path.name for path in left] == ["realtime.onnx", "realtime.verify.json"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in left} == {(os.getuid(), os.getgid())}
    assert (there.parent / "realtime.verify.json").read_text() == (here.parent / "realtime.verify.json").read_text()
    assert containers(engine) == []


def test_files_from_anywhere_reach_the_container_and_exit_codes_come_back(engine: Engine, tmp_path: Path) -> None:
    broken = tmp_path / "a, broken.pth"
    broken.write_bytes(b"not a checkpoint")
    code, output, errors = finished(
        "convert", *SMALL, "--runner", engine.name, "--checkpoint", str(broken), "-o", str(tmp_path / "out" / "x.onnx")
    )
    assert (code, output) == (4, "")
    assert str(broken) in errors.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_ends_the_container_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    with invoke("convert", *SMALL, "--runner", engine.name, "-o", str(tmp_path / "x.onnx")) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("model")
        assert len(containers(engine)) == 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    assert process.returncode == 130
    assert containers(engine) == []
    assert list(tmp_path.iterdir()) == []


def test_a_container_killed_for_memory_says_so_and_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    code, _, errors = finished(
        "convert", *SMALL, "--runner", engine.name, "--memory", "150m", "-o", str(tmp_path / "x.onnx")
    )
    assert code == 3
    assert re.search(r"killed .*for memory: its limit is 150m; .*--memory", errors.splitlines()[-1])
    assert list(tmp_path.iterdir()) == []
    assert containers(engine) == []


def test_a_gpu_that_the_container_does_not_see_is_code_3(engine: Engine) -> None:
    script = str(ROOT / "scripts" / "convert.py")
    options = [*SMALL, "--device", "cuda:0", "--output", "/tmp/x.onnx"]
    done = inside(engine, [script, *options], [Mount(ROOT, ROOT)])
    assert done.returncode == 3
    assert "cuda:0" in done.stderr.splitlines()[-1]


PRISON = """
import getpass, os, pathlib, shutil, socket, torch
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines() if ":" in line)
assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
assert status["NoNewPrivs"].strip() == "1"
assert (os.getuid(), os.getgid()) == (12345, 12345)
assert getpass.getuser() == "converter"
assert not [tool for tool in ("cc", "gcc", "g++", "clang") if shutil.which(tool)]
assert [name for _, name in socket.if_nameindex()] == ["lo"]
for place in ("/", "/opt/stgcn-onnx", "/work"):
    try:
        pathlib.Path(place, "x").touch()
    except OSError:
        continue
    raise AssertionError(f"{place} can be written to")
pathlib.Path("/tmp/x").touch()
print("locked in")
"""


def test_the_container_can_compute_and_nothing_else(engine: Engine) -> None:
    done = inside(engine, ["-c", PRISON])
    assert done.stdout == "locked in\n", done.stderr


def test_the_image_says_what_it_is_and_runs_as_nobody(engine: Engine) -> None:
    (image,) = json.loads(engine.ask("image", "inspect", reference(ROOT, "cpu")).output)
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == version(ROOT)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])
    assert image["Config"]["User"] == "10001:10001"


def test_the_doctor_ran_a_container(engine: Engine) -> None:
    _, output, _ = finished("doctor", "--json")
    finding = next(finding for finding in json.loads(output) if finding["subject"] == engine.name)
    assert finding["found"].startswith("a container ran; images of these lock files: cpu")
