"""Layers that stay in float when a file's precision is lowered: which they are, and why.

A layer is named by a node of the graph (`/backbone/gcn.0/gcn/Conv`) or by the path of a module (`backbone.gcn.0`),
which stands for all the nodes inside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from stgcn_onnx.bench.modules import scope_of
from stgcn_onnx.errors import UsageError

EXCLUDED = "excluded, as asked"


@dataclass(frozen=True)
class FloatLayer:
    """A node that stays in float.

    Attributes:
        name: of the node in the graph.
        reason: why, for a person to read.
        effect: by how much the mean absolute difference of the probabilities falls with it; None where not measured.
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
    found: set[str] = set()
    labels = [node_label(node) for node in proto.graph.node]
    for entry in exclude:
        inside = {label for label in labels if label == entry or _within(scope_of(label), entry)}
        if not inside:
            raise UsageError(
                f"calibration.exclude: '{entry}' is no module and no node of the graph", hint=_closest(entry, labels)
            )
        found |= inside
    return frozenset(found)


def _within(scope: str, module: str) -> bool:
    return scope == module or scope.startswith(f"{module}.")


def _closest(entry: str, labels: Sequence[str]) -> str:
    scopes = [scope.split(".") for scope in map(scope_of, labels) if scope]
    modules = {".".join(parts[:depth]) for parts in scopes for depth in range(1, len(parts) + 1)}
    close = difflib.get_close_matches(entry, sorted(modules | set(labels)), n=1)
    return f"did you mean '{close[0]}'?" if close else "give a path such as backbone.gcn.0, or the name of a node"
