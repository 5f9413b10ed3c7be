"""What a config may consist of, so that running it computes containers and does nothing else.

A config that comes with somebody's checkpoint is untrusted, and MMEngine executes it. It is admitted by a list of what
is allowed, since a list of what is not is never complete: `max(["..."], key=eval)` calls nothing by an unusual name,
`(i for i in []).gi_frame.f_builtins` has no underscore, and `{{$NAME:default}}` is put into the text before it runs.

After that the values are checked: MMEngine's registry looks a `type` up by name, and imports what it does not find;
`type='mmengine.load'` would unpickle any file.
"""

from __future__ import annotations

import ast
import builtins
import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from stgcn_onnx.errors import UsageError

TRUST_HINT = "write the value out, or pass --trust-config if you trust this file"
BASE = "_base_"
_PLAIN_CALLS = frozenset({"dict", "list", "tuple", "set", "range", "len", "int", "float", "str", "bool", "min", "max"})
_PLAIN_NODES = (
    *(ast.Module, ast.Assign, ast.AugAssign, ast.Expr, ast.Delete, ast.Pass, ast.If, ast.For),
    *(ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred),
    *(ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.comprehension, ast.Call, ast.keyword, ast.IfExp, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
_BUILT_FROM = ("model", "test_pipeline", "val_pipeline")


def refuse_code(tree: ast.Module, text: str, path: Path) -> None:
    """Admit a parsed config.

    Raises:
        UsageError: naming the line and what was found there.
    """
    for number, line in enumerate(text.splitlines(), start=1):
        if "{{" in line:
            raise _refusal(path, number, "found `{{`, which MMEngine replaces before it reads the file")
    for node in ast.walk(tree):
        reason = _objection(node)
        if reason is not None:
            raise _refusal(path, getattr(node, "lineno", 1), reason)
    bases = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == BASE and _is_changed(node)]
    plain = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    for position, node in enumerate(bases):
        if position > 0 or node not in plain:
            raise _refusal(path, node.lineno, f"found a second or hidden assignment to `{BASE}`")


def refuse_foreign_types(values: Mapping[str, object], path: Path) -> None:
    """Hold every `type` that is a dotted name, or that this project builds from, against MMAction2's registries.

    Raises:
        UsageError: with the closest registered name.
    """
    registered = _registered_names()
    for key, value in values.items():
        for kind in _types(value):
            scope, _, name = kind.rpartition(".")
            known = name in registered and scope in ("", "mmaction", "mmengine", "mmcv")
            if known or (not scope and key not in _BUILT_FROM):
                continue
            closest = difflib.get_close_matches(kind, registered, n=1)
            raise UsageError(
                f"config {path}: {key}: type='{kind}' is not a name in MMAction2's registry; other names import code",
                hint=f"did you mean '{closest[0]}'?" if closest else TRUST_HINT,
            )


def _refusal(path: Path, line: int, reason: str) -> UsageError:
    return UsageError(f"config {path}:{line}: {reason}; configs are read as plain data", hint=TRUST_HINT)


def _objection(node: ast.AST) -> str | None:
    reason = None
    if not isinstance(node, _PLAIN_NODES):
        reason = f"found a {type(node).__name__} statement"
    elif isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id in _PLAIN_CALLS
        # `max(..., key=f)` calls f; only dict(...) takes keywords as data.
        if not named or (node.keywords and ast.unparse(node.func) != "dict"):
            reason = f"found the call `{ast.unparse(node)[:60]}`"
    elif isinstance(node, ast.Attribute):
        # MMEngine makes the values of the base configs attributes of `_base_`; no other object has any of use.
        if node.attr.startswith("_") or not _starts_at_base(node):
            reason = f"found the attribute `{node.attr}`"
    elif isinstance(node, ast.Name):
        if node.id.startswith("__") or (hasattr(builtins, node.id) and node.id not in _PLAIN_CALLS):
            reason = f"found the name `{node.id}`"
        elif _is_changed(node) and node.id in {*_PLAIN_CALLS, "custom_imports"}:
            reason = f"found an assignment to `{node.id}`"
    return reason


def _starts_at_base(node: ast.Attribute) -> bool:
    root: ast.expr = node
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    return isinstance(root, ast.Name) and root.id == BASE


def _is_changed(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Load)


def _types(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        kind = value.get("type")
        if isinstance(kind, str):
            yield kind
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        yield from _types(item)


def _registered_names() -> Iterable[str]:
    from mmaction import registry as ours
    from mmengine import registry as common

    registries = [item for module in (ours, common) for item in vars(module).values()]
    return {name for item in registries if isinstance(item, common.Registry) for name in item.module_dict}
