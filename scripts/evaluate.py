#!/usr/bin/env python3
"""Measure an ONNX file on labelled videos, beside the PyTorch model it was made from.

Through MMAction2's own data set and the config's test pipeline: top-1, mean class accuracy, confusion matrix, ROC-AUC
of two classes, agreement with PyTorch, and the clips on which the two differ.
"""

import argparse
import sys
from pathlib import Path

from stgcn_onnx import cli
from stgcn_onnx.console import Log


def command(arguments: argparse.Namespace, log: Log) -> int:
    from stgcn_onnx.bench.files import require_writable
    from stgcn_onnx.evaluation import evaluate_file
    from stgcn_onnx.evaluation_report import deliver
    from stgcn_onnx.verify_file import read_file

    for place in (arguments.json, arguments.markdown, arguments.svg):
        if place is not None:
            require_writable(Path(place))
    deliver(evaluate_file(read_file(Path(arguments.model)), arguments, log), arguments)
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    add = parser.add_argument
    add("--model", required=True, metavar="FILE", help="the ONNX file")
    add("--data", metavar="FILE", help="annotation pickle with labels (default: the preset's verify.data)")
    add("--split", metavar="NAME", help="only the clips of this split of the pickle (default: all)")
    cli.add_model_options(parser, default=None)
    add("--json", metavar="FILE", help="write the figures as JSON")
    add("--markdown", metavar="FILE", help="write the tables as Markdown")
    add("--svg", metavar="FILE", help="plot confusion matrix, ROC and probabilities")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
