"""What is said when a preset is wrong: file, line, key, expected, found, and the closest match."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stgcn_onnx.errors import UsageError
from stgcn_onnx.preset import Preset

_FRIENDLY = {
    "missing": "is missing",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "string_type": "expected text",
}


def explain(error: ValidationError, path: Path, origins: Mapping[str, str]) -> UsageError:
    """All that is wrong with a preset, in one error; unknown keys first.

    Args:
        path: the preset, for values that no file and no option gave.
        origins: `file:line` or option of each value, by dotted key.
    """
    messages = [_explain_one(details, path, origins) for details in error.errors()]
    (message, hint), rest = messages[0], messages[1:]
    also = "".join(f"; also {other}" for other, _ in rest)
    return UsageError(message + also, hint=hint)


def _explain_one(details: ErrorDetails, path: Path, origins: Mapping[str, str]) -> tuple[str, str]:
    location = [str(part) for part in details["loc"]]
    key = ".".join(location)
    while location and key not in origins and not any(o.startswith(key + ".") for o in origins) and len(location) > 1:
        if details["type"] in {"missing", "extra_forbidden"}:
            break
        location.pop()
        key = ".".join(location)
    where = origins.get(key) or next((o for k, o in origins.items() if k.startswith(key + ".")), shown_path(path))
    if details["type"] == "extra_forbidden":
        return f"{where}: {key} is not a key", _suggest_key(location)
    if not key:
        return f"{shown_path(path)}: {details['msg'].removeprefix('Value error, ')}", "correct the preset or the option"
    found = "" if details["type"] == "missing" else f", found {details['input']!r}"
    expected = _FRIENDLY.get(details["type"], details["msg"].removeprefix("Value error, "))
    return f"{where}: {key}: {expected}{found}", "correct the value; `invoke presets --keys` lists the keys"


def _suggest_key(location: Sequence[str]) -> str:
    section: type[BaseModel] = Preset
    for part in location[:-1]:
        field = section.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        section = field.annotation
    return suggest(location[-1], list(section.model_fields), "keys")


def suggest(word: object, known: Sequence[str], what: str) -> str:
    """A hint that names the closest of the known words, or all of them when none is close."""
    closest = difflib.get_close_matches(str(word), known, n=1)
    if closest:
        return f"did you mean '{closest[0]}'?"
    return f"known {what or 'names'}: {', '.join(known)}"


def shown_path(path: Path) -> str:
    """The path as a person reads it: relative where it is below the current folder."""
    resolved = path.resolve()
    return str(resolved.relative_to(Path.cwd()) if resolved.is_relative_to(Path.cwd()) else path)
