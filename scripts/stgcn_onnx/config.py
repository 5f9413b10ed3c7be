"""MMEngine configs, read as data.

An MMEngine `.py` config is Python that `Config.fromfile` executes, so each file of the `_base_` chain is first parsed
and admitted (see `config_safety.py`); MMEngine then reads and merges the admitted files itself. `trust` is the way out
for configs that import modules or define functions; it is recorded in the artefact.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stgcn_onnx.config_safety import BASE, refuse_code, refuse_foreign_types
from stgcn_onnx.errors import UsageError
from stgcn_onnx.mmaction import load_mmaction, packaged_config


@dataclass(frozen=True)
class ConfigFile:
    """One file of a config's `_base_` chain."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class RecogniserConfig:
    """A resolved config: plain containers, and the files that it was read from (the config itself first)."""

    values: Mapping[str, Any]
    files: tuple[ConfigFile, ...]
    trusted: bool

    @property
    def path(self) -> Path:
        return self.files[0].path


def resolve_config_path(name: str, start: Path) -> Path:
    """Turn a config name into a path: `mmaction::skeleton/...` is one that ships with MMAction2.

    Args:
        name: a path, absolute or relative to `start`, or `mmaction::` and a path below MMAction2's configs.

    Raises:
        UsageError: when MMAction2 ships no config of that name.
    """
    if name.startswith("mmaction::"):
        return packaged_config(name.removeprefix("mmaction::"))
    return start / name


def load_config(path: Path, *, trust: bool = False) -> RecogniserConfig:
    """Read an MMEngine config and its `_base_` chain.

    Raises:
        UsageError: a missing file or `_base_`, a file that is not plain data (unless `trust`), or one that MMEngine
            cannot read.
    """
    files = tuple(ConfigFile(item, _sha256(item)) for item in config_files(path, trust=trust))
    load_mmaction()
    from mmengine.config import Config

    try:
        values = Config.fromfile(str(path), import_custom_modules=trust, format_python_code=False).to_dict()
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UsageError(f"config {path}: MMEngine cannot read it: {reason}", hint="fix the config") from error
    if not trust:
        refuse_foreign_types(values, path)
    return RecogniserConfig(values, files, trust)


def config_files(path: Path, *, trust: bool) -> Iterator[Path]:
    """The files of a config's `_base_` chain, the config itself first.

    Raises:
        UsageError: a missing file, or one that is not plain data (unless `trust`).
    """
    seen: set[Path] = set()
    queue: list[tuple[Path, tuple[Path, ...]]] = [(path, ())]
    while queue:
        current, heirs = queue.pop(0)
        if current.resolve() in {heir.resolve() for heir in heirs}:
            raise UsageError(f"config {heirs[-1]}: its _base_ '{current}' leads back to it", hint="correct `_base_`")
        if current.resolve() in seen:
            continue
        seen.add(current.resolve())
        tree, text = _parse(current, heirs[-1] if heirs else None)
        if not trust:
            refuse_code(tree, text, current)
        yield current
        queue += [(resolve_config_path(base, current.parent), (*heirs, current)) for base in _bases(tree, current)]


def _parse(path: Path, origin: Path | None) -> tuple[ast.Module, str]:
    if not path.is_file():
        if origin is not None:
            raise UsageError(
                f"config {origin}: its _base_ '{path}' does not exist",
                hint="correct `_base_`; it is relative to the config that names it, or starts with mmaction::",
            )
        raise UsageError(f"config {path} does not exist", hint="give an MMAction2 config with --config")
    if path.suffix != ".py":
        raise UsageError(f"config {path}: expected an MMEngine .py config", hint="give a .py config with --config")
    try:
        text = path.read_text(encoding="utf-8")
        return ast.parse(text, filename=str(path)), text
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"config {path}:{line}: not valid Python: {error}", hint="fix the config") from error


def _bases(tree: ast.Module, path: Path) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == BASE for t in node.targets):
            try:
                value = ast.literal_eval(node.value)
            except (ValueError, TypeError):
                value = None
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
                where = f"config {path}:{node.lineno}"
                raise UsageError(f"{where}: _base_ is not a string or a list of strings", hint="fix `_base_`")
            return list(names)
    return []


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
