"""MMEngine configs, read as data.

An MMEngine `.py` config is Python that `Config.fromfile` executes. A config that comes with somebody's checkpoint is
untrusted, so each file of the `_base_` chain is first parsed and admitted only if it is made of literals, names,
`dict(...)` calls and the like; MMEngine then reads and merges the admitted files itself. `trust` is the way out for
configs that import modules or define functions; it is recorded in the artefact.

`type=` values are looked up in MMAction2's registry, but MMEngine falls back to importing a dotted path; so a config
could name any callable. Dotted types other than the scopes of OpenMMLab are refused too.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stgcn_onnx.errors import UsageError
from stgcn_onnx.mmaction import load_mmaction, packaged_config

_PLAIN_CALLS = frozenset({"dict", "list", "tuple", "set", "range", "len", "int", "float", "str", "bool", "min", "max"})
_FORBIDDEN_NODES = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.While,
    ast.With,
    ast.Try,
    ast.Delete,
    ast.Global,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.Raise,
)
_TYPE_NAME = re.compile(r"(?:(?:mmaction|mmengine|mmcv)\.)?[A-Za-z_][A-Za-z0-9_]*")
_TRUST_HINT = "write the value out, or pass --trust-config if you trust this file"


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
    files = tuple(ConfigFile(item, _sha256(item)) for item in _chain(path, trust=trust))
    load_mmaction()
    from mmengine.config import Config

    try:
        values = Config.fromfile(str(path), import_custom_modules=trust, format_python_code=False).to_dict()
    except Exception as error:
        raise UsageError(f"config {path}: MMEngine cannot read it: {error}", hint="fix the config") from error
    if not trust:
        _refuse_foreign_types(values, path)
    return RecogniserConfig(values, files, trust)


def _chain(path: Path, *, trust: bool) -> Iterator[Path]:
    seen: set[Path] = set()
    queue: list[tuple[Path, Path | None]] = [(path, None)]
    while queue:
        current, origin = queue.pop(0)
        if current.resolve() in seen:
            continue
        seen.add(current.resolve())
        tree = _parse(current, origin)
        if not trust:
            _refuse_code(tree, current)
        yield current
        queue += [(resolve_config_path(base, current.parent), current) for base in _bases(tree, current)]


def _parse(path: Path, origin: Path | None) -> ast.Module:
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
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise UsageError(f"config {path}:{line}: not valid Python: {error}", hint="fix the config") from error


def _refuse_code(tree: ast.Module, path: Path) -> None:
    for node in ast.walk(tree):
        reason = _objection(node)
        if reason is not None:
            line = getattr(node, "lineno", 1)
            raise UsageError(f"config {path}:{line}: {reason}; configs are read as plain data", hint=_TRUST_HINT)


def _objection(node: ast.AST) -> str | None:
    if isinstance(node, _FORBIDDEN_NODES):
        return f"found a {type(node).__name__} statement"
    if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _PLAIN_CALLS):
        return f"found the call `{ast.unparse(node)[:60]}`"
    if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        return f"found the attribute `{node.attr}`"
    if isinstance(node, ast.Name) and node.id.startswith("__"):
        return f"found the name `{node.id}`"
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in {*_PLAIN_CALLS, "custom_imports"}:
        return f"found an assignment to `{node.id}`"
    return None


def _bases(tree: ast.Module, path: Path) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_base_" for t in node.targets):
            try:
                value = ast.literal_eval(node.value)
            except ValueError as error:
                raise UsageError(
                    f"config {path}:{node.lineno}: _base_ is not a string or a list of strings", hint="fix `_base_`"
                ) from error
            return [value] if isinstance(value, str) else list(value)
    return []


def _refuse_foreign_types(value: object, path: Path) -> None:
    if isinstance(value, Mapping):
        kind = value.get("type")
        if isinstance(kind, str) and not _TYPE_NAME.fullmatch(kind):
            raise UsageError(
                f"config {path}: type='{kind}' is not a name in MMAction2's registry; dotted names import code",
                hint=_TRUST_HINT,
            )
        for item in value.values():
            _refuse_foreign_types(item, path)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_foreign_types(item, path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
