"""Values of command-line options."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number, 1 or greater."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


def not_negative(text: str) -> int:
    """A whole number, 0 or greater."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found {text!r}")
    return int(text)
