"""Which module of the network a node of onnxruntime's optimised graph comes from.

The torchscript exporter names nodes after modules (`/backbone/gcn.0/tcn/Concat`); for other names the file's own
`blocks` say which module computes which value last, so the place in the graph decides. onnxruntime renames what it
fuses after a value that the fused node gives, and the layout changes it adds after nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

from stgcn_onnx.blocks import scope_of

_ADDED = re.compile(r"_kernel_time$|_nchwc$|_token_\d+$")
UNKNOWN = "(no module)"


def node_name(event: str) -> str:
    """The name of a node in an event of the profiler, without what onnxruntime added to it."""
    name = event.removesuffix("_kernel_time")
    while (shorter := _ADDED.sub("", name)) != name:
        name = shorter
    return name.removeprefix("fused ")


class ModuleFinder:
    """Finds the module of a node by its name in the profile.

    Args:
        model: the file as it was written, before onnxruntime optimises it.
        blocks: the last value that each module computes, by the module's path.
    """

    def __init__(self, model: ModelProto, blocks: Mapping[str, str]) -> None:
        nodes = list(_with_bodies(model.graph))
        places = {name: place for place, node in enumerate(nodes) for name in node.output}
        # Of modules that end in the same value the innermost is meant.
        ends = sorted((places[value], -path.count("."), path) for path, value in blocks.items() if value in places)
        self._known: dict[str, str] = {}
        for place, node in enumerate(nodes):
            by_place = next((path for end, _, path in ends if end >= place), UNKNOWN)
            for name in (node.name, *node.output):
                self._known[name] = scope_of(node.name) or by_place

    def find(self, name: str) -> str:
        """The path of the module, `backbone.gcn.0.tcn`; empty for a node that onnxruntime added."""
        return self._known.get(name) or scope_of(name)


def _with_bodies(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes in the order in which they run, those of a loop's body before the loop ends."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _with_bodies(attribute.g)
        yield node
