"""Presets as text: the resolved preset with origins, the list, the keys, and the JSON schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator

import yaml
from pydantic import BaseModel

from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import ResolvedPreset, load_preset, preset_names


def dry_run_text(resolved: ResolvedPreset) -> str:
    """The resolved preset as YAML, with the origin of each value as a comment."""
    lines = [f"# preset {resolved.name}, from {', '.join(path.name for path in resolved.files)}"]
    lines += _yaml_lines(resolved.preset.model_dump(mode="json"), "", 0, resolved)
    width = max(len(text) for text, _ in map(_split, lines))
    return "\n".join(f"{text:<{width}}  # {origin}" if origin else text for text, origin in map(_split, lines))


def list_text() -> str:
    """A line for each preset that ships with the project."""
    presets = {name: load_preset(name).preset for name in preset_names()}
    width = max(map(len, presets))
    return "\n".join(f"{name:<{width}}  {preset.description}" for name, preset in presets.items())


def keys_text() -> str:
    """Every key, its default and what it means."""
    rows = list(_key_rows(Preset, ""))
    width = max(len(key) for key, _, _ in rows)
    return "\n".join(f"{key:<{width}}  {text} (default: {default})" for key, default, text in rows)


def schema_text() -> str:
    """The JSON schema of a preset file: the same keys, none of them required, and `extends`."""
    schema = Preset.model_json_schema()
    schema["title"] = "stgcn-onnx preset"
    schema["properties"] = {
        "extends": {"type": "string", "description": "Preset to start from: a name, or a path relative to this file."},
        **schema["properties"],
    }
    # A file may leave every key to the preset that it extends, or to the command line.
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("required", None)
    return json.dumps(schema, indent=2)


def _key_rows(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _key_rows(kind, f"{prefix}{name}.")
        else:
            default = "required" if field.is_required() else json.dumps(field.default)
            yield f"{prefix}{name}", default, (field.description or "").rstrip(".")


def _yaml_lines(values: dict[str, object], prefix: str, depth: int, resolved: ResolvedPreset) -> Iterator[str]:
    for key, value in values.items():
        indent = "  " * depth
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _yaml_lines(value, f"{prefix}{key}.", depth + 1, resolved)
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
            yield f"{indent}{key}: {text}\0{resolved.origins[prefix + key]}"


def _split(line: str) -> tuple[str, str]:
    text, _, origin = line.partition("\0")
    return text, origin
