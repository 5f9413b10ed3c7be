"""What all commands share: options become overrides of a preset, failures become exit codes and one last line."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from stgcn_onnx.console import Log
from stgcn_onnx.errors import INTERRUPTED, ConverterError
from stgcn_onnx.preset_file import Override, parse_set

_NAMED = {
    "config": "model.config",
    "checkpoint": "model.checkpoint",
    "output": "output",
    "device": "device",
    "opset": "export.opset",
    "exporter": "export.exporter",
    "batch_size": "input.batch_size",
    "num_frames": "input.num_frames",
    "num_person": "input.num_person",
    "dynamic": "axes.batch_size.dynamic",
    "dynamic_frames": "axes.num_frames.dynamic",
    "precision": "export.precision",
    "verify": "verify.enabled",
    "rtol": "verify.rtol",
    "atol": "verify.atol",
    "data": "verify.data",
    "benchmark": "benchmark.enabled",
    "trust_checkpoint": "model.trust_checkpoint",
    "trust_config": "model.trust_config",
}
"""The preset key that an option sets, by the name of its argument."""
_UNRECOGNISED = re.compile(r"unrecognized arguments: (\S+)")


class Parser(argparse.ArgumentParser):
    """An argument parser whose last line on stderr is the mistake, with the closest option."""

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_abbrev=False, formatter_class=argparse.RawTextHelpFormatter)

    def error(self, message: str) -> NoReturn:
        found = _UNRECOGNISED.match(message)
        hint = f"see {self.prog} --help"
        if found:
            known = [option for action in self._actions for option in action.option_strings]
            closest = difflib.get_close_matches(found.group(1).split("=")[0], known, n=1)
            message = f"{found.group(1)} is not an option"
            hint = f"did you mean {closest[0]}?" if closest else hint
        Log().failure(message, hint)
        raise SystemExit(2)


def run(command: Callable[[argparse.Namespace, Log], int], parser: Parser, argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (README, *Exit codes*).

    A traceback is shown for internal errors, and for every failure with `--verbose`.
    """
    arguments = parser.parse_args(argv)
    log = Log(verbose=getattr(arguments, "verbose", False))
    # Threads that wait shall sleep: several conversions may share the cores (make -j). OpenMP reads this when PyTorch
    # is imported; measuring processes are started without it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    try:
        return command(arguments, log)
    except ConverterError as error:
        if log.verbose:
            log.traceback()
        log.failure(error.message, error.hint)
        return error.code
    except KeyboardInterrupt:
        log.failure("interrupted; a file that was not finished was not put in place", "run the command again")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        log.traceback()
        log.failure(f"internal error: {type(error).__name__}: {error}", "please report it with the lines above")
        return 1


def add_preset_options(parser: Parser, *, default: str = "custom") -> None:
    """The options of a conversion: which preset, and the values of it that have an option of their own."""
    add_model_options(parser, default=default)
    add_export_options(parser)
    add_switch(parser, "verify", "compare with PyTorch before the file appears")
    add_tolerance_options(parser)
    add_switch(parser, "benchmark", "measure against PyTorch eager")


def add_model_options(parser: Parser, *, default: str | None) -> None:
    """Which preset, which model, how far it is trusted, and where it runs."""
    add = parser.add_argument
    add("--preset", default=default, metavar="NAME|FILE", help=f"preset by name or path (default: {default or 'own'})")
    add("--config", metavar="FILE", help="MMAction2 config (.py or mmaction::skeleton/...)")
    add("--checkpoint", metavar="FILE", help="checkpoint (.pth)")
    add_trust_options(parser)
    add("-d", "--device", metavar="cpu|cuda:0", help="where to verify and measure")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="any preset value, e.g. export.opset=13")
    add("-v", "--verbose", action="store_true", help="show each stage, every shape, tracebacks")


def add_trust_options(parser: Parser) -> None:
    """The ways out of safe loading."""
    add = parser.add_argument
    add("--trust-checkpoint", action="store_true", default=None, help="unpickle the checkpoint without restriction")
    add("--trust-config", action="store_true", default=None, help="run the config as Python code")


def add_run_options(parser: Parser) -> None:
    """What a conversion does besides converting."""
    add = parser.add_argument
    add("--dry-run", action="store_true", help="print the resolved preset and where each value is from")
    add("--depfile", metavar="FILE", help="write a make dependency file after success")


def add_export_options(parser: Parser) -> None:
    """What the ONNX file is like."""
    add = parser.add_argument
    add("-o", "--output", metavar="FILE", help="the ONNX file to write")
    add("--opset", metavar="N", type=int, help="opset of the standard ONNX domain")
    add("--exporter", metavar="NAME", help="torchscript or dynamo")
    add("--batch-size", metavar="N", type=int, help="clips in a batch")
    add("--num-frames", metavar="N", type=int, help="frames in a clip")
    add("--num-person", metavar="N", type=int, help="people in a clip")
    add_dynamic_switches(parser)
    add("--precision", metavar="NAME", help="arithmetic of the file: fp32, fp16 or int8")


def add_dynamic_switches(parser: Parser) -> None:
    """Which axes stay free."""
    add_switch(parser, "dynamic", "leave the batch size free; --no-dynamic fixes every axis")
    add_switch(parser, "dynamic-frames", "leave the number of frames free")


def add_tolerance_options(parser: Parser) -> None:
    """How the file is compared."""
    add = parser.add_argument
    add("--rtol", metavar="X", type=float, help="relative tolerance of the logits")
    add("--atol", metavar="X", type=float, help="absolute tolerance of the logits")
    add("--data", metavar="FILE", help="annotation pickle: compare on real clips as well")


def add_switch(parser: Parser, name: str, text: str) -> None:
    """`--name` and `--no-name`; None when neither is given."""
    parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=None, help=text)


def preset_overrides(arguments: argparse.Namespace) -> list[Override]:
    """The preset values that the given options replace: `--set` first, then the named options."""
    overrides = [parse_set(text) for text in getattr(arguments, "set", [])]
    if arguments.checkpoint is not None:
        # The digest in a preset belongs to the preset's own checkpoint.
        overrides.insert(0, Override("model.sha256", None, "--checkpoint"))
    if getattr(arguments, "dynamic", None) is False:
        overrides.append(Override("axes.num_frames.dynamic", False, "--no-dynamic"))
    for name, key in _NAMED.items():
        value = getattr(arguments, name, None)
        if value is not None:
            option = ("--no-" if value is False else "--") + name.replace("_", "-")
            overrides.append(Override(key, value, option))
    return overrides


def _interrupt(_signal: int, _frame: object) -> None:
    """Interrupt once: a second signal, sent to the whole process group for instance, must not stop the clearing up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def shown(path: Path) -> str:
    """A path as a person reads it: relative where it is below the current folder."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
