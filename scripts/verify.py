#!/usr/bin/env python3
"""Compare an ONNX file with the PyTorch model it was made from, at every shape that it declares.

A file of this converter says itself what it was traced at, which ranges it declares and which checkpoint it belongs
to. A file of another origin is compared as well where its input is called `input` and is [N, M, T, V, C].
"""

import argparse
import sys
from pathlib import Path

from stgcn_onnx import cli
from stgcn_onnx.console import Log


def command(arguments: argparse.Namespace, log: Log) -> int:
    from stgcn_onnx.report import require_pass, table_text
    from stgcn_onnx.verify_file import read_file, verify_file

    file = read_file(Path(arguments.model))
    report = verify_file(file, arguments, log)
    print(table_text(report))
    require_pass(report, file.content, file.path, Path(arguments.json) if arguments.json else None)
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--model", required=True, metavar="FILE", help="the ONNX file")
    cli.add_model_options(parser, default=None)
    cli.add_tolerance_options(parser)
    parser.add_argument("--json", metavar="FILE", help="write the report; and on failure a reproducer (.npz) beside it")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
