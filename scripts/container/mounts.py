"""Which places of this machine a container sees, each at the path that it has here.

The same paths inside and outside keep arguments, messages and make's dependency files valid on both sides.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from container.inputs import Needs
from stgcn_onnx.errors import UsageError
from stgcn_onnx.publish import make_folder

TMP = Path("/tmp")
# A folder of this machine must not hide what the image needs to run.
_OF_THE_IMAGE = tuple(map(Path, ("/bin", "/etc", "/lib", "/lib64", "/opt/stgcn-onnx", "/sbin", "/usr")))
# These are not stored anywhere: a container has its own.
_OF_THE_KERNEL = tuple(map(Path, ("/dev", "/proc", "/sys")))


@dataclass(frozen=True)
class Mount:
    """A place of this machine and where the container sees it."""

    source: Path
    target: Path
    writable: bool = False

    def covers(self, path: Path) -> bool:
        """Whether the container sees `path` through this mount, also after following its links."""
        return path.is_relative_to(self.target) and path.resolve().is_relative_to(self.source)

    def argument(self) -> str:
        """The value of `--mount`, which is a line of CSV; unlike `-v` it never creates a missing source."""
        line = io.StringIO()
        fields = ["type=bind", f"source={self.source}", f"target={self.target}", *([] if self.writable else ["ro"])]
        csv.writer(line, lineterminator="").writerow(fields)
        return line.getvalue()


@dataclass(frozen=True)
class Identity:
    """Who runs the command, in this machine and in the container."""

    uid: int
    gid: int

    @classmethod
    def of_the_caller(cls) -> Identity:
        return cls(os.getuid(), os.getgid())

    def may_write(self, folder: Path) -> bool:
        """By mode bits alone: without capabilities they hold for root as well."""
        status = folder.stat()
        needed = stat.S_IWOTH | stat.S_IXOTH
        if status.st_uid == self.uid:
            needed <<= 6
        elif status.st_gid == self.gid:
            needed <<= 3
        return status.st_mode & needed == needed


def plan(root: Path, needs: Needs, identity: Identity) -> tuple[Mount, ...]:
    """The mounts of a command: the repository, the folders it writes to, and the files it reads.

    Makes the folders that are missing, as the converter does.

    Raises:
        UsageError: a place that cannot be mounted, or a folder that the caller cannot write to.
    """
    mounts = {root: _folder(root, "the repository")}
    for file in needs.writes:
        what = f"output folder {file.parent}"
        mount = _folder(file.parent, what)
        make_folder(file.parent)
        if not identity.may_write(file.parent):
            owner = file.parent.stat()
            raise UsageError(
                f"{what} belongs to uid {owner.st_uid}, gid {owner.st_gid}, and is not writable for uid "
                f"{identity.uid}, as which the container runs",
                hint="give another place with --output, or change its owner",
            )
        mounts[file.parent] = replace(mount, source=file.parent.resolve(), writable=True)
    for file in needs.reads:
        _refuse(file, f"file {file}", _OF_THE_KERNEL)
        if not any(mount.covers(file) for mount in mounts.values()):
            # Where a link inside a mount points out of it, the container follows it to the same place as here.
            seen = any(file.is_relative_to(folder) for folder in mounts)
            target = file.resolve() if seen else file
            mounts[target] = Mount(file.resolve(), target)
    return tuple(mounts.values())


def working_folder(mounts: Iterable[Mount], current: Path) -> tuple[str, ...]:
    """Arguments that make `current` the working folder; it is empty but for what is mounted below it.

    Raises:
        UsageError: when the image needs that place for itself.
    """
    if current in (Path("/"), TMP) or any(current.is_relative_to(mount.target) for mount in mounts):
        return (f"--workdir={current}",)
    _folder(current, f"current folder {current}")
    return (f"--tmpfs={current}:mode=1777", f"--workdir={current}")


def _folder(path: Path, what: str) -> Mount:
    _refuse(path, what, _OF_THE_IMAGE + _OF_THE_KERNEL)
    return Mount(path.resolve(), path)


def _refuse(path: Path, what: str, reserved: tuple[Path, ...]) -> None:
    for place in reserved:
        # A folder above a reserved one would hide it as well.
        if path.is_relative_to(place) or place.is_relative_to(path):
            where = "is above" if place.is_relative_to(path) and path != place else "lies in"
            raise UsageError(
                f"{what} {where} {place}, which a container has for itself",
                hint="move it, for example below your home; or use --runner local",
            )
