#!/usr/bin/env python3
"""Convert the checkpoint of a preset to a verified ONNX file."""

import argparse
import sys

from stgcn_onnx import cli
from stgcn_onnx.console import Log
from stgcn_onnx.preset_file import load_preset
from stgcn_onnx.summary import run_conversion


def command(arguments: argparse.Namespace, log: Log) -> int:
    return run_conversion(load_preset(arguments.preset, cli.preset_overrides(arguments)), arguments, log)


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    cli.add_preset_options(parser)
    cli.add_run_options(parser)
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
