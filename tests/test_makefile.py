"""What the Makefile decides: when a file is built, with which options, and what it refuses.

The Makefile runs for real in a small copy of the repository whose ``invoke`` writes down how it was called and
leaves a file and its dependency file, as the converter does.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

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
        for name in ("scripts/convert.py", "scripts/stgcn_onnx/export.py", "scripts/stgcn_onnx/doctor.py"):
            self.touch(name)
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


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in which nothing is installed or built."""
    return Project(tmp_path)


@pytest.fixture
def ready(project: Project) -> Project:
    """Return a project in which three presets are built."""
    assert sorted(project.built("realtime", "batch", "development")) == ["batch", "development", "realtime"]
    return project


def test_the_second_call_builds_nothing_and_says_so_at_once(ready: Project) -> None:
    started = time.monotonic()
    done = ready.make("realtime", "batch", "development")
    assert time.monotonic() - started < 1
    assert ready.calls() == []
    assert done.stdout.count("is up to date") == 3


def test_presets_are_real_files(project: Project) -> None:
    assert project.built("all") == ["realtime", "batch", "development", "custom"]
    names = {path.name for path in (project.root / "checkpoints").glob("*.onnx")}
    assert names == {
        "stgcn_fight_realtime.onnx", "stgcn_fight_batch.onnx", "stgcn_fight_dev.onnx", "my_custom_model.onnx"
    }  # fmt: skip
    assert project.built("checkpoints/stgcn_fight_batch.onnx") == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("presets/batch.yaml", ["batch"]),
        ("presets/_demo.yaml", ["batch", "development", "realtime"]),
        ("scripts/stgcn_onnx/export.py", ["batch", "development", "realtime"]),
        ("scripts/stgcn_onnx/doctor.py", []),
        ("requirements/cpu.lock", ["batch", "development", "realtime"]),
        ("README.md", []),
    ],
)
def test_a_changed_file_rebuilds_what_depends_on_it(ready: Project, changed: str, expected: list[str]) -> None:
    ready.touch(changed)
    assert sorted(ready.built("realtime", "batch", "development")) == expected
    assert ready.built("realtime", "batch", "development") == []


def test_an_option_rebuilds_and_so_does_its_absence(ready: Project) -> None:
    assert ready.built("realtime", "OPSET=13") == ["realtime"]
    assert ready.built("realtime", "OPSET=13") == []
    assert ready.built("realtime") == ["realtime"]
    assert ready.built("batch", "development") == []


def test_verbose_and_runner_never_rebuild(ready: Project) -> None:
    assert ready.built("realtime", "VERBOSE=1", "RUNNER=local") == []


def test_a_config_that_changed_or_went_away_runs_the_converter(ready: Project) -> None:
    ready.touch("mine.py")
    ready.age()
    assert ready.built("batch", "CONFIG=mine.py") == ["batch"]
    ready.touch("mine.py")
    assert ready.built("batch", "CONFIG=mine.py") == ["batch"]
    (ready.root / "mine.py").unlink()
    assert ready.built("batch", "CONFIG=mine.py") == ["batch"]


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("CONFIG=it's mine.py", "--config it's mine.py"),
        ("CHECKPOINT=a b.pth", "--checkpoint a b.pth"),
        ("DEVICE=cuda:0", "--device cuda:0"),
        ("OPSET=13", "--opset 13"),
        ("BATCH_SIZE=2", "--batch-size 2"),
        ("NUM_FRAMES=64", "--num-frames 64"),
        ("DYNAMIC=1", "--dynamic"),
        ("DYNAMIC=0", "--no-dynamic"),
        ("PRECISION=fp32", "--precision fp32"),
        ("RUNNER=local", "--runner local"),
        ("VERIFY=0", "--no-verify"),
        ("VERIFY=1", "--verify"),
        ("BENCHMARK=1", "--benchmark"),
        ("BENCHMARK=0", "--no-benchmark"),
        ("VERBOSE=1", "--verbose"),
        ("OUTPUT=out/x.onnx", "--output out/x.onnx"),
    ],
)
def test_each_variable_is_an_option(project: Project, variable: str, option: str) -> None:
    project.make("batch", variable)
    (call,) = [line for line in project.calls() if line.startswith("convert")]
    assert f" {option} " in f"{call} "


def test_the_paths_are_handed_over_with_the_preset(project: Project) -> None:
    project.built("development")
    project.make("realtime")
    assert project.calls() == [
        "convert --preset realtime --output checkpoints/stgcn_fight_realtime.onnx"
        " --depfile checkpoints/.build/stgcn_fight_realtime.onnx.d"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("realtime", "OPEST=13"), "OPEST is not a variable of this Makefile; there are: CONFIG CHECKPOINT"),
        (("realtime", "DYNAMIC=yes"), "DYNAMIC=yes must be 0 or 1"),
        (("realtime", "VERIFY=0 1"), "VERIFY=0 1 must be 0 or 1"),
        (("realtime", "BENCHMARK="), "BENCHMARK= is empty"),
        (("realtime", "OPSET="), "OPSET= is empty"),
        (("realtime", "CONFIG=a  b.py"), "CONFIG=a  b.py: make cannot keep several blanks in a row"),
        (("realtime", "VARIANT=tpu"), "VARIANT=tpu must be cpu or gpu"),
        (("realtime", "batch", "OUTPUT=x.onnx"), "needs exactly one target of: realtime batch development custom"),
        (("all", "OUTPUT=x.onnx"), "needs exactly one target"),
        (("realtime", "OUTPUT=x"), "must end in .onnx"),
        (("realtime", "OUTPUT=a b.onnx"), "must end in .onnx and hold no blank"),
        (("realtime", "OUTPUT=checkpoints/stgcn_fight_batch.onnx"), "is the file of the preset batch"),
    ],
)
def test_bad_variables_are_refused_by_name(project: Project, arguments: tuple[str, ...], message: str) -> None:
    done = project.make(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert project.calls() == []


def test_the_environment_changes_no_artefact(project: Project) -> None:
    done = project.make("batch", OPSET="13")
    assert "OPSET=13 in the environment is ignored; to use it, write: make batch OPSET=13" in done.stderr
    assert "--opset" not in project.calls()[-1]


def test_output_has_its_own_record(ready: Project) -> None:
    assert ready.built("batch", "OUTPUT=out/mine.onnx") == ["batch"]
    assert ready.built("batch", "OUTPUT=out/mine.onnx") == []
    assert ready.built("development", "OUTPUT=out/mine.onnx") == ["development"]
    assert ready.built("batch") == []


@pytest.mark.parametrize("spelling", ["./out/mine.onnx", "out/../out/mine.onnx", "{root}/out/mine.onnx"])
def test_output_is_one_file_however_it_is_spelt(ready: Project, spelling: str) -> None:
    assert ready.built("batch", f"OUTPUT={spelling.format(root=ready.root)}") == ["batch"]
    ready.touch("presets/_demo.yaml")
    assert ready.built("batch", "OUTPUT=out/mine.onnx") == ["batch"]
    assert ready.built("batch", f"OUTPUT={spelling.format(root=ready.root)}") == []


def test_a_failed_build_keeps_the_last_good_file_and_is_tried_again(ready: Project) -> None:
    before = (ready.root / "checkpoints/stgcn_fight_batch.onnx").stat()
    ready.touch("presets/batch.yaml")
    ready.touch("broken")
    done = ready.make("batch")
    assert done.returncode == 2
    assert "Error 6" in done.stderr
    assert (ready.root / "checkpoints/stgcn_fight_batch.onnx").stat() == before
    (ready.root / "broken").unlink()
    ready.age()
    ready.calls()
    assert ready.built("batch") == ["batch"]


def test_an_interrupted_build_keeps_the_last_good_file_and_is_tried_again(ready: Project) -> None:
    ready.touch("slow")
    command, environment = ready.command("realtime", "OPSET=13")
    process = subprocess.Popen(
        command, cwd=ready.root, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (ready.root / "calls.log").exists():
        time.sleep(0.01)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert (ready.root / "checkpoints/stgcn_fight_realtime.onnx").read_text() == "realtime\n"
    (ready.root / "slow").unlink()
    ready.calls()
    assert ready.built("realtime", "OPSET=13") == ["realtime"]


def test_parallel_builds_set_up_once(project: Project) -> None:
    done = project.make("-j3", "realtime", "batch", "development", "custom")
    assert done.returncode == 0, done.stderr
    calls = project.calls()
    assert calls[0] == "install cpu"
    assert len(calls) == 5
    assert all(call.startswith("convert") for call in calls[1:])


def test_set_up_is_repeated_when_it_failed_or_the_lock_changed(project: Project) -> None:
    project.touch("broken")
    assert project.make("setup").returncode == 2
    (project.root / "broken").unlink()
    assert project.make("setup").returncode == 0
    project.age()
    assert ".venv is up to date" in project.make("setup").stdout
    project.touch("requirements/cpu.lock")
    assert project.make("setup").returncode == 0
    assert project.calls() == ["install cpu"] * 3


def test_the_installed_variant_stays_until_another_is_asked_for(project: Project) -> None:
    assert project.make("setup", "VARIANT=gpu").returncode == 0
    project.age()
    command, environment = project.command("setup")
    command.remove("VARIANT=cpu")
    subprocess.run(command, cwd=project.root, env=environment, check=True, capture_output=True)
    assert project.calls() == ["install gpu"]
    assert project.make("setup", "VARIANT=cpu").returncode == 0
    assert project.calls() == ["install cpu"]


def test_an_invoke_of_the_users_own_needs_no_set_up(project: Project) -> None:
    assert project.built("batch", "INVOKE=./fake-invoke") == ["batch"]
    assert not (project.root / ".venv").exists()


def test_asking_with_q_builds_nothing(ready: Project) -> None:
    assert ready.make("-q", "batch").returncode == 0
    ready.touch("presets/batch.yaml")
    assert ready.make("-q", "batch").returncode == 1
    assert ready.calls() == []


def test_clean_removes_what_was_built_and_nothing_else(ready: Project) -> None:
    for name in ("stgcn_fight_batch.verify.json", "theirs.onnx"):
        ready.touch(f"checkpoints/{name}")
    assert ready.make("clean").returncode == 0
    assert [path.name for path in (ready.root / "checkpoints").iterdir()] == ["theirs.onnx"]


def test_help_is_the_default_and_complete(project: Project) -> None:
    text = project.make().stdout
    assert text == project.make("help").stdout
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    names = targets.replace("$(PRESETS)", "realtime batch development custom").split()
    names += " ".join(re.findall(r"^(?:OPTIONS|OTHERS) +:= (.*)$", makefile, flags=re.MULTILINE)).split()
    missing = [name for name in names if name != "FORCE" and not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_the_makefile_ignores_no_error() -> None:
    recipes = [line[1:] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")]
    assert recipes
    assert not [line for line in recipes if line.lstrip("@").startswith("-") or "|| true" in line]
