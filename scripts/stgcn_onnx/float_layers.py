"""Layers that stay in float when a file's precision is lowered: which they are, and why.

A layer is named by a node of the graph (`/backbone/gcn.0/gcn/Conv`) or by the path of a module (`backbone.gcn.0`),
which stands for all the nodes inside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from stgcn_onnx.blocks import scope_of, scopes
from stgcn_onnx.errors import UsageError

EXCLUDED = "excluded, as asked"


@dataclass(frozen=True)
class FloatLayer:
    """A node that stays in float.

    Attributes:
        name: of the node in the graph.
        reason: why, for a person to read.
        effect: mean absolute difference of the probabilities that it alone would cause; None where not measured.
    """

    name: str
    reason: str
    effect: float | None = None


def node_label(node: NodeProto) -> str:
    """The node's name; of a node without one the name of its first output."""
    return node.name or (node.output[0] if node.output else node.op_type)


def excluded_nodes(proto: ModelProto, exclude: Sequence[str]) -> frozenset[str]:
    """Labels of the nodes that a preset's `calibration.exclude` stands for.

    Args:
        proto: as it was exported.
        exclude: paths of modules, or names of nodes.

    Raises:
        UsageError: an entry that is neither, with the closest that is.
    """
    modules = {node_label(node): _modules(node) for node in proto.graph.node}
    found: set[str] = set()
    for entry in exclude:
        inside = {label for label, paths in modules.items() if entry == label or entry in paths}
        if not inside:
            known = sorted({*modules, *(path for paths in modules.values() for path in paths)})
            close = difflib.get_close_matches(entry, known, n=1)
            raise UsageError(
                f"calibration.exclude: '{entry}' is no module and no node of the graph",
                hint=f"did you mean '{close[0]}'?" if close else "give a path such as backbone.gcn.0, or a node's name",
            )
        found |= inside
    return frozenset(found)


def _modules(node: NodeProto) -> set[str]:
    """Paths of all modules around a node, as the graph names them and as the network does."""
    parts = scope_of(node.name).split(".")
    return {*scopes(node), *(".".join(parts[:depth]) for depth in range(1, len(parts) + 1))} - {""}
