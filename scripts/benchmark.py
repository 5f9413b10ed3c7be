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
    add("--preset", metavar="NAME|FILE", help="preset by name or path (default: the file's own, or realtime)")
    add("--config", metavar="FILE", help="MMAction2 config (.py or mmaction::skeleton/...)")
    add("--checkpoint", metavar="FILE", help="checkpoint (.pth)")
    add("--trust-checkpoint", action="store_true", default=None, help="unpickle the checkpoint without restriction")
    add("--trust-config", action="store_true", default=None, help="run the config as Python code")
    add("-d", "--device", metavar="cpu|cuda:0", help="where to measure")
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
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="any preset value, e.g. benchmark.warmup=10")
    add("-v", "--verbose", action="store_true", help="show each round, tracebacks")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
