"""Container engines: which are installed, which really run, and where their options differ."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

from container import tiny

ENGINES = ("podman", "docker")
"""In the order in which they are tried."""

ANSWER_LIMIT_S = 60
PROBE_IMAGE = "localhost/stgcn-onnx-probe"

_GPU_ARGUMENTS = {
    # Podman takes --gpus and ignores it; its way is a CDI device.
    "podman": ("--device=nvidia.com/gpu=all",),
    "docker": ("--gpus=all",),
}
_NEXT_STEPS = (
    ("cannot connect to the docker daemon", "start the daemon: systemctl start docker"),
    ("permission denied", "allow yourself to use it: join the group docker, or use podman, which needs no daemon"),
    ("rlimit", "lower default_ulimits below `ulimit -Hn` in containers.conf"),
    ("crun", 'set runtime = "runc" in containers.conf, or update crun'),
    ("sd-bus", 'set cgroup_manager = "cgroupfs" in containers.conf'),
    ("systemd", 'set cgroup_manager = "cgroupfs" in containers.conf'),
    ("newuidmap", "install uidmap, and give yourself a range in /etc/subuid and /etc/subgid"),
    ("could not select device driver", "install the NVIDIA Container Toolkit, nvidia-ctk runtime configure, restart"),
    ("nvidia.com/gpu", "install the NVIDIA Container Toolkit, nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"),
)


@dataclass(frozen=True)
class Answer:
    """How a call of an engine's client ended."""

    code: int
    output: str
    complaint: str
    """The last line on stderr, or what else went wrong; empty after success."""


@dataclass(frozen=True)
class Engine:
    """An installed client, by name."""

    name: str

    def ask(self, *arguments: str, given: bytes | None = None) -> Answer:
        """Call the client and wait for its answer; never raises for what the client does."""
        try:
            done = subprocess.run(
                [self.name, *arguments], input=given, capture_output=True, timeout=ANSWER_LIMIT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return Answer(1, "", f"no answer within {ANSWER_LIMIT_S} s")
        except OSError as error:
            return Answer(1, "", f"{self.name} does not start: {os.strerror(error.errno or 0)}")
        errors = done.stderr.decode(errors="replace").strip().splitlines()
        complaint = (errors or [f"code {done.returncode}"])[-1] if done.returncode else ""
        return Answer(done.returncode, done.stdout.decode(errors="replace").strip(), complaint)

    def has_image(self, reference: str) -> bool:
        return self.ask("image", "inspect", "--format", "{{.Id}}", reference).code == 0

    def gpu_arguments(self) -> tuple[str, ...]:
        return _GPU_ARGUMENTS[self.name]

    def identity_arguments(self, uid: int, gid: int) -> tuple[str, ...]:
        """Make the container's process the caller, so that the caller owns what it writes.

        Without root, the engine gives the container user ids of its own: podman keeps the caller's when asked, and
        docker's root there is the caller.
        """
        if self.name == "podman":
            rootless = self.ask("info", "--format", "{{.Host.Security.Rootless}}").output == "true"
            return (*(("--userns=keep-id",) if rootless else ()), f"--user={uid}:{gid}")
        rootless = "name=rootless" in self.ask("info", "--format", "{{.SecurityOptions}}").output
        return ("--user=0:0",) if rootless else (f"--user={uid}:{gid}",)


def installed() -> tuple[Engine, ...]:
    """The engines whose client is on the PATH."""
    return tuple(Engine(name) for name in ENGINES if shutil.which(name))


def probe(engine: Engine, *, gpu: bool = False) -> str:
    """Run the smallest container there is; the reason why it failed, or the empty string.

    Leaves nothing behind. With `gpu` it also asks for the GPUs, as a command that needs one does.
    """
    machine = platform.machine()
    try:
        content = tiny.archive(machine)
    except KeyError:
        return f"no probe for {machine} machines"
    image = f"{PROBE_IMAGE}:{os.getpid()}{'-gpu' if gpu else ''}"
    imported = engine.ask("import", "-", image, given=content)
    if imported.code:
        return imported.complaint
    asked = engine.gpu_arguments() if gpu else ()
    options = ("--rm", "--pull=never", "--network=none", "--read-only", *asked)
    try:
        return engine.ask("run", *options, image, f"/{tiny.PROGRAM}").complaint
    finally:
        engine.ask("rmi", "--force", image)


def next_step(engine: Engine, problem: str) -> str:
    """What to do about an engine's complaint."""
    for sign, step in _NEXT_STEPS:
        if sign in problem.lower():
            return step
    return f"see `{engine.name} info`, and run any container by hand"
