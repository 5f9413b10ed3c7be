"""Make-format dependency files: what an artefact was built from, so that make rebuilds it when one of them changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_depfile(path: Path, target: str, prerequisites: Iterable[Path]) -> None:
    """Write `target: prerequisites` and an empty rule for each prerequisite, as `gcc -MP` does.

    With the empty rule a prerequisite that was deleted makes the target out of date, instead of stopping make with
    "No rule to make target".
    """
    names = list(dict.fromkeys(_escape(str(item)) for item in prerequisites))
    rules = "".join(f"\n{name}:\n" for name in names)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(f"{_escape(target)}: {' '.join(names)}\n{rules}", encoding="utf-8")
    temporary.replace(path)


def _escape(name: str) -> str:
    return name.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ")
