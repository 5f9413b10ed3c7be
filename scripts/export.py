#!/usr/bin/env python3
"""Convert the checkpoint of a preset to an ONNX file without comparing it with PyTorch; the file says so."""

import argparse
import sys

from stgcn_onnx import cli
from stgcn_onnx.console import Log
from stgcn_onnx.preset_file import Override, load_preset
from stgcn_onnx.summary import run_conversion


def command(arguments: argparse.Namespace, log: Log) -> int:
    export_only = [Override(f"{section}.enabled", False, "export") for section in ("verify", "benchmark")]
    resolved = load_preset(arguments.preset, [*cli.preset_overrides(arguments), *export_only])
    return run_conversion(resolved, arguments, log)


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    cli.add_model_options(parser, default="custom")
    cli.add_export_options(parser)
    cli.add_run_options(parser)
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
