"""A small copy of the repository in which the real Makefile runs and everything it calls only writes that down.

Its ``invoke`` leaves a file and the file's dependencies, as the converter does.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

INSTALL = """#!/bin/sh
echo "install $1" >>calls.log
[ ! -e broken ] || exit 3
[ "$1" = dev ] || rm -rf .venv
mkdir -p .venv/bin
cp fake-invoke .venv/bin/invoke
touch ".venv/.stamp-$1"
"""

INVOKE = """#!/bin/sh
echo "$*" >>calls.log
[ ! -e broken ] || exit 6
while [ $# -gt 0 ]; do
    case $1 in
        --preset) preset=$2 ;;
        --output) output=$2 ;;
        --depfile) depfile=$2 ;;
        --config) config=$2 ;;
    esac
    shift
done
[ ! -e slow ] || exec sleep 10
mkdir -p "$(dirname "$output")"
echo "$preset" >"$output"
echo "$output: presets/$preset.yaml presets/_demo.yaml $config" >"$depfile"
for file in "presets/$preset.yaml" presets/_demo.yaml $config; do echo "$file:" >>"$depfile"; done
"""


class Project:
    """A copy of what make looks at, and a record of what it called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copy(ROOT / "Makefile", root)
        shutil.copytree(ROOT / "presets", root / "presets")
        (root / "presets" / "_demo.yaml").touch()
        for name in ("export.py", "doctor.py", "scene/body.py"):
            self.touch(f"scripts/stgcn_onnx/{name}")
        self.touch("scripts/convert.py")
        for name in ("cpu.lock", "gpu.lock", "dev.lock", "openmmlab.lock"):
            self.touch(f"requirements/{name}")
        for name, text in (("fake-invoke", INVOKE), ("requirements/install.sh", INSTALL)):
            (root / name).write_text(text)
            (root / name).chmod(0o755)
        self.age()

    def age(self) -> None:
        """Put every file there is well into the past, so that what comes next is newer on any clock."""
        for path in self.root.rglob("*"):
            stat = path.stat()
            os.utime(path, (stat.st_atime - 60, stat.st_mtime - 60))

    def touch(self, name: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        variant = [] if any(a.startswith("VARIANT=") for a in arguments) else ["VARIANT=cpu"]
        return ["make", *arguments, *variant], kept

    def make(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(*arguments)
        return subprocess.run(
            command, cwd=self.root, env=environment | extra, capture_output=True, text=True, timeout=60, check=False
        )

    def calls(self) -> list[str]:
        """Return the calls since the last look."""
        log = self.root / "calls.log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def built(self, *arguments: str, **extra: str) -> list[str]:
        """Run make, which must succeed, and return the presets it converted."""
        done = self.make(*arguments, **extra)
        assert done.returncode == 0, done.stderr
        self.age()
        return re.findall(r"convert --preset (\w+)", "\n".join(self.calls()))
