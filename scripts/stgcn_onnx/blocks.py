"""Which value of the graph is the output of which module: what lets a wrong result be traced to its place.

The torchscript exporter names nodes after the modules (`/backbone/gcn.0/relu/Relu`), dynamo keeps the module path in
a node's metadata. Both are read before the file is cleaned.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from onnx import ModelProto, NodeProto
from torch import nn

_DYNAMO_SCOPES = "pkg.torch.onnx.name_scopes"
_BLOCK_DEPTH = 2
"""Dots in the path of a block, `backbone.gcn.3`."""


def comparable_modules(original: nn.Module, exported: nn.Module) -> list[str]:
    """Paths of the modules whose output is the same in the original and in the form that was exported.

    Rewrites keep the blocks (`backbone.gcn.3`) but move work between the modules inside them, so only a module
    with an untouched inside is compared below the level of blocks. Convolutions, and sequences that end in one, are
    left out: exporters fold the normalisation that follows into them. So is what holds the blocks: it ends in the last
    of them.
    """
    ours = dict(exported.named_modules())
    paths = []
    for path, module in original.named_modules():
        is_block = path.count(".") == _BLOCK_DEPTH and path.rpartition(".")[2].isdigit()
        holds_blocks = path in ("", "backbone", "backbone.gcn")
        if holds_blocks or path not in ours or _ends_in_convolution(module):
            continue
        if is_block or _same(module, ours[path]):
            paths.append(path)
    return paths


def value_names(model: ModelProto, modules: Iterable[str]) -> dict[str, str]:
    """For each module the name of the value it computes last, in the order of the graph.

    A module whose nodes were all folded away is left out, and so is one inside of a loop, whose values no output can
    give; of nested modules that end in the same value the outermost is kept.
    """
    wanted = set(modules)
    last: dict[str, tuple[int, str]] = {}
    for position, node in enumerate(model.graph.node):
        for scope in scopes(node):
            if scope in wanted and node.output:
                last[scope] = (position, node.output[0])
    outermost: dict[str, str] = {}
    for scope, (_, name) in sorted(last.items(), key=lambda item: (item[1][0], item[0].count("."))):
        if name not in outermost.values():
            outermost[scope] = name
    return outermost


def scopes(node: NodeProto) -> list[str]:
    """Paths of the modules that a node is in, the outermost first."""
    for prop in node.metadata_props:
        if prop.key == _DYNAMO_SCOPES:
            return [str(scope) for scope in ast.literal_eval(prop.value) if scope]
    parts = node.name.strip("/").split("/")[:-1]
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def scope_of(name: str) -> str:
    """The module path in a node's name; empty where the name holds none.

    In the body of a loop names begin without a slash. Containers repeat their own name in that of a child
    (`branches.0/branches.0.3`), which is said once here.
    """
    if "/" not in name:
        return ""
    parts: list[str] = []
    for part in name.strip("/").split("/")[:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(parts)


def shortened(module: str, depth: int) -> str:
    """The path down to `depth` modules; a number belongs to the container before it (`gcn.0` is one)."""
    parts: list[str] = []
    for part in module.split("."):
        if part.isdigit() and parts:
            parts[-1] += f".{part}"
        else:
            parts.append(part)
    return ".".join(parts[:depth])


def _ends_in_convolution(module: nn.Module) -> bool:
    if isinstance(module, nn.Sequential) and len(module) > 0:
        return _ends_in_convolution(module[-1])
    return isinstance(module, nn.Conv1d | nn.Conv2d)


def _same(one: nn.Module, other: nn.Module) -> bool:
    if type(one) is not type(other):
        return False
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(
        mine[key].shape == theirs[key].shape and bool((mine[key] == theirs[key]).all()) for key in mine
    )
