"""Make-format dependency files: what an artefact was built from, so that make rebuilds it when one of them changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stgcn_onnx.errors import UsageError


def write_depfile(path: Path, target: str, prerequisites: Iterable[Path]) -> None:
    """Write `target: prerequisites` and an empty rule for each prerequisite, as `gcc -MP` does.

    With the empty rule a prerequisite that was deleted makes the target out of date, instead of stopping make with
    "No rule to make target".

    Raises:
        UsageError: the file cannot be written.
    """
    names = list(dict.fromkeys(_escape(str(item)) for item in prerequisites))
    rules = "".join(f"\n{name}:\n" for name in names)
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(f"{_escape(target)}: {' '.join(names)}\n{rules}", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"dependency file {path} cannot be written: {reason}", hint="give another place") from error


def _escape(name: str) -> str:
    return name.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")
