"""`scripts/benchmark.py`: which of the three measurements is asked for, and where its results go."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from stgcn_onnx.bench.builds import Source
from stgcn_onnx.bench.conversion import measure_file
from stgcn_onnx.bench.files import require_section, require_writable, update_section, write_text
from stgcn_onnx.bench.gate import apply_gate, read_gate
from stgcn_onnx.bench.peers import measure_peers
from stgcn_onnx.bench.plot import plot
from stgcn_onnx.bench.report import Report, report_json
from stgcn_onnx.bench.subject import Subject, read_subject, require_same_checkpoint
from stgcn_onnx.bench.tables import document, show, tables_of
from stgcn_onnx.bench.variants import measure_variants
from stgcn_onnx.cli import preset_overrides
from stgcn_onnx.console import Log
from stgcn_onnx.errors import UsageError
from stgcn_onnx.preset_file import Override, preset_names
from stgcn_onnx.runtime import require_device

_DEFAULT_PRESET = "realtime"
_REPEATED = ("model", "table", "peers", "preset", "config", "checkpoint", "device", "people", "rounds", "iterations")


def benchmark(arguments: argparse.Namespace, log: Log) -> None:
    """Measure what is asked for; the tables go to stdout, and to the files that are named.

    Raises:
        ConverterError: the class says what failed, see `errors.py`; code 7 after the results were written.
    """
    _require_one_mode(arguments)
    people = parse_people(arguments.people)
    _require_places(arguments)
    text = command_text(arguments)
    if arguments.model is not None:
        _benchmark_file(arguments, people, text, log)
        return
    source = Source(arguments.preset or _DEFAULT_PRESET, overrides(arguments))
    if arguments.table:
        _deliver(measure_variants(source, log, command=text), arguments)
    else:
        _deliver(measure_peers(source, log, people=people, official=arguments.official, command=text), arguments)


def overrides(arguments: argparse.Namespace) -> tuple[Override, ...]:
    """The preset values that the options replace; sizes are asked of the file that is measured, not of the preset."""
    of_file = ("batch_size", "num_frames")
    given = argparse.Namespace(**{key: value for key, value in vars(arguments).items() if key not in of_file})
    effort = {"rounds": arguments.rounds, "iterations": arguments.iterations}
    own = [Override(f"benchmark.{key}", value, f"--{key}") for key, value in effort.items() if value is not None]
    return (*preset_overrides(given), *own)


def parse_people(text: str | None) -> tuple[int, ...]:
    """Counts of people present, written `1,2`.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return ()
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--people {text}: expected counts with commas between them", hint="for example --people 1,2")
    return tuple(dict.fromkeys(int(part) for part in parts))


def command_text(arguments: argparse.Namespace) -> str:
    """The command that gives these figures again: its options without the places of results, and no folder."""
    words = ["invoke", "benchmark"]
    for name in _REPEATED:
        value = getattr(arguments, name)
        if value in (None, False):
            continue
        words.append(f"--{name}")
        if value is not True:
            words.append(_without_folder(str(value)))
    for name in ("batch_size", "num_frames"):
        if getattr(arguments, name) is not None:
            words += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    for item in arguments.set:
        key, _, value = item.partition("=")
        words += ["--set", f"{key}={_without_folder(value)}"]
    return shlex.join(words)


def _without_folder(text: str) -> str:
    """A path of this machine says nothing elsewhere; a relative one is part of the command."""
    return Path(text).name if Path(text).is_absolute() else text


def _benchmark_file(arguments: argparse.Namespace, people: tuple[int, ...], text: str, log: Log) -> None:
    subject = read_subject(Path(arguments.model))
    source = Source(arguments.preset or _preset_of(subject), overrides(arguments))
    preset = source.preset()
    require_device(preset.device)
    require_same_checkpoint(subject, Path(preset.model.checkpoint))
    gate = read_gate(preset)
    clips = subject.clips(batch=arguments.batch_size, frames=arguments.num_frames)
    with log.stage("measuring"):
        report = measure_file(subject, preset, log, command=text, clips=clips, people=people)
    _deliver(report, arguments)
    apply_gate(gate, report, log)


def _preset_of(subject: Subject) -> str:
    """The preset that a file was made with, where it is one that ships with the project."""
    name = str(subject.metadata.get("preset"))
    return name if name in preset_names() else "custom"


def _require_one_mode(arguments: argparse.Namespace) -> None:
    chosen = [name for name in ("model", "table", "peers") if getattr(arguments, name)]
    if len(chosen) != 1:
        found = " and ".join(f"--{name}" for name in chosen) or "none of them"
        raise UsageError(f"expected one of --model FILE, --table and --peers, found {found}", hint="choose one")
    mode = chosen[0]
    fitting = {
        "batch_size": ("model",),
        "num_frames": ("model",),
        "people": ("model", "peers"),
        "svg": ("peers",),
        "official": ("peers",),
    }
    for name, modes in fitting.items():
        if getattr(arguments, name) is not None and mode not in modes:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} does not go with --{mode}, only with {' and '.join(f'--{m}' for m in modes)}",
                hint="leave it out, or change the preset with --set",
            )


def _require_places(arguments: argparse.Namespace) -> None:
    for place in (arguments.json, arguments.markdown, arguments.svg):
        if place is not None:
            require_writable(Path(place))
    if arguments.update_readme is not None:
        require_section(Path(arguments.update_readme))


def _deliver(report: Report, arguments: argparse.Namespace) -> None:
    show(tables_of(report))
    if arguments.json is not None:
        write_text(Path(arguments.json), report_json(report))
    if arguments.markdown is not None:
        write_text(Path(arguments.markdown), document(report))
    if arguments.svg is not None:
        write_text(Path(arguments.svg), plot(report))
    if arguments.update_readme is not None:
        update_section(Path(arguments.update_readme), document(report))
