"""Which files of this machine a command reads and writes, so that the container can be given these and no others.

The preset is read with the converter's own reader: what it says here is what it will say in the container.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from stgcn_onnx.errors import EnvironmentFault

WRITTEN = ("--output", "--depfile", "--json", "--markdown", "--svg", "--update-readme")
"""Options of any script that name a file to write."""


@dataclass(frozen=True)
class Needs:
    """What a command needs of this machine.

    Args:
        reads: files that exist.
        writes: files that may not exist yet; their folders have to be writable.
        device: cpu, cuda or cuda:N.
        output: the ONNX file that is built, where one is.
    """

    reads: tuple[Path, ...]
    writes: tuple[Path, ...]
    device: str = "cpu"
    output: Path | None = None

    @property
    def gpu(self) -> bool:
        return self.device.startswith("cuda")


def needs(script: str, arguments: Sequence[str]) -> Needs:
    """Find the files in a script's arguments and in the preset that they name.

    Raises:
        UsageError: a wrong option, preset or config, in the converter's own words.
        EnvironmentFault: the packages that read presets are not installed.
    """
    try:
        from stgcn_onnx import cli
        from stgcn_onnx.preset_file import load_preset
    except ImportError as error:
        raise EnvironmentFault(
            f"presets cannot be read on this machine: {error}",
            hint="use the invoke of `make setup`, or install pydantic, PyYAML and rich beside yours",
        ) from error
    parser = cli.Parser("")
    parser.prog = script
    cli.add_preset_options(parser, default="")
    chosen, _ = parser.parse_known_args(arguments)
    reads = _existing(value for value in arguments if not value.startswith("--"))
    writes = [_path(value) for option, value in itertools.pairwise(arguments) if option in WRITTEN]
    if not chosen.preset:
        return Needs(tuple(reads), tuple(writes), chosen.device or "cpu")
    resolved = load_preset(chosen.preset, cli.preset_overrides(chosen))
    preset = resolved.preset
    reads += [_path(str(file)) for file in resolved.files]
    reads += _config_files(preset.model.config, trust=preset.model.trust_config)
    named = (preset.model.checkpoint, preset.calibration.data, preset.verify.data, preset.benchmark.baseline)
    reads += _existing(name for name in named if name is not None)
    output = _path(preset.output)
    return Needs(tuple(dict.fromkeys(reads)), tuple(dict.fromkeys([*writes, output])), preset.device, output)


def _config_files(name: str, *, trust: bool) -> Iterator[Path]:
    """A config's `_base_` chain; nothing for a config that is in the image, or that the converter will not find."""
    from stgcn_onnx.config import config_files

    for path in _existing([name]):
        yield from (_path(str(file)) for file in config_files(path, trust=trust))


def _existing(names: Iterable[str]) -> list[Path]:
    """The names that are files; what is missing the converter reports, in the container as here."""
    found = []
    for name in names:
        with contextlib.suppress(OSError, ValueError):  # too long for a path, not permitted, a null byte
            path = _path(name)
            found += [path] if path.is_file() else []
    return found


def _path(name: str) -> Path:
    return Path(os.path.normpath(Path.cwd() / name))
