#!/usr/bin/env python3
"""Convert the checkpoint of a preset to a verified ONNX file."""

import argparse
import sys
from pathlib import Path

from stgcn_onnx import cli
from stgcn_onnx.console import Log
from stgcn_onnx.preset_file import load_preset
from stgcn_onnx.preset_text import dry_run_text


def command(arguments: argparse.Namespace, log: Log) -> int:
    resolved = load_preset(arguments.preset, cli.preset_overrides(arguments))
    if arguments.dry_run:
        print(dry_run_text(resolved))
        return 0
    from stgcn_onnx.depfile import write_depfile
    from stgcn_onnx.pipeline import convert
    from stgcn_onnx.summary import summarise

    conversion = convert(resolved, log)
    if arguments.depfile:
        write_depfile(Path(arguments.depfile), cli.shown(conversion.output), conversion.sources)
    summarise(conversion, resolved, log)
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    cli.add_preset_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the resolved preset and where each value is from")
    parser.add_argument("--depfile", metavar="FILE", help="write a make dependency file after success")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
