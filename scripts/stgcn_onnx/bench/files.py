"""Where results go besides stdout: JSON, Markdown, SVG, and the marked section of a README."""

from __future__ import annotations

import os
from pathlib import Path

from stgcn_onnx.errors import UsageError

BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def require_writable(path: Path) -> None:
    """Refuse a place that cannot be written, before minutes are spent on what is to be written there.

    Raises:
        UsageError: the folder is missing or not writable, or `path` is a folder.
    """
    if path.is_dir():
        raise UsageError(f"output {path} is a folder", hint="give a file")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"output {path}: its folder is missing or not writable", hint="give another place")


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: it is there complete, or as it was before."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def require_section(path: Path) -> None:
    """Check that a README has the section that `update_section` replaces.

    Raises:
        UsageError: it cannot be read, or does not have both markers once, in order.
    """
    _split(path)


def update_section(path: Path, text: str) -> None:
    """Replace what stands between the markers by `text`; everything else stays as it is.

    Raises:
        UsageError: see `require_section`.
    """
    before, after = _split(path)
    write_text(path, f"{before}{BEGIN}\n{text.strip()}\n{END}{after}")


def _split(path: Path) -> tuple[str, str]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"README {path} cannot be read: {error}", hint="give a text file") from error
    before, begin, rest = content.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after or END in before:
        raise UsageError(f"README {path}: expected one section from {BEGIN} to {END}", hint="add the two markers")
    return before, after
