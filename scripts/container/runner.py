"""Where a command runs, and what becomes of it: this machine, or a container of an engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from container.command import Limits, check_memory, run_command
from container.engine import ENGINES, Engine, installed, next_step, probe
from container.image import built_variants, reference
from container.inputs import Needs, needs
from container.mounts import Identity, plan
from stgcn_onnx.errors import INTERRUPTED, EnvironmentFault, UsageError

RUNNERS = ("auto", "local", *ENGINES)
_KILLED = 137
_ENGINE_FAILED = (125, 126, 127)


@dataclass(frozen=True)
class Job:
    """A script of the repository and its arguments."""

    root: Path
    script: str
    arguments: tuple[str, ...]

    @cached_property
    def needs(self) -> Needs:
        return needs(self.script, self.arguments)

    @property
    def variant(self) -> str:
        return "gpu" if self.needs.gpu else "cpu"

    @property
    def image(self) -> str:
        return reference(self.root, self.variant)

    @property
    def command(self) -> tuple[str, ...]:
        """What Python is given."""
        return (str(self.root / "scripts" / self.script), *self.arguments)


@dataclass(frozen=True)
class Run:
    """A command that is ready to be started on this machine."""

    command: tuple[str, ...]
    folder: Path | None = None
    """Where the process starts, if not in the current folder."""

    def stop(self) -> None:
        """What has to be done besides passing signals on: nothing."""

    def finish(self, code: int, *, stopped: bool) -> int:  # noqa: ARG002 - a container's run needs to know
        """Turn the process's exit code into the command's."""
        return code


@dataclass(frozen=True, kw_only=True)
class ContainerRun(Run):
    """A command that is ready to be started in a container.

    Its client starts in an empty folder of its own: podman's monitor (conmon 2.1 on cgroup v1) leaves a file `oom`
    in the current folder when it sees a container killed for memory, and podman 4.3 does not pass that on.
    """

    folder: Path
    engine: Engine
    name: str
    memory: str | None
    output: Path | None

    def stop(self) -> None:
        """End the container, where its process does not listen to the signal that the client passed on."""
        self.engine.ask("kill", self.name)

    def finish(self, code: int, *, stopped: bool) -> int:
        """Remove the container and turn the client's exit code into the command's.

        Raises:
            EnvironmentFault: the engine could not start it, or it was killed.
        """
        state = self.engine.ask("inspect", "--format", "{{.State.OOMKilled}}", self.name) if code == _KILLED else None
        self.engine.ask("rm", "--force", self.name)
        noticed = (self.folder / "oom").exists()
        shutil.rmtree(self.folder)
        if state is not None:
            self._clear_up()
        if stopped and code in (_KILLED, *_ENGINE_FAILED):
            return INTERRUPTED
        if code in _ENGINE_FAILED:
            raise EnvironmentFault(
                f"{self.engine.name} could not run the container (code {code}, its own words stand above)",
                hint="run `invoke doctor`, or use --runner local",
            )
        if state is not None:
            raise self._killed(surely=noticed or state.output == "true")
        return code

    def _killed(self, *, surely: bool) -> EnvironmentFault:
        """The fault to report; an engine does not always notice why."""
        why = "for memory" if surely else f"(code {_KILLED}), most likely for memory"
        limit = f"its limit is {self.memory}" if self.memory else "this machine has no more"
        return EnvironmentFault(
            f"the container was killed {why}: {limit}; nothing was written",
            hint="give it more, see --memory, or use smaller batches",
        )

    def _clear_up(self) -> None:
        """Remove what a killed build could not: owning the output once more does that."""
        from stgcn_onnx.publish import staging

        if self.output is not None:
            with contextlib.suppress(EnvironmentFault), staging(self.output):
                pass


def prepare(job: Job, *, runner: str | None, memory: str | None) -> Run:
    """Decide where a job runs.

    `auto` takes a container only where the image of these lock files is there and an engine really runs, and says in
    one line on stderr what it chose.

    Args:
        runner: one of RUNNERS; None for scripts that know only this machine.
        memory: limit of a container.

    Raises:
        UsageError: an unknown runner, a wrong memory limit, a preset that cannot be read, a place that cannot be
            mounted.
        EnvironmentFault: the engine that was asked for is not there, does not run, or has no image.
    """
    if runner not in (None, *RUNNERS):
        raise UsageError(f"--runner {runner} is unknown", hint=f"give one of: {', '.join(RUNNERS)}")
    check_memory(memory)
    if runner in ENGINES:
        return _in_container(job, _demanded(job, str(runner)), memory)
    engine, reason = _found(job) if runner == "auto" else (None, "--runner local")
    if engine is not None:
        print(f"runner: {engine.name}, {job.image}", file=sys.stderr)
        return _in_container(job, engine, memory)
    if memory is not None:
        raise EnvironmentFault(
            f"--memory {memory} limits a container, and this would run on this machine ({reason})",
            hint="give --runner podman or docker, or leave --memory out",
        )
    if runner == "auto":
        print(f"runner: this machine ({reason})", file=sys.stderr)
    return Run((sys.executable, *job.command))


def _in_container(job: Job, engine: Engine, memory: str | None) -> ContainerRun:
    identity = Identity.of_the_caller()
    mounts = plan(job.root, job.needs, identity)
    name = f"stgcn-onnx-{os.getpid()}-{os.urandom(4).hex()}"
    limits = Limits(memory, job.needs.gpu)
    command = run_command(engine, job.image, name, job.command, mounts, identity, limits)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    return ContainerRun(tuple(command), folder=folder, engine=engine, name=name, memory=memory, output=job.needs.output)


def _demanded(job: Job, name: str) -> Engine:
    """The engine that was asked for, when it has the image.

    Raises:
        EnvironmentFault: when it has not, with the reason.
    """
    engine = Engine(name)
    if engine not in installed():
        raise EnvironmentFault(
            f"--runner {name}: {name} is not installed", hint=f"install {name}, or use --runner local"
        )
    if engine.has_image(job.image):
        return engine
    problem = probe(engine)
    if problem:
        raise EnvironmentFault(
            f"--runner {name}: the client is there, but no container runs: {problem}", hint=next_step(engine, problem)
        )
    others = built_variants(job.root, engine)
    remark = f" (the {others[0]} image is, but does not serve {job.needs.device})" if others else ""
    raise EnvironmentFault(
        f"--runner {name}: the image {job.image} of requirements/{job.variant}.lock is not built{remark}",
        hint=f"build it: invoke image --variant {job.variant} --engine {name}",
    )


def _found(job: Job) -> tuple[Engine | None, str]:
    """An engine that has the image and really runs, or the reason why there is none."""
    engines = installed()
    if not engines:
        return None, "no container engine is installed"
    # The cheap question first: most machines have no image at all, and need no preset read twice.
    ready = [engine for engine in engines if built_variants(job.root, engine)]
    reason = f"{' and '.join(engine.name for engine in engines)}: no image is built for these lock files"
    for engine in ready:
        if not engine.has_image(job.image):
            reason = f"{engine.name}: no image {job.image}"
            continue
        problem = probe(engine, gpu=job.needs.gpu)
        if not problem:
            return engine, ""
        reason = f"{engine.name} has the image but runs no container: {problem}"
    return None, reason
