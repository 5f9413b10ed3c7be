"""How an artefact appears: whole or not at all, one build at a time, and nothing left of those that failed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import ROOT, left_behind

from stgcn_onnx import publish as module
from stgcn_onnx.errors import EnvironmentFault, UsageError
from stgcn_onnx.publish import publish, sidecar, staging

HOLD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {scripts!r})
from stgcn_onnx.publish import staging
with staging(Path({output!r})) as stage:
    (stage / "half.onnx").write_bytes(b"half")
    print("building", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


def hold(output: Path) -> subprocess.Popen[str]:
    """A process that is building `output`."""
    code = HOLD.format(scripts=str(ROOT / "scripts"), output=str(output))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_files_appear_and_the_obsolete_ones_go(output: Path) -> None:
    gone = sidecar(output, "benchmark.json")
    gone.touch()
    with staging(output) as stage:
        assert stage.parent == output.parent, "a rename is atomic only within one file system"
        (stage / "m.onnx").write_bytes(b"new")
        (stage / "m.verify.json").write_bytes(b"{}")
        publish(stage, output, ["m.onnx", "m.verify.json"], obsolete=[gone, sidecar(output, "verify.failed.npz")])
    assert names(output.parent) == ["m.onnx", "m.verify.json"]
    assert output.read_bytes() == b"new"


def test_the_onnx_file_comes_last(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(module, "_sync", lambda path: seen.append(path.name))
    with staging(output) as stage:
        for name in ("m.onnx", "a.json", "z.json"):
            (stage / name).touch()
        publish(stage, output, ["m.onnx", "a.json", "z.json"])
    assert seen[-1] == "m.onnx"


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), UsageError("x", hint="y")])
def test_an_exception_in_the_middle_leaves_the_old_file_and_nothing_else(output: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), staging(output) as stage:
        (stage / "m.onnx").write_bytes(b"half")
        raise error
    assert names(output.parent) == ["m.onnx"]
    assert output.read_bytes() == b"old"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_all_files_are_in_place(
    output: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Also where other threads run, which the system may choose to hand the signal to."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()

    def interrupted_sync(_path: Path) -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.05)

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_sync", interrupted_sync)
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), staging(output) as stage:
            (stage / "m.onnx").write_bytes(b"new")
            (stage / "m.verify.json").write_bytes(b"{}")
            publish(stage, output, ["m.onnx", "m.verify.json"])
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
        stop.set()
        thread.join()
    assert names(output.parent) == ["m.onnx", "m.verify.json"]
    assert output.read_bytes() == b"new"


def test_a_second_build_of_the_same_output_is_refused_and_disturbs_nothing(output: Path) -> None:
    process = hold(output)
    try:
        with (
            pytest.raises(EnvironmentFault, match=rf"is being built by another process \(process {process.pid}\)"),
            staging(output),
        ):
            pytest.fail("both own it")
        with staging(output.with_name("other.onnx")):
            pass
        assert any(name.startswith(".m.onnx.build-") for name in names(output.parent)), "the first goes on"
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_build_left_is_removed_by_the_next(output: Path) -> None:
    process = hold(output)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert left_behind(output.parent) != ["m.onnx"], "the killed one could not clean up"
    with staging(output) as stage:
        assert [path.name for path in output.parent.glob(".m.onnx.build-*")] == [stage.name]
    assert names(output.parent) == ["m.onnx"]


def test_the_stale_folder_of_a_name_with_brackets_is_found_and_no_other(tmp_path: Path) -> None:
    stale, foreign = tmp_path / ".a[1].onnx.build-x", tmp_path / ".a1.onnx.build-x"
    stale.mkdir()
    foreign.mkdir()
    with staging(tmp_path / "a[1].onnx"):
        assert not stale.exists()
        assert foreign.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_fault_of_the_machine(output: Path, number: int) -> None:
    message = r"m\.onnx: the disk is full .*; nothing was written"
    with pytest.raises(EnvironmentFault, match=message) as caught, staging(output) as stage:
        (stage / "m.onnx").write_bytes(b"half")
        raise OSError(number, os.strerror(number))
    assert "make room" in caught.value.hint
    assert names(output.parent) == ["m.onnx"]
    assert output.read_bytes() == b"old"


def test_a_disk_that_is_full_before_anything_is_written(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.tempfile, "mkdtemp", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"), staging(output):
        pytest.fail("there is no room")
    assert names(output.parent) == ["m.onnx"]


def test_other_errors_of_the_system_stay_what_they_are(output: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"), staging(output):
        raise OSError(errno.EIO, "Input/output error")


BAD_PLACES: list[tuple[str, Callable[[Path], Path], str]] = [
    (
        "below a file",
        lambda folder: folder / "file" / "m.onnx",
        r"output folder .* cannot be made: (File exists|Not a)",
    ),
    ("deep below a file", lambda folder: folder / "file" / "x" / "m.onnx", "cannot be made: Not a directory"),
    ("in the kernel's own file system", lambda _folder: Path("/proc/m.onnx"), "output folder /proc is not writable"),
    ("a folder", lambda folder: folder / "taken.onnx", "is a folder"),
]


@pytest.mark.parametrize(("place", "message"), [(p, m) for _, p, m in BAD_PLACES], ids=[n for n, _, _ in BAD_PLACES])
def test_a_place_that_cannot_be_written_to_is_a_usage_error(
    tmp_path: Path, place: Callable[[Path], Path], message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(UsageError, match=message), staging(place(tmp_path)):
        pytest.fail("it cannot be written to")
    assert names(tmp_path) == ["file", "taken.onnx"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the permissions of a folder do not bind root")
def test_a_folder_without_permission_to_write_is_a_usage_error(output: Path) -> None:
    output.parent.chmod(0o555)
    try:
        with pytest.raises(UsageError, match="is not writable"), staging(output):
            pytest.fail("it cannot be written to")
    finally:
        output.parent.chmod(0o755)
    assert names(output.parent) == ["m.onnx"]


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    output = tmp_path / "a" / "b" / "m.onnx"
    with staging(output) as stage:
        (stage / "m.onnx").write_bytes(b"new")
        publish(stage, output, ["m.onnx"])
    assert output.read_bytes() == b"new"


def test_sidecars_are_named_after_the_artefact() -> None:
    assert sidecar(Path("a/X.onnx"), "verify.json") == Path("a/X.verify.json")
