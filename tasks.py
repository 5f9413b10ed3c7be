"""Decides how and where a command runs; the work is done by ``scripts/*.py``.

A task's parameters become the options of its script, unchanged: ``num_frames=100`` is ``--num-frames 100``, a true
one a bare ``--dynamic``, one that was not given is left out. The script's exit code is the task's.
"""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, cast

from invoke.context import Context
from invoke.exceptions import Exit, ParseError
from invoke.main import program
from invoke.tasks import Task, task

if TYPE_CHECKING:
    from container.runner import Run

ROOT = Path(__file__).resolve().parent
# Last, so that no script is taken for a module of Python's own.
sys.path.append(str(ROOT / "scripts"))
USAGE = 2
STOP_AFTER_S = 10
"""How long an interrupted container may take to clean up."""

Text = str | None
Texts = list[str] | None

HELP = {
    "preset": "name of a preset (see `invoke presets`) or path of a preset file",
    "config": "MMEngine config (.py) of the model",
    "checkpoint": "weights (.pth) of the model",
    "output": "ONNX file to write",
    "device": "cpu or cuda:0",
    "opset": "ONNX operator set",
    "exporter": "torchscript or dynamo",
    "batch_size": "clips per call (N)",
    "num_frames": "frames per clip (T)",
    "num_person": "people per clip (M)",
    "dynamic": "leave the batch size free",
    "no_dynamic": "fix every axis",
    "dynamic_frames": "leave the number of frames free",
    "no_dynamic_frames": "fix the number of frames",
    "precision": "arithmetic of the file: fp32, fp16 or int8",
    "verify": "compare with PyTorch before publishing (the default)",
    "no_verify": "publish without comparing",
    "rtol": "relative tolerance of the comparison",
    "atol": "absolute tolerance of the comparison",
    "benchmark": "measure PyTorch against the ONNX file afterwards",
    "no_benchmark": "do not measure, whatever the preset says",
    "trust_checkpoint": "unpickle the checkpoint without restriction; recorded in the file",
    "trust_config": "run the config as Python code; recorded in the file",
    "verbose": "each stage with its time, each shape, tracebacks",
    "dry_run": "print the resolved preset and where each value came from, build nothing",
    "set_": "override one preset value, KEY.PATH=VALUE (repeatable)",
    "depfile": "write what the file was made from, for make",
    "runner": "where to run: auto, local (this machine), podman or docker",
    "memory": "memory limit of the container, for example 4g",
    "variant": "locked packages of the image: cpu or gpu",
    "engine": "podman or docker (default: the first that runs)",
    "base_image": "image to start from, instead of the Dockerfile's",
    "wheels": "folder of wheels: build without a network",
    "model": "ONNX file to look at",
    "data": "annotation pickle: compare on real clips as well; for evaluate, the clips with their labels",
    "split": "only the clips of this split of the annotation pickle",
    "table": "build and measure PyTorch and the file: static, dynamic, in batches",
    "peers": "build and measure everything that could be used instead",
    "people": "measure with so many people present as well, for example 1,2",
    "rounds": "processes per candidate, taking turns",
    "iterations": "timed runs per process",
    "official": "with --peers: the official ten-stage ST-GCN++ as well (the default)",
    "no_official": "with --peers: only this project's model",
    "json": "the findings or figures as JSON; figures go into the file that is named",
    "markdown": "write the tables to this file as Markdown",
    "svg": "plot the figures; those of a benchmark only where all peers are measured",
    "update_readme": "replace the section between the benchmark markers of this Markdown file",
    "file": "ONNX file to look into",
    "warmup": "runs before the profiled ones",
    "depth": "how deep to follow the modules' paths",
    "top": "how many of the slowest nodes to show",
    "keys": "explain every key of a preset",
    "schema": "print the JSON schema of preset files, for editors",
}


class ScriptTask(Task[Any]):
    """A task with the contract's three short options and no guessed ones."""

    SHORT: ClassVar[dict[str, str]] = {"output": "o", "device": "d", "verbose": "v"}

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        options = super().arg_opts(name, default, taken_names)
        if name in self.SHORT:
            options["names"].append(self.SHORT[name])
        return options


def script_task(body: Callable[..., None]) -> Task[Any]:
    """Make a task of a function whose parameters are a script's options; each must be described in HELP."""
    names = list(inspect.signature(body).parameters)[1:]
    repeatable = ["set_"] if "set_" in names else []
    described = {name: HELP[name] for name in names}
    return cast(Task[Any], task(body, klass=ScriptTask, auto_shortflags=False, iterable=repeatable, help=described))


def to_arguments(options: Mapping[str, Any]) -> list[str]:
    """Translate task parameters into command-line arguments; None, False and empty lists are left out.

    A `file` comes first and without a name.
    """
    arguments = [str(options["file"])] if "file" in options else []
    for name, value in options.items():
        if name == "file":
            continue
        flag = "--" + name.strip("_").replace("_", "-")
        if value is True:
            arguments.append(flag)
        elif value not in (None, False):
            for item in value if isinstance(value, list) else [value]:
                arguments += [flag, str(item)]
    return arguments


def wait_for(run: Run) -> int:
    """Run a command to its end, also through Ctrl-C, and return its exit code; 128 + n where signal n killed it.

    Invoke's own runner would put pipes between the command and the terminal, and would not let it clean up.
    """
    process: subprocess.Popen[bytes] | None = None
    stopped = False
    early: list[int] = []

    def pass_on(number: int, _frame: FrameType | None = None) -> None:
        nonlocal stopped
        if process is None:  # it may be there already, but is not yet known here
            early.append(number)
            return
        again, stopped = stopped, True
        # On Ctrl-C a terminal has signalled the whole group already, the command included once it was there.
        if number != signal.SIGINT or not sys.stdin.isatty() or number in early:
            process.send_signal(number)
        if again:
            run.stop()
        else:  # no thread: a second Ctrl-C may come while it is being started
            signal.setitimer(signal.ITIMER_REAL, STOP_AFTER_S)

    handlers = {signal.SIGINT: pass_on, signal.SIGTERM: pass_on, signal.SIGALRM: lambda *_: run.stop()}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        process = subprocess.Popen(run.command, cwd=run.folder)
        for number in early:
            pass_on(number)
        code = process.wait()
        signal.setitimer(signal.ITIMER_REAL, 0)
        return run.finish(code if code >= 0 else 128 - code, stopped=stopped)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_script(name: str, options: Mapping[str, Any]) -> None:
    """Run ``scripts/NAME``, here or in a container; the task ends with the script's exit code."""
    from container.runner import Job, prepare
    from stgcn_onnx.errors import ConverterError

    given = {key: value for key, value in options.items() if key not in ("c", "runner", "memory")}
    job = Job(ROOT, name, tuple(to_arguments(given)))
    try:
        code = wait_for(prepare(job, runner=options.get("runner"), memory=options.get("memory")))
    except ConverterError as error:
        raise Exit(f"error: {error}", code=error.code) from error
    if code:
        raise Exit(code=code)


def parse_strictly(parse: Callable[[], None]) -> Callable[[], None]:
    """Make a mistyped task or option end with code 2: Invoke says 1, which here means an internal error."""

    def parse_tasks() -> None:
        try:
            parse()
        except ParseError as error:
            problem = str(error).rstrip("!")
            raise Exit(f"invoke: {problem}; see `invoke --list` and `invoke --help TASK`", code=USAGE) from error

    return parse_tasks


program.parse_tasks = parse_strictly(program.parse_tasks)  # type: ignore[method-assign]


@script_task
def convert(
    c: Context, preset: str = "custom", config: Text = None, checkpoint: Text = None, output: Text = None,
    device: Text = None, opset: Text = None, exporter: Text = None, batch_size: Text = None, num_frames: Text = None,
    num_person: Text = None, dynamic: bool = False, no_dynamic: bool = False, dynamic_frames: bool = False,
    no_dynamic_frames: bool = False, precision: Text = None, verify: bool = False, no_verify: bool = False,
    rtol: Text = None, atol: Text = None, data: Text = None, benchmark: bool = False, no_benchmark: bool = False,
    trust_checkpoint: bool = False, trust_config: bool = False, set_: Texts = None, dry_run: bool = False,
    depfile: Text = None, verbose: bool = False, runner: str = "auto",
    memory: Text = None,
) -> None:  # fmt: skip
    """Turn a checkpoint into a verified ONNX file."""
    run_script("convert.py", locals())


@script_task
def export(
    c: Context, preset: str = "custom", config: Text = None, checkpoint: Text = None, output: Text = None,
    device: Text = None, opset: Text = None, exporter: Text = None, batch_size: Text = None, num_frames: Text = None,
    num_person: Text = None, dynamic: bool = False, no_dynamic: bool = False, dynamic_frames: bool = False,
    no_dynamic_frames: bool = False, precision: Text = None, trust_checkpoint: bool = False,
    trust_config: bool = False, set_: Texts = None, dry_run: bool = False, depfile: Text = None,
    verbose: bool = False, runner: str = "auto",
    memory: Text = None,
) -> None:  # fmt: skip
    """Write the ONNX file without comparing it with PyTorch."""
    run_script("export.py", locals())


@script_task
def verify(
    c: Context, model: Text = None, preset: Text = None, config: Text = None, checkpoint: Text = None,
    trust_checkpoint: bool = False, trust_config: bool = False, data: Text = None, device: Text = None,
    rtol: Text = None, atol: Text = None, json: Text = None, set_: Texts = None, verbose: bool = False,
    runner: str = "auto", memory: Text = None,
) -> None:  # fmt: skip
    """Compare an ONNX file with the PyTorch model it was made from."""
    run_script("verify.py", locals())


@script_task
def evaluate(
    c: Context, model: Text = None, data: Text = None, split: Text = None, preset: Text = None, config: Text = None,
    checkpoint: Text = None, trust_checkpoint: bool = False, trust_config: bool = False, device: Text = None,
    json: Text = None, markdown: Text = None, svg: Text = None, set_: Texts = None, verbose: bool = False,
    runner: str = "auto", memory: Text = None,
) -> None:  # fmt: skip
    """Measure an ONNX file on labelled videos, beside its PyTorch model."""
    run_script("evaluate.py", locals())


@script_task
def benchmark(
    c: Context, model: Text = None, table: bool = False, peers: bool = False, preset: Text = None,
    config: Text = None, checkpoint: Text = None, trust_checkpoint: bool = False, trust_config: bool = False,
    device: Text = None, batch_size: Text = None, num_frames: Text = None, people: Text = None, rounds: Text = None,
    iterations: Text = None, official: bool = False, no_official: bool = False, json: Text = None,
    markdown: Text = None, svg: Text = None, update_readme: Text = None, set_: Texts = None, verbose: bool = False,
    runner: str = "auto", memory: Text = None,
) -> None:  # fmt: skip
    """Measure PyTorch against an ONNX file, or against all its variants."""
    run_script("benchmark.py", locals())


@script_task
def profile(
    c: Context, file: str, batch_size: Text = None, num_frames: Text = None, people: Text = None,
    iterations: Text = None, warmup: Text = None, depth: Text = None, top: Text = None, json: Text = None,
    verbose: bool = False,
) -> None:  # fmt: skip
    """Show where the time of an ONNX file goes, by kind of node and by module."""
    run_script("profile_onnx.py", locals())


@script_task
def presets(c: Context, keys: bool = False, schema: bool = False) -> None:
    """List the presets, explain their keys, or print their JSON schema."""
    run_script("presets.py", locals())


@script_task
def doctor(c: Context, json: bool = False) -> None:
    """Say what is installed, what really works and what to do."""
    run_script("doctor.py", locals())


@script_task
def image(c: Context, variant: Text = None, engine: Text = None, base_image: Text = None, wheels: Text = None) -> None:
    """Build the container image of the locked packages, and print its name."""
    run_script("image.py", locals())
