#!/usr/bin/env python3
"""Measure PyTorch against ONNX files: one file (--model), the four usual variants (--table), or all peers (--peers)."""

import argparse
import sys

from stgcn_onnx import cli
from stgcn_onnx.bench.options import positive
from stgcn_onnx.console import Log


def command(arguments: argparse.Namespace, log: Log) -> int:
    from stgcn_onnx.bench.command import benchmark

    benchmark(arguments, log)
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    add = parser.add_argument
    add("--model", metavar="FILE", help="an ONNX file of this converter, against its PyTorch model")
    add("--table", action="store_true", help="build and measure PyTorch and the file: static, dynamic, in batches")
    add("--peers", action="store_true", help="build and measure everything that could be used instead")
    cli.add_model_options(parser, default=None)
    add("--batch-size", metavar="N", type=positive, help="with --model: clips in a batch, where that axis is free")
    add("--num-frames", metavar="T", type=positive, help="with --model: frames in a clip, where that axis is free")
    add("--people", metavar="1,2", help="measure with so many people present as well, the other slots empty")
    add("--rounds", metavar="N", type=positive, help="processes per candidate, taking turns")
    add("--iterations", metavar="N", type=positive, help="timed runs per process")
    cli.add_switch(parser, "official", "with --peers: the official ten-stage ST-GCN++ with random weights as well (on)")
    add("--json", metavar="FILE", help="write the figures as JSON")
    add("--markdown", metavar="FILE", help="write the tables as Markdown")
    add("--svg", metavar="FILE", help="with --peers: plot latency against frames and against people present")
    add("--update-readme", metavar="FILE", help="replace the section between the benchmark markers of a Markdown file")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
