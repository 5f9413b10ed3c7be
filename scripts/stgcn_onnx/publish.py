"""How an artefact appears: built beside its place, moved there by atomic rename, or not at all.

One build owns an output at a time. Everything is staged in a folder next to the output (the same file system, so that
a rename is atomic), which goes away whatever happens; what a killed build left behind is removed by the next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from stgcn_onnx.errors import EnvironmentFault, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def sidecar(output: Path, kind: str) -> Path:
    """`X.verify.json` for `X.onnx` and the kind `verify`."""
    return output.with_name(f"{output.stem}.{kind}")


@contextlib.contextmanager
def staging(output: Path) -> Iterator[Path]:
    """Own `output` and give a folder to build in; the folder goes away at the end.

    Raises:
        UsageError: the output folder is missing, not writable, or `output` is a folder.
        EnvironmentFault: another build of the same output is running, or the disk is full.
    """
    folder = output.parent
    if output.is_dir():
        raise UsageError(f"output {output} is a folder", hint="give a file name that ends in .onnx")
    make_folder(folder)
    with full_disk_is_a_fault(output), _owned(output):
        prefix = f".{output.name}.build-"
        for stale in folder.glob(f"{glob.escape(prefix)}*"):
            shutil.rmtree(stale)
        stage = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        try:
            yield stage
        finally:
            shutil.rmtree(stage)


def publish(stage: Path, output: Path, names: Sequence[str], *, obsolete: Sequence[Path] = ()) -> None:
    """Move the staged files `names` to the folder of `output`, the ONNX file last; then remove `obsolete`.

    An interrupt waits until all of them are in place.
    """
    with _uninterrupted():
        for name in sorted(names, key=lambda item: item == output.name):
            _sync(stage / name)
            (stage / name).replace(output.parent / name)
        for path in obsolete:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def full_disk_is_a_fault(output: Path) -> Iterator[None]:
    """Turn the system's word for a full disk into ours.

    Raises:
        EnvironmentFault: when the disk, the quota or the file size limit is reached.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise EnvironmentFault(
            f"output {output}: the disk is full ({os.strerror(error.errno or 0)}); nothing was written",
            hint="make room, or give another place with --output",
        ) from error


def make_folder(folder: Path) -> None:
    """Make the folder of an output, and the folders above it.

    Raises:
        UsageError: when that is not possible, or nobody may write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"output folder {folder} cannot be made: {os.strerror(error.errno or 0)}",
            hint="give another place with --output",
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"output folder {folder} is not writable", hint="give another place with --output")


@contextlib.contextmanager
def _owned(output: Path) -> Iterator[None]:
    lock = output.with_name(f".{output.name}.lock")
    while True:
        stream = _open_lock(lock)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            stream.close()
            raise EnvironmentFault(
                f"output {output} is being built by another process ({owner})",
                hint="wait for it, or give another place with --output",
            ) from error
        # The owner removes its lock file at the end: one that was removed between open and lock is not ours.
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(stream.fileno()).st_ino == lock.stat().st_ino:
                break
        stream.close()
    try:
        stream.truncate(0)
        stream.write(f"process {os.getpid()}")
        stream.flush()
        yield
    finally:
        lock.unlink(missing_ok=True)
        stream.close()


def _open_lock(lock: Path) -> IO[str]:
    try:
        return lock.open("a+", encoding="utf-8")
    except OSError as error:
        if error.errno in _FULL:
            raise
        raise UsageError(
            f"output folder {lock.parent} is not writable: {os.strerror(error.errno or 0)}",
            hint="give another place with --output",
        ) from error


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait.

    Blocking them for this thread would not do: the system then hands them to a thread of PyTorch's or onnxruntime's,
    and Python interrupts the main thread all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late: list[int] = []
    before = {
        each: signal.signal(each, lambda number, _frame: late.append(number))
        for each in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in late:
        signal.raise_signal(number)
