#!/usr/bin/env python3
"""List the presets, explain their keys, or print their JSON schema."""

import argparse
import sys

from stgcn_onnx import cli, preset_text
from stgcn_onnx.console import Log


def command(arguments: argparse.Namespace, _log: Log) -> int:
    if arguments.schema:
        print(preset_text.schema_text())
    elif arguments.keys:
        print(preset_text.keys_text())
    else:
        print(preset_text.list_text())
    return 0


def main() -> int:
    parser = cli.Parser(__doc__ or "")
    parser.add_argument("--keys", action="store_true", help="explain every key")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema for editors")
    return cli.run(command, parser)


if __name__ == "__main__":
    sys.exit(main())
