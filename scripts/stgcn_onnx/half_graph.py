"""The rewriting of a graph in half precision, once it is decided which nodes stay in float32."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from stgcn_onnx.float_layers import node_label
from stgcn_onnx.runtime import FloatArray


def rewrite_in_half(
    proto: ModelProto, floats: AbstractSet[str], *, keep: AbstractSet[str]
) -> tuple[ModelProto, Mapping[str, int]]:
    """A copy of the model whose nodes compute in half, except those labelled in `keep`; and the type of each value.

    Input and output keep their type. Weights are stored in the precision in which they are read, in both where nodes
    of both kinds read them.

    Args:
        floats: names of all float32 values, weights and constants included.
    """
    result = ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    del graph.node[:]
    # The declared types and shapes inside the graph are those of float32; a runtime infers them itself.
    del graph.value_info[:]
    writer = _Writer(result, floats)
    for value in graph.input:
        writer.computed_in[value.name] = TensorProto.FLOAT
    for node in proto.graph.node:
        writer.write(node, in_half=node_label(node) not in keep)
    writer.finish()
    return result, writer.computed_in


class _Writer:
    """Writes node after node, with a Cast wherever a value is read in the other precision for the first time."""

    def __init__(self, model: ModelProto, floats: AbstractSet[str]) -> None:
        self._graph = model.graph
        self._floats = floats
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in floats}
        self._outputs = {value.name for value in model.graph.output}
        self._read_constants: dict[str, TensorProto] = {}
        self._casts: dict[str, str] = {}
        self._renamed: dict[str, str] = {}
        self.computed_in: dict[str, int] = {}

    def write(self, node: NodeProto, *, in_half: bool) -> None:
        if node.op_type == "Constant" and node.output[0] in self._floats:
            self._constants[node.output[0]] = numpy_helper.from_array(_value_of(node), node.output[0])
            return
        wanted = TensorProto.FLOAT16 if in_half else TensorProto.FLOAT
        written = NodeProto()
        written.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in self._floats:
                written.input[index] = self._value(name, wanted)
        for index, name in enumerate(node.output):
            if name in self._floats:
                written.output[index] = self._output_name(name, wanted)
                self.computed_in[name] = wanted
        if in_half and node.op_type == "Cast":
            _cast_to_half(written)
        self._graph.node.append(written)

    def finish(self) -> None:
        """Give the outputs their own type, and store the weights that are read."""
        for name in self._outputs & self._renamed.keys():
            self._graph.node.append(_cast(self._renamed[name], name, TensorProto.FLOAT))
        others = [tensor for tensor in self._graph.initializer if tensor.name not in self._floats]
        read = sorted(self._read_constants.items())
        del self._graph.initializer[:]
        self._graph.initializer.extend([*others, *(tensor for _, tensor in read)])

    def _output_name(self, name: str, wanted: int) -> str:
        """An output of the graph keeps its name for the float32 value that leaves it."""
        if name in self._outputs and wanted == TensorProto.FLOAT16:
            self._renamed[name] = f"{name} in half"
        return self._renamed.get(name, name)

    def _value(self, name: str, wanted: int) -> str:
        """The name under which a float value is to be read in the precision `wanted`."""
        if name in self._constants:
            return self._constant(name, wanted)
        own = self._renamed.get(name, name)
        if self.computed_in[name] == wanted:
            return own
        if name not in self._casts:
            self._casts[name] = f"{name} in {'half' if wanted == TensorProto.FLOAT16 else 'float'}"
            self._graph.node.append(_cast(own, self._casts[name], wanted))
        return self._casts[name]

    def _constant(self, name: str, wanted: int) -> str:
        key = name if wanted == TensorProto.FLOAT16 else f"{name} in float"
        if key not in self._read_constants:
            values = numpy_helper.to_array(self._constants[name])
            values = values.astype(np.float16) if wanted == TensorProto.FLOAT16 else values
            self._read_constants[key] = numpy_helper.from_array(values, key)
        return key


def _value_of(constant: NodeProto) -> FloatArray:
    """What a Constant holds: a tensor, or in later opsets a number or a list of them."""
    attribute = constant.attribute[0]
    if attribute.name == "value":
        values: FloatArray = numpy_helper.to_array(attribute.t)
        return values
    return np.array(attribute.f if attribute.name == "value_float" else attribute.floats, dtype=np.float32)


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"Cast to {target}", to=to)


def _cast_to_half(node: NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
