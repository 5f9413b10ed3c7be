"""Multiplications counted from graphs whose count is known by hand."""

from __future__ import annotations

import onnx
import pytest
from bench_samples import measured
from onnx import ModelProto, TensorProto, helper

from stgcn_onnx.bench.arithmetic import arithmetic_limit, count_macs
from stgcn_onnx.bench.engines import GEMM_SIDE
from stgcn_onnx.errors import ExportError


def graph(op: str, inputs: list[list[int | str]], output: list[int | str], **attributes: object) -> ModelProto:
    names = [f"x{index}" for index in range(len(inputs))]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, inputs, strict=True)]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    node = helper.make_node(op, names, ["y"], **attributes)
    return helper.make_model(
        helper.make_graph([node], "g", values, [out]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        (graph("Conv", [[2, 6, 10, 5], [8, 6, 3, 1]], [2, 8, 8, 5], kernel_shape=[3, 1]), 2 * 8 * 8 * 5 * 6 * 3),
        (graph("Conv", [[1, 6, 10, 5], [6, 3, 1, 1]], [1, 6, 10, 5], group=2), 6 * 10 * 5 * 3),
        (graph("MatMul", [[4, 7, 3], [3, 5]], [4, 7, 5]), 4 * 7 * 5 * 3),
        (graph("Gemm", [[7, 3], [3, 5]], [7, 5]), 7 * 5 * 3),
        (graph("Gemm", [[3, 7], [3, 5]], [7, 5], transA=1), 7 * 5 * 3),
        (graph("Einsum", [[2, 3, 4, 5], [3, 5, 6]], [2, 4, 6], equation="nkct,ktv->ncv"), 2 * 3 * 4 * 5 * 6),
        (graph("Relu", [[2, 3]], [2, 3]), 0),
    ],
)
def test_multiplications_of_one_node(model: ModelProto, macs: int) -> None:
    assert sum(count_macs(model).values()) == macs


def test_an_unknown_shape_is_not_guessed() -> None:
    with pytest.raises(ExportError, match=r"the shape of '.*' is not fixed"):
        count_macs(graph("MatMul", [["n", 3], [3, 5]], ["n", 5]))


def test_a_loop_is_not_counted_as_if_it_ran_once(batch_content: bytes) -> None:
    with pytest.raises(ExportError, match=r"how often the body of '.*Loop.*' runs depends on the input"):
        count_macs(onnx.load_from_string(batch_content))


def test_the_plain_export_is_counted_by_kind(plain_content: bytes) -> None:
    macs = count_macs(onnx.load_from_string(plain_content))
    assert set(macs) == {"Conv", "Einsum", "Gemm"}
    assert macs["Gemm"] == 16 * 2


def test_the_limit_is_the_work_at_the_rate_of_the_product() -> None:
    gemm = measured("gemm", [[10.0], [20.0]])
    plain = measured("plain", [[30.0], [60.0]])
    limit = arithmetic_limit({"Conv": GEMM_SIDE**3, "Einsum": GEMM_SIDE**3}, gemm, plain)
    assert limit.ms == 30.0
    assert limit.macs == 2 * GEMM_SIDE**3
    assert limit.rate_gflops.median == pytest.approx(2 * GEMM_SIDE**3 / 15e-3 / 1e9)
    assert limit.rate_gflops.max == 2 * limit.rate_gflops.min
    assert limit.speedup.median == 1.5
