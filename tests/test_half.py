"""Half precision: what is computed in half, what stays in float32, and that the result is the same file each time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from graphs import clips, graph, run
from onnx import ModelProto, TensorProto, checker
from tiny import Tiny, quiet

from stgcn_onnx.errors import ExportError, UsageError
from stgcn_onnx.half import Half, to_half
from stgcn_onnx.half_emulation import rounding_session
from stgcn_onnx.pipeline import build

BIG = "a = Mul(input, k)\n b = Mul(a, a)\n c = Mul(b, s)\n output = Add(c, t)"


def half(model: ModelProto, *, exclude: tuple[str, ...] = (), scale: float = 1.0) -> Half:
    result = to_half(model, clips(scale=scale), exclude=exclude, on_progress=lambda *_: None)
    checker.check_model(result.proto, full_check=True)
    return result


def reasons(result: Half) -> dict[str, str]:
    return {layer.name: layer.reason for layer in result.float_layers}


def stored(result: Half) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in result.proto.graph.initializer}


def test_weights_and_arithmetic_are_half_and_input_and_output_float32() -> None:
    model = graph("a = Mul(input, k)\n output = Add(a, t)", k=2.5, t=0.25)
    result = half(model)
    assert result.float_layers == ()
    assert stored(result) == {"k": TensorProto.FLOAT16, "t": TensorProto.FLOAT16}
    types = {v.name: v.type.tensor_type.elem_type for v in (*result.proto.graph.input, *result.proto.graph.output)}
    assert types == {"input": TensorProto.FLOAT, "output": TensorProto.FLOAT}
    assert [node.op_type for node in result.proto.graph.node] == ["Cast", "Mul", "Add", "Cast"]
    clip = clips(1)[0]
    found = rounding_session(result.proto).run(clip)
    np.testing.assert_allclose(found, run(model, clip), rtol=2e-3, atol=2e-3)
    assert not np.array_equal(found, run(model, clip)), "nothing was rounded"


def test_the_model_that_is_lowered_stays_as_it_is() -> None:
    model = graph("output = Mul(input, k)", k=2.5)
    before = model.SerializeToString(deterministic=True)
    assert half(model).proto.SerializeToString(deterministic=True) != before
    assert model.SerializeToString(deterministic=True) == before


def test_what_overflows_stays_in_float32_and_never_passes_through_half() -> None:
    model = graph(BIG, k=400.0, s=1e-4, t=1.0)
    result = half(model)
    assert set(reasons(result)) == {"/b", "/c"}
    assert "b reaches" in reasons(result)["/b"]
    assert "the largest half is 65504" in reasons(result)["/c"]
    for clip in clips():
        found, expected = rounding_session(result.proto).run(clip), run(model, clip)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, rtol=1e-2)


def test_without_that_it_would_overflow() -> None:
    """The check above can fail: clips on which nothing overflows leave the same nodes in half."""
    model = graph(BIG, k=400.0, s=1e-4, t=1.0)
    blind = half(model, scale=1e-2)
    assert blind.float_layers == ()
    assert not np.isfinite(rounding_session(blind.proto).run(clips(1)[0])).all()
    assert np.isfinite(run(blind.proto, clips(1)[0])).all(), "the CPU computes half in float32: see half_emulation"


def test_a_value_near_the_largest_half_has_a_margin() -> None:
    size = float(max(abs(clip).max() for clip in clips()))
    body = "a = Mul(input, k)\n output = Mul(a, s)"
    assert half(graph(body, k=65504 / 4.1 / size, s=1e-3)).float_layers == ()
    assert set(reasons(half(graph(body, k=65504 / 3.9 / size, s=1e-3)))) == {"/a", "/output"}


def test_what_vanishes_in_half_stays_in_float32() -> None:
    model = graph("a = Mul(input, tiny)\n output = Mul(a, huge)", tiny=1e-7, huge=1e4)
    result = half(model)
    assert "tiny stays below 1.0e-07" in reasons(result)["/a"] or "a stays below" in reasons(result)["/a"]
    clip = clips(1)[0]
    np.testing.assert_allclose(rounding_session(result.proto).run(clip), run(model, clip), rtol=1e-3)
    zero = graph("a = Mul(input, zero)\n output = Add(a, one)", zero=0.0, one=1.0)
    assert half(zero).float_layers == (), "zero is exact in half"


def test_what_picks_rows_is_computed_from_the_exact_values() -> None:
    """1e-9 is zero in half; a person with such coordinates is there all the same."""
    body = """
        zero = Constant<value = float {0.0}>()
        same = Equal(input, zero)
        other = Not(same)
        there = Cast<to = 1>(other)
        used = ReduceMax<axes = [0, 2, 3, 4], keepdims = 0>(there)
        rows = NonZero(used)
        picked = Gather<axis = 1>(input, rows)
        moved = Add(picked, one)
        output = ReduceSum<keepdims = 0>(moved)
    """
    model = graph(body, one=1.0)
    result = half(model)
    assert set(reasons(result)) >= {"/same", "/there", "/used", "/rows"}
    assert reasons(result)["/same"] == "decides which rows are taken"
    assert "/moved" not in reasons(result)
    clip = np.zeros((1, 2, 4, 3, 2), np.float32)
    clip[0, 1] = 1e-9
    found = rounding_session(result.proto).run(clip)
    assert found == 24, "one person of 4 frames, 3 joints, 2 channels"


def test_weights_read_in_both_precisions_are_stored_in_both() -> None:
    result = half(graph("a = Mul(input, k)\n b = Mul(a, k)\n output = Mul(b, t)", k=300.0, t=1e-3))
    assert set(reasons(result)) == {"/b", "/output"}
    assert stored(result) == {
        "k": TensorProto.FLOAT16,
        "k in float": TensorProto.FLOAT,
        "t in float": TensorProto.FLOAT,
    }


def test_a_value_that_two_read_in_the_other_precision_is_cast_once() -> None:
    result = half(
        graph("a = Mul(input, k)\n b = Mul(a, a)\n c = Mul(a, a)\n d = Sub(b, c)\n output = Mul(d, k)", k=300.0)
    )
    casts = [node.input[0] for node in result.proto.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_operators_without_half_stay_in_float32() -> None:
    model = graph(
        "axis = Constant<value = int64 {1}>()\n a = CumSum(input, axis)\n output = Mul(a, k)", opset=13, k=2.0
    )
    result = half(model)
    assert reasons(result) == {"/a": "CumSum has no half in opset 13"}


def test_excluded_layers_stay_in_float32() -> None:
    model = graph("a = Mul(input, k)\n output = Add(a, t)", k=2.5, t=0.25)
    assert reasons(half(model, exclude=("/a",))) == {"/a": "excluded, as asked"}
    with pytest.raises(UsageError) as caught:
        half(model, exclude=("/outptu",))
    assert caught.value.message == "calibration.exclude: '/outptu' is no module and no node of the graph"
    assert caught.value.hint == "did you mean '/output'?"


def test_a_graph_in_a_node_is_refused() -> None:
    body = "yes = Constant<value = bool {1}>()\n output = If(yes)<then_branch = g () => (x) { x = Identity(input) }, "
    model = graph(body + "else_branch = h () => (y) { y = Neg(input) }>")
    with pytest.raises(ExportError, match="fp16: /output holds a graph of its own"):
        half(model)


def test_the_worst_nodes_are_suggested_first() -> None:
    body = "a = Add(input, big)\n b = Sub(a, big)\n output = Add(b, t)"
    assert half(graph(body, big=3000.0, t=1.0)).suggest()[0] == "/b", "the difference of two large values"


@pytest.mark.parametrize("exporter", ["torchscript", pytest.param("dynamo", marks=pytest.mark.slow)])
def test_the_same_bytes_each_time_and_half_the_size(tiny: Tiny, exporter: str) -> None:
    values = {"export.exporter": exporter, "export.opset": 18, "calibration.clips": 4}
    free = {"axes.batch_size.dynamic": True, "axes.num_frames.dynamic": True}
    model = tiny.load()
    contents = [
        build(model, tiny.resolve({**values, **free, "export.precision": precision}), quiet()).content
        for precision in ("fp16", "fp16", "fp32")
    ]
    assert contents[0] == contents[1]
    sizes = [sum(len(t.raw_data) for t in onnx.load_from_string(c).graph.initializer) for c in contents]
    assert sizes[0] < 0.6 * sizes[2]
    assert {node.domain for node in onnx.load_from_string(contents[0]).graph.node} == {""}
