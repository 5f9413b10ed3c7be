"""What the arithmetic alone would take: the multiplications of a graph over the machine's rate of multiplying.

Counted are the nodes that multiply matrices in one form or another (Conv, MatMul, Gemm, Einsum); the rest of a
skeleton network is a few per cent of them. The rate is that of one large matrix product, measured in the same run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

from onnx import ModelProto, NodeProto, shape_inference

from stgcn_onnx.bench.engines import GEMM_SIDE
from stgcn_onnx.bench.figures import Measured, Spread, spread
from stgcn_onnx.bench.report import Limit
from stgcn_onnx.errors import ExportError

Shape = tuple[int, ...]
Shapes = Callable[[str], Shape]
_LOOPS = frozenset({"Loop", "Scan"})


def count_macs(model: ModelProto) -> dict[str, int]:
    """Multiply-accumulates of one run, by kind of node.

    Args:
        model: with fixed axes; a node inside an `If` is not counted.

    Raises:
        ExportError: the shape of a value that is multiplied is not fixed, or the graph has a loop.
    """
    loop = next((node for node in model.graph.node if node.op_type in _LOOPS), None)
    if loop is not None:
        raise ExportError(
            f"how often the body of '{loop.name}' runs depends on the input, so its arithmetic cannot be counted",
            hint="count a file with fixed axes and without rewrites",
        )
    shapes = _shapes(model)
    macs: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in _COUNTS:
            macs[node.op_type] += _COUNTS[node.op_type](node, shapes)
    return dict(macs)


def arithmetic_limit(macs: Mapping[str, int], gemm: Measured, plain: Measured) -> Limit:
    """The time that `macs` would take at the rate of the matrix product `gemm`, against the plain export.

    Args:
        macs: per run of the plain export's first input.
        gemm: product of two matrices of `GEMM_SIDE` rows and columns.
    """
    total = sum(macs.values())
    ratio_of_work = total / GEMM_SIDE**3
    limits_ms = [process.timings[0].median_ms * ratio_of_work for process in gemm.processes]
    limit_ms = spread(limits_ms).median
    return Limit(
        macs=total,
        macs_by_kind=macs,
        rate_gflops=Spread(*(2 * total / each / 1e6 for each in (limit_ms, max(limits_ms), min(limits_ms)))),
        ms=limit_ms,
        speedup=spread([p.timings[0].median_ms / limit for p, limit in zip(plain.processes, limits_ms, strict=True)]),
    )


def _shapes(model: ModelProto) -> Shapes:
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    known: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                known[node.output[0]] = tuple(attribute.t.dims)
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            known[value.name] = tuple(dim.dim_value for dim in dims)

    def shape(name: str) -> Shape:
        if name not in known:
            raise ExportError(
                f"the shape of '{name}' is not fixed, so its arithmetic cannot be counted",
                hint="count a file with fixed axes and without rewrites",
            )
        return known[name]

    return shape


def _conv(node: NodeProto, shape: Shapes) -> int:
    # Weights (C_out, C_in / groups, *kernel): each value of the output sums over all but the first axis.
    return math.prod(shape(node.output[0])) * math.prod(shape(node.input[1])[1:])


def _matmul(node: NodeProto, shape: Shapes) -> int:
    return math.prod(shape(node.output[0])) * shape(node.input[0])[-1]


def _gemm(node: NodeProto, shape: Shapes) -> int:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(shape(node.output[0])) * shape(node.input[0])[0 if transposed else 1]


def _einsum(node: NodeProto, shape: Shapes) -> int:
    equation = next(attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
    terms = equation.replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=True):
        sizes.update(zip(term, shape(name), strict=True))
    return math.prod(sizes.values())


_COUNTS: Mapping[str, Callable[[NodeProto, Shapes], int]] = {
    "Conv": _conv,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
