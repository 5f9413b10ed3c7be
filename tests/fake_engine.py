"""A `podman` or `docker` on the PATH that writes down how it was called and does as the test says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SCRIPT = """#!/bin/sh
cd "{folder}" || exit 1
printf '%s\\n' "$*" >>calls
case "$1" in
    image) shift 4; grep -qxF -- "$*" images ;;
    info) cat info ;;
    inspect) cat inspect ;;
    import) cat >/dev/null ;;
    run) case "$*" in *probe*) . ./probe ;; *) . ./run ;; esac ;;
    build) . ./build ;;
    kill) touch killed ;;
esac
"""


class FakeEngine:
    """An engine that runs every container with success and has no image, until told otherwise."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / f"{name}-state"
        self.folder.mkdir()
        for file in ("calls", "images", "info", "inspect", "probe", "run", "build"):
            (self.folder / file).touch()
        client = folder / name
        client.write_text(SCRIPT.format(folder=self.folder))
        client.chmod(0o755)

    def on(self, command: str, script: str) -> None:
        """Let `probe`, `run` or `build` do this, or `info` and `inspect` print it."""
        (self.folder / command).write_text(script + "\n")

    def has(self, *images: str) -> None:
        (self.folder / "images").write_text("\n".join(images) + "\n")

    def calls(self, command: str) -> list[str]:
        """The calls of one command so far."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line.split()[0] == command]


def only_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Leave on the PATH the fakes in `folder`, and what they need, but no real engine."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("cat", "grep", "touch", "sleep", "tar", "git"):
        found = next((p for p in ("/usr/bin", "/bin") if Path(p, name).exists()), None)
        if found:
            (tools / name).symlink_to(Path(found, name))
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), str(tools)]))
