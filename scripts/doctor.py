#!/usr/bin/env python3
"""Say what is installed, what really works, what is wrong and what to do.

Runs with any Python 3, also where nothing is installed. Exit code 0 when a conversion can run on this machine, else 3.
"""

import argparse
import dataclasses
import json
import sys

from stgcn_onnx.doctor import FAIL, Finding, examine
from stgcn_onnx.errors import EnvironmentFault

STYLES = {"ok": "green", "note": "dim", "warn": "yellow", "fail": "bold red"}


def print_plainly(findings: "list[Finding]") -> None:
    for finding in findings:
        hint = f"; {finding.hint}" if finding.hint else ""
        print(f"{finding.status:<5} {finding.subject:<22} {finding.found}{hint}")


def print_table(findings: "list[Finding]") -> None:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        print_plainly(findings)
        return
    table = Table("", "what", "found", "next step", box=box.SIMPLE_HEAD)
    for finding in findings:
        cells = [finding.status, finding.subject, finding.found, finding.hint]
        table.add_row(*(Text(cell) for cell in cells), style=STYLES[finding.status])
    Console().print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        from stgcn_onnx import probe

        probe.main(arguments.probe)
        return 0
    findings = examine()
    if arguments.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    elif sys.stdout.isatty():
        print_table(findings)
    else:
        print_plainly(findings)
    failed = next((finding for finding in findings if finding.status == FAIL), None)
    if failed is None:
        return 0
    print(f"error: {failed.subject}: {failed.found}; {failed.hint}", file=sys.stderr)
    return EnvironmentFault.code


if __name__ == "__main__":
    sys.exit(main())
