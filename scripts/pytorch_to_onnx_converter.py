#!/usr/bin/env python3
"""Export one model to ONNX, verify it and measure it, in one process and without a preset."""

import argparse
import sys

from stgcn_onnx import cli
from stgcn_onnx.console import Log
from stgcn_onnx.direct import direct_preset
from stgcn_onnx.summary import run_conversion


def command(arguments: argparse.Namespace, log: Log) -> int:
    return run_conversion(direct_preset(arguments), arguments, log)


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    add = parser.add_argument
    add("--config", required=True, metavar="FILE", help="MMAction2 config (.py or mmaction::skeleton/...)")
    add("--checkpoint", required=True, metavar="FILE", help="checkpoint (.pth)")
    add("-o", "--output", required=True, metavar="FILE", help="the ONNX file to write")
    cli.add_dynamic_switches(parser)
    add("--batch-size", metavar="N", type=int, default=1, help="clips in a batch (default: 1)")
    add("--num-frames", metavar="N", type=int, default=100, help="frames in a clip (default: 100)")
    add("--opset-version", metavar="N", type=int, default=11, dest="opset", help="opset (default: 11)")
    cli.add_switch(parser, "verify", "compare with PyTorch before the file appears (the default)")
    cli.add_switch(parser, "benchmark", "measure against PyTorch eager")
    add("-d", "--device", metavar="cpu|cuda:0", help="where to verify and measure (default: cpu)")
    add("-v", "--verbose", action="store_true", help="show each stage, every shape, tracebacks")
    cli.add_trust_options(parser)
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
