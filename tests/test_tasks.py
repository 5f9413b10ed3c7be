"""Invoke's command line: which script runs with which arguments, and what becomes of its exit code.

The tasks run for real, in a copy of the repository whose scripts print how they were called.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("convert", "export", "verify", "evaluate", "benchmark", "presets", "profile", "doctor", "image")

# Without docker/Dockerfile no image has a name, so `auto` stays here whatever is installed.
HERE = r"runner: this machine \(.*\)\n"

FAKE = """
import json, os, sys, time
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "python": sys.executable}), flush=True)
what, _, number = os.environ.get("FAKE", "exit 0").partition(" ")
if what == "exit":
    sys.exit(int(number))
if what == "kill":
    os.kill(os.getpid(), int(number))
try:
    time.sleep(20)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("cleaned up", flush=True)
    sys.exit(130)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with the real tasks.py and scripts that only report."""
    shutil.copy(ROOT / "tasks.py", tmp_path)
    for name in ("container", "stgcn_onnx"):
        shutil.copytree(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    for name in SCRIPTS:
        (tmp_path / "scripts" / f"{name}.py").write_text(FAKE)
    return tmp_path


def invoke(folder: Path, *arguments: str, fake: str = "exit 0") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "invoke", *arguments]
    environment = os.environ | {"FAKE": fake}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


def reported(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    arguments: list[str] = json.loads(done.stdout.splitlines()[0])["arguments"]
    return arguments


def test_every_option_of_the_contract_reaches_the_script(project: Path) -> None:
    options = shlex.split(
        "--preset realtime --config c.py --checkpoint w.pth -o out.onnx -d cuda:0 --opset 12 --batch-size 2"
        " --num-frames 64 --num-person 2 --no-dynamic --dynamic-frames --precision fp32 --no-verify --rtol 1e-3"
        " --atol 1e-5 --benchmark -v --runner local --set a.b=1 --set c=-2"
    )
    expected = dict(zip(["-o", "-d", "-v"], ["--output", "--device", "--verbose"], strict=True))
    wanted = [expected.get(option, option) for option in options if option not in ("--runner", "local")]
    assert sorted(reported(invoke(project, "convert", *options))) == sorted(wanted)


@pytest.mark.parametrize("option", ["--dynamic", "--no-dynamic-frames", "--verify", "--no-benchmark"])
def test_a_switch_goes_both_ways(project: Path, option: str) -> None:
    assert reported(invoke(project, "convert", option)) == ["--preset", "custom", option]


def test_the_default_preset_is_custom(project: Path) -> None:
    assert reported(invoke(project, "convert", "--opset", "12")) == ["--preset", "custom", "--opset", "12"]


def test_the_order_of_repeated_overrides_is_kept(project: Path) -> None:
    arguments = reported(invoke(project, "convert", "--set", "a=1", "--set", "a=2"))
    assert arguments[-4:] == ["--set", "a=1", "--set", "a=2"]


def test_relative_paths_mean_the_users_folder(project: Path) -> None:
    below = project / "some" / "folder"
    below.mkdir(parents=True)
    done = invoke(below, "verify", "--model", "x.onnx")
    report = json.loads(done.stdout)
    assert report["folder"] == str(below)
    assert report["arguments"] == ["--model", "x.onnx"]
    assert report["python"] == sys.executable


@pytest.mark.parametrize(
    ("fake", "code"),
    [("exit 0", 0), ("exit 3", 3), ("exit 8", 8), ("exit 130", 130), ("kill 9", 137), ("kill 15", 143)],
)
def test_the_exit_code_is_the_scripts(project: Path, fake: str, code: int) -> None:
    done = invoke(project, "convert", fake=fake)
    assert done.returncode == code
    assert re.fullmatch(HERE, done.stderr)


def test_a_failure_stops_the_tasks_after_it(project: Path) -> None:
    done = invoke(project, "convert", "doctor", fake="exit 4")
    assert done.returncode == 4
    assert len(done.stdout.splitlines()) == 1
    assert len(invoke(project, "convert", "doctor").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("convert", "--opest", "12"), "--opest"),
        (("covnert",), "covnert"),
        (("convert", "--opset"), "opset"),
        (("convert", "--runner", "moon"), "moon"),
    ],
)
def test_a_usage_error_is_code_2_and_one_line(project: Path, arguments: tuple[str, ...], word: str) -> None:
    done = invoke(project, *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert word in line


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_a_container_is_refused_not_replaced(
    project: Path, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = invoke(project, "convert", "--runner", engine)
    assert done.returncode == 3
    assert done.stdout == ""
    expected = f"error: --runner {engine}: {engine} is not installed; install {engine}, or use --runner local"
    assert done.stderr.strip() == expected


ENGINE = """#!/bin/sh
case "$1" in
    run) case "$*" in *convert.py*) ;; *) exit 0 ;; esac
        trap 'echo signalled' INT TERM; echo "$*"; while [ ! -e "$0.killed" ]; do sleep 0.05; done; exit 137 ;;
    kill) touch "$0.killed" ;;
    rm) echo "$*" >>"$0.removed" ;;
esac
"""


def test_a_container_that_does_not_listen_is_ended_and_removed(project: Path) -> None:
    """The second signal does at once what the first does after a while."""
    for name in ("docker", "requirements", "presets", "checkpoints/demo"):
        shutil.copytree(ROOT / name, project / name)
    engine = project / "podman"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", "convert", "--preset", "batch", "--runner", "podman"], cwd=project,
        env=os.environ | {"PATH": f"{project}:/usr/bin:/bin"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        (name,) = re.findall(r"--name=(\S+)", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "signalled\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert (project / "podman.removed").read_text() == f"rm --force {name}\n"


SIGNALLED_AT_ITS_START = """
import os, signal, subprocess, tasks
from container.runner import Run

start = subprocess.Popen

def start_and_interrupt(*arguments, **options):
    process = start(*arguments, **options)
    os.kill(os.getpid(), signal.SIGTERM)
    return process

subprocess.Popen = start_and_interrupt
print(tasks.wait_for(Run(("sleep", "30"))))
"""


def test_a_signal_while_the_command_is_being_started_reaches_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_AT_ITS_START], cwd=ROOT, env=os.environ | {"PYTHONPATH": "scripts"},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("143\n", "", 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_script_and_leaves_no_traceback(
    project: Path, number: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "invoke", "convert"], cwd=project, env=os.environ | {"FAKE": "sleep"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(number)
        output, errors = process.communicate(timeout=15)
    assert process.returncode == code
    assert ("cleaned up" in output) == (number == signal.SIGINT)
    assert re.fullmatch(HERE, errors)


def test_the_list_reads_well(project: Path) -> None:
    listing = invoke(project, "--list").stdout
    for name in SCRIPTS:
        assert re.search(rf"^  {name} +[A-Z].*[a-z,.]$", listing, flags=re.MULTILINE)
    assert listing.count("\n  ") >= len(SCRIPTS)


def options_of_task(name: str) -> set[str]:
    text = invoke(ROOT, "--help", name).stdout
    lines = [line for line in text.splitlines() if re.match(r" +-", line)]
    # Every option is described on its own line or the next.
    assert all(re.search(r" {2,}\S", line.strip()) for line in lines), text
    return set(re.findall(r"(?<!\S)--[a-z-]+", "\n".join(lines)))


def options_of_script(name: str) -> set[str]:
    # A script called profile.py would hide Python's own module of that name.
    file = "profile_onnx.py" if name == "profile" else f"{name}.py"
    command = [sys.executable, str(ROOT / "scripts" / file), "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # "  -o FILE, --output FILE   the file": the options end where two blanks follow.
    heads = [line.strip().split("  ")[0] for line in text.splitlines() if line.startswith("  -")]
    return set(re.findall(r"--[a-z-]+", "\n".join(heads))) - {"--help"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_task_has_exactly_the_options_of_its_script(name: str) -> None:
    # Invoke lists the FILE of a task, which takes no name on the command line of the script, among the options.
    assert options_of_task(name) - {"--runner", "--memory", "--file"} == options_of_script(name)


def test_invoke_is_quick_because_it_imports_no_torch() -> None:
    code = "import sys, tasks; print([m for m in ('torch', 'numpy', 'onnx', 'stgcn_onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
