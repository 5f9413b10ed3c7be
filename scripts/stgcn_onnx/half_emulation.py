"""Half precision as a processor with half arithmetic computes it, on a CPU that has none.

onnxruntime's CPU provider has no kernels for most operators in half: it computes in float32 and takes the casts between
two such nodes out again, so that nothing is rounded but weights, and nothing overflows. A file that is judged that way
passes whatever it would do on a GPU. Here the same graph is written in float32, with every value that it has in half
cast to half and back, which onnxruntime leaves in place.

What is summed inside one node is still summed in float32, as GPUs and most NPUs do.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

from stgcn_onnx.runtime import Session


def with_rounding(proto: ModelProto) -> ModelProto:
    """The model in float32, every value and weight rounded to half where it was half."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    known = (*inferred.value_info, *inferred.output)
    halves = {value.name for value in known if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    result = ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    del graph.node[:], graph.value_info[:]
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in proto.graph.node:
        written = graph.node.add()
        written.CopyFrom(node)
        for index, name in enumerate(node.output):
            if name in halves:
                exact, rounded = f"{name} before rounding", f"{name} rounded"
                written.output[index] = exact
                graph.node.append(helper.make_node("Cast", [exact], [rounded], to=TensorProto.FLOAT16))
                graph.node.append(helper.make_node("Cast", [rounded], [name], to=TensorProto.FLOAT))
    return result


def rounding_session(proto: ModelProto) -> Session:
    """A session on the CPU that rounds as half does.

    Raises:
        ExportError: onnxruntime refuses the file.
    """
    return Session(with_rounding(proto).SerializeToString(), spinning=False)
