"""Presets on disk: YAML, `extends`, overrides, and where each value came from.

A mistake is answered with file, line, key, and the closest match. Values are looked up in the order: built-in
default, the preset that is extended, the preset itself, `--set`, the option of that name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stgcn_onnx.errors import UsageError
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_errors import explain, shown_path, suggest

PRESETS_FOLDER = Path(__file__).resolve().parents[2] / "presets"
_PATH_KEYS = ("model.config", "model.checkpoint", "calibration.data", "verify.data", "benchmark.baseline", "output")
_MAX_SIZE_BYTES = 1 << 20
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Override:
    """A value given on the command line, by dotted key."""

    key: str
    value: object
    source: str


@dataclass(frozen=True)
class ResolvedPreset:
    """A preset, the files it was read from (itself first), and the origin of each value by dotted key."""

    name: str
    preset: Preset
    files: tuple[Path, ...]
    origins: Mapping[str, str]


@dataclass(frozen=True)
class _Value:
    value: object
    origin: str
    folder: Path


def preset_names() -> list[str]:
    """Names of the presets that ship with the project; those that begin with `_` are only for extending."""
    return sorted(path.stem for path in PRESETS_FOLDER.glob("*.yaml") if not path.stem.startswith("_"))


def preset_path(name_or_path: str) -> Path:
    """The file of a preset given by name or by path.

    Raises:
        UsageError: when there is no such preset, with the closest name.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        if path.is_file():
            return path
        raise UsageError(f"preset {path} does not exist", hint="give a YAML file, or a name from `invoke presets`")
    known = PRESETS_FOLDER / f"{name_or_path}.yaml"
    if known.is_file():
        return known
    raise UsageError(f"preset '{name_or_path}' is unknown", hint=suggest(name_or_path, preset_names(), "presets"))


def load_preset(name_or_path: str, overrides: Sequence[Override] = ()) -> ResolvedPreset:
    """Read, merge and validate a preset.

    Raises:
        UsageError: unreadable YAML, an unknown key, a wrong type, a circular `extends`.
    """
    path = preset_path(name_or_path)
    values: dict[str, _Value] = {}
    files = list(_chain(path))
    for file, entries in reversed(files):
        _merge(values, entries, file)
    return _resolved(path.stem, values, overrides, tuple(file for file, _ in files), path)


def preset_of_options(name: str, overrides: Sequence[Override]) -> ResolvedPreset:
    """A preset without a file, of defaults and overrides alone.

    Raises:
        UsageError: an unknown key, a wrong type, or a value that has no default and was not given.
    """
    return _resolved(name, {}, overrides, (), Path(name))


def _resolved(
    name: str, values: dict[str, _Value], overrides: Sequence[Override], files: tuple[Path, ...], path: Path
) -> ResolvedPreset:
    for override in overrides:
        _put(values, override.key, _Value(override.value, override.source, Path.cwd()))
    nested = _nest({key: _absolute(key, item) for key, item in values.items()})
    origins = {key: item.origin for key, item in values.items()}
    try:
        preset = Preset.model_validate(nested)
    except ValidationError as error:
        raise explain(error, path, origins) from error
    for key, _ in _leaves(preset.model_dump()):
        origins.setdefault(key, "default")
    return ResolvedPreset(name, preset, files, origins)


def parse_set(text: str) -> Override:
    """Parse `key.path=value`; the value is YAML, so that numbers, lists and null can be written.

    Raises:
        UsageError: when there is no `=` or the value is not YAML.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"--set '{text}': expected key.path=value", hint="for example --set export.opset=13")
    try:
        return Override(key, yaml.safe_load(value), "--set")
    except yaml.YAMLError as error:
        raise UsageError(f"--set '{text}': the value is not YAML", hint="quote it") from error


def _chain(path: Path) -> Iterator[tuple[Path, dict[str, tuple[object, int]]]]:
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            raise UsageError(f"{shown_path(current)}: extends itself in a circle", hint="remove one `extends`")
        seen.append(current.resolve())
        entries = _read(current)
        base, line = entries.pop("extends", (None, 0))
        yield current, entries
        current = None if base is None else _base_path(base, seen[-1], line)


def _base_path(base: object, origin: Path, line: int) -> Path:
    beside = origin.parent / f"{base}"
    for candidate in (beside, beside.with_suffix(".yaml"), PRESETS_FOLDER / f"{base}.yaml"):
        if candidate.is_file():
            return candidate
    names = [path.stem for path in PRESETS_FOLDER.glob("*.yaml")]
    where = f"{shown_path(origin)}:{line}"
    raise UsageError(f"{where}: extends '{base}', which does not exist", hint=suggest(base, names, ""))


def _read(path: Path) -> dict[str, tuple[object, int]]:
    """Flatten a YAML mapping to `{dotted key: (value, line)}`; a repeated key is an error."""
    try:
        if path.stat().st_size > _MAX_SIZE_BYTES:
            raise UsageError(f"{shown_path(path)}: larger than 1 MiB, not a preset", hint="give a preset file")
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{shown_path(path)}:{mark.line + 1}" if mark else shown_path(path)
        raise UsageError(f"{where}: not YAML: {getattr(error, 'problem', error)}", hint="fix the syntax") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown_path(path)}: cannot be read: {error}", hint="give a readable YAML file") from error
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{shown_path(path)}: expected keys and values", hint="see presets/custom.yaml")
    entries: dict[str, tuple[object, int]] = {}
    for key, value, line in _flatten(node, "", path):
        if key in entries:
            raise UsageError(f"{shown_path(path)}:{line}: {key} is given twice", hint="keep one of them")
        entries[key] = (value, line)
    return entries


def _flatten(node: yaml.MappingNode, prefix: str, path: Path) -> Iterator[tuple[str, object, int]]:
    loader = yaml.SafeLoader("")
    for key_node, value_node in node.value:
        key = prefix + str(key_node.value)
        line = key_node.start_mark.line + 1
        if key.count(".") > _MAX_DEPTH:  # an alias may even contain itself
            raise UsageError(f"{shown_path(path)}:{line}: {key} is nested too deeply", hint="see presets/custom.yaml")
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            yield from _flatten(value_node, key + ".", path)
        else:
            try:
                yield key, loader.construct_object(value_node, deep=True), line
            except yaml.YAMLError as error:
                where = f"{shown_path(path)}:{line}"
                raise UsageError(f"{where}: {key}: not plain YAML", hint="write a plain value") from error


def _merge(values: dict[str, _Value], entries: Mapping[str, tuple[object, int]], file: Path) -> None:
    if "model.checkpoint" in entries:
        values.pop("model.sha256", None)  # an inherited digest is that of the inherited checkpoint
    for key, (value, line) in entries.items():
        _put(values, key, _Value(value, f"{shown_path(file)}:{line}", file.resolve().parent))


def _put(values: dict[str, _Value], key: str, item: _Value) -> None:
    """A value replaces the whole branch below it, and a branch replaces the value above it."""
    parts = key.split(".")
    above = {".".join(parts[:depth]) for depth in range(1, len(parts))}
    for other in [k for k in values if k in above or k.startswith(key + ".")]:
        del values[other]
    values[key] = item


def _absolute(key: str, item: _Value) -> object:
    if key not in _PATH_KEYS or not isinstance(item.value, str) or item.value.startswith("mmaction::"):
        return item.value
    try:
        path = Path(os.path.normpath(item.folder / Path(item.value).expanduser()))
    except RuntimeError as error:
        raise UsageError(f"{item.origin}: {key}: {item.value}: {error}", hint="write the path out") from error
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _nest(flat: Mapping[str, object]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *parents, last = key.split(".")
        level = nested
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return nested


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
