"""Presets as text: the dry run, the list, the keys and the schema for editors."""

from __future__ import annotations

import json
from typing import Any

import yaml
from tiny import Tiny

from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import PRESETS_FOLDER, Override, load_preset, preset_names
from stgcn_onnx.preset_text import dry_run_text, keys_text, list_text, schema_text


def test_a_dry_run_is_yaml_that_says_the_same_with_an_origin_on_every_value(tiny: Tiny) -> None:
    resolved = load_preset(str(tiny.preset), [Override("export.opset", 13, "--opset")])
    text = dry_run_text(resolved)
    assert Preset.model_validate(yaml.safe_load(text)) == resolved.preset
    lines = text.splitlines()
    assert lines[0].startswith("# preset tiny, from tiny.yaml")
    values = [line for line in lines[1:] if not line.split("  #")[0].rstrip().endswith(":")]
    assert all("  # " in line for line in values)
    opset = next(line for line in lines if "opset" in line)
    assert opset.split("  # ")[1] == "--opset"
    assert next(line for line in lines if "device" in line).endswith("# default")


def test_the_list_has_every_preset_with_its_description() -> None:
    lines = list_text().splitlines()
    assert [line.split()[0] for line in lines] == preset_names()
    assert all(load_preset(line.split()[0]).preset.description in line for line in lines)
    assert not any(line.startswith("_") for line in lines)


def test_every_key_is_explained_with_its_default() -> None:
    lines = keys_text().splitlines()
    assert any(line.startswith("export.opset ") and "(default: 17)" in line for line in lines)
    assert any(line.startswith("model.checkpoint ") and "(default: required)" in line for line in lines)
    assert all(len(line.split("  ", 1)[1].strip()) > len("(default: )") for line in lines)


KINDS: dict[str, Any] = {
    "object": dict,
    "string": str,
    "boolean": bool,
    "array": list,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def accepts(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> bool:
    """As much of JSON schema as the generated one uses."""
    if "$ref" in schema:
        schema = {**schema, **definitions[schema["$ref"].rpartition("/")[2]]}
    kind = schema.get("type")
    is_number = kind in ("integer", "number")
    if kind is not None and (not isinstance(value, KINDS[kind]) or (is_number and isinstance(value, bool))):
        return False
    known = schema.get("properties", {})
    return all(
        (
            "anyOf" not in schema or any(accepts(option, value, definitions) for option in schema["anyOf"]),
            "enum" not in schema or value in schema["enum"],
            "const" not in schema or value == schema["const"],
            not is_number or value >= schema.get("minimum", value),
            kind != "object" or schema.get("additionalProperties", True) or value.keys() <= known.keys(),
            kind != "object" or all(accepts(known[key], value[key], definitions) for key in known.keys() & value),
        )
    )


def test_the_schema_is_one_and_accepts_the_shipped_presets_and_no_mistake() -> None:
    schema = json.loads(schema_text())
    definitions = schema["$defs"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert all(part["additionalProperties"] is False for part in definitions.values())
    files = sorted(PRESETS_FOLDER.glob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        assert accepts(schema, yaml.safe_load(file.read_text(encoding="utf-8")), definitions), file.name
    for wrong in ({"exprot": {}}, {"export": {"opest": 1}}, {"export": {"opset": "x"}}, {"export": {"opset": 10}}):
        assert not accepts(schema, wrong, definitions)


def test_every_key_of_the_schema_is_described() -> None:
    schema = json.loads(schema_text())
    for name, part in schema["$defs"].items():
        for key, entry in part["properties"].items():
            assert entry.get("description") or "$ref" in entry, f"{name}.{key}"
