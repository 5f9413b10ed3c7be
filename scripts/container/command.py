"""The command line that runs a script in a container."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from container.engine import Engine
from container.mounts import TMP, Identity, Mount, working_folder
from stgcn_onnx.errors import UsageError

_MEMORY = re.compile(r"[1-9][0-9]*[bkmg]", re.IGNORECASE)
# Of the caller's environment only what changes how the log looks, or how many threads compute.
_PASSED_ON = ("NO_COLOR", "OMP_NUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    Args:
        memory: for example 4g; None for no limit.
        gpu: whether it sees the GPUs.
    """

    memory: str | None = None
    gpu: bool = False


def check_memory(text: str | None) -> None:
    """Accept what every engine understands.

    Raises:
        UsageError: for anything else.
    """
    if text is not None and not _MEMORY.fullmatch(text):
        raise UsageError(
            f"--memory {text}: expected a whole number and b, k, m or g", hint="write for example --memory 4g"
        )


def run_command(
    engine: Engine,
    image: str,
    name: str,
    arguments: Sequence[str],
    mounts: Sequence[Mount],
    identity: Identity,
    limits: Limits,
) -> list[str]:
    """The client's command line for a container called `name` that runs `python ARGUMENTS`.

    The container can do nothing but compute: no network, no capability, nothing writable but `/tmp` (in memory) and the
    mounts that say so. It is not removed at its end, so that the engine can be asked why it ended.
    """
    # --memory-swap is the sum of both: the same value leaves no swap.
    memory = (f"--memory={limits.memory}", f"--memory-swap={limits.memory}") if limits.memory else ()
    return [
        engine.name, "run", f"--name={name}", "--pull=never", "--log-driver=none",
        "--network=none", "--read-only", f"--tmpfs={TMP}:mode=1777",
        "--cap-drop=ALL", "--security-opt=no-new-privileges",
        # Under SELinux the user's files would have to be relabelled to be seen; they stay as they are.
        "--security-opt=label=disable",
        *engine.identity_arguments(identity.uid, identity.gid),
        *memory,
        *(engine.gpu_arguments() if limits.gpu else ()),
        *(f"--env={key}" for key in _PASSED_ON if key in os.environ),
        *(f"--mount={mount.argument()}" for mount in mounts),
        *working_folder(mounts, Path.cwd()),
        image, *arguments,
    ]  # fmt: skip
