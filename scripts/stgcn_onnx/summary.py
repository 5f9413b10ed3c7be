"""What a conversion is for its caller: the dry run, the dependency file, and the last lines of the log."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from stgcn_onnx.cli import shown
from stgcn_onnx.console import Log
from stgcn_onnx.preset_file import PRESETS_FOLDER, ResolvedPreset
from stgcn_onnx.preset_text import dry_run_text


def run_conversion(resolved: ResolvedPreset, arguments: argparse.Namespace, log: Log) -> int:
    """Convert, write the dependency file if asked for, and say what came out; the exit code.

    Args:
        arguments: with `dry_run` and `depfile`, where the command has these options.

    Raises:
        ConverterError: see `pipeline.convert`.
    """
    if getattr(arguments, "dry_run", False):
        print(dry_run_text(resolved))
        return 0
    from stgcn_onnx.depfile import write_depfile
    from stgcn_onnx.pipeline import convert

    conversion = convert(resolved, log)
    if getattr(arguments, "depfile", None):
        write_depfile(Path(arguments.depfile), shown(conversion.output), conversion.sources)
    output = shown(conversion.output)
    verdict = "verified against PyTorch" if conversion.report else "NOT verified"
    log.line("done", f"{output}, {conversion.size_bytes / 1e6:.2f} MB, {verdict}", style="bold")
    following = "verify" if conversion.report is None else "benchmark"
    if not (conversion.report and resolved.preset.benchmark.enabled):
        log.line("next", f"invoke {following} --model {shlex.quote(output)}{source_options(resolved)}")
    print(output)
    return 0


def source_options(resolved: ResolvedPreset) -> str:
    """The options with which another command finds the same preset, config and checkpoint."""
    options = []
    if resolved.files:
        own = resolved.files[0]
        options = ["--preset", resolved.name if own.resolve().parent == PRESETS_FOLDER else str(own)]
    for key, value in (("config", resolved.preset.model.config), ("checkpoint", resolved.preset.model.checkpoint)):
        if resolved.origins[f"model.{key}"].startswith("--"):
            options += [f"--{key}", value]
    return "".join(f" {shlex.quote(option)}" for option in options)
