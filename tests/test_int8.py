"""8-bit quantisation: what computes in 8 bits, what stays in float and why, and that onnxruntime runs it in 8 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, numpy_helper
from tiny import Tiny, quiet

from stgcn_onnx import deploy
from stgcn_onnx.errors import ExportError, UsageError
from stgcn_onnx.export import FreeAxes, export
from stgcn_onnx.int8 import Quantised, effects, quantise
from stgcn_onnx.int8.graph import layers_of, prepared
from stgcn_onnx.int8.ranges import value_ranges
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.pipeline import build
from stgcn_onnx.runtime import FloatArray, Session

FRAMES = (8, 32)


@pytest.fixture(scope="module")
def proto(loaded: LoadedModel) -> ModelProto:
    """The tiny model in its form for 8 bits, frames free, in float32."""
    rewrites = deploy.INT8_REWRITES
    module, _ = deploy.deploy(loaded.recogniser, "all", num_frames=None, frame_range=FRAMES, rewrites=rewrites)
    return export(module, loaded.shape, FreeAxes(frames=FRAMES), opset=17, exporter="torchscript")


@pytest.fixture(scope="module")
def clips(loaded: LoadedModel) -> list[FloatArray]:
    generator = np.random.default_rng(5)
    return [generator.normal(size=loaded.shape.sizes()).astype(np.float32) for _ in range(6)]


def quantised(proto: ModelProto, clips: list[FloatArray], method: str = "percentile", *exclude: str) -> Quantised:
    result = quantise(proto, clips, method=method, exclude=exclude, on_progress=lambda *_: None)
    onnx.checker.check_model(result.proto, full_check=True)
    return result


@pytest.fixture(scope="module")
def result(proto: ModelProto, clips: list[FloatArray]) -> Quantised:
    return quantised(proto, clips)


def optimised(model: ModelProto, folder: Path) -> ModelProto:
    """The graph that onnxruntime makes of the file, which holds its own 8-bit operators."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def run(model: ModelProto, clips: list[FloatArray]) -> FloatArray:
    session = Session(model.SerializeToString(), spinning=False)
    return np.concatenate([session.run(clip) for clip in clips])


@pytest.mark.parametrize("method", ["min-max", "entropy", "percentile"])
def test_every_method_gives_a_file_that_answers_nearly_alike(
    proto: ModelProto, clips: list[FloatArray], method: str
) -> None:
    model = quantised(proto, clips, method).proto
    expected, found = run(proto, clips), run(model, clips)
    assert not np.array_equal(found, expected), "nothing was rounded"
    assert np.abs(found - expected).max() < 0.15 * np.abs(expected).max()


def test_standard_domain_float_ends_and_a_scale_for_each_channel(result: Quantised) -> None:
    graph = result.proto.graph
    assert {node.domain for node in graph.node} == {""}
    assert [item.domain for item in result.proto.opset_import if item.domain not in ("", "ai.onnx")] == []
    ends = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert ends == [TensorProto.FLOAT, TensorProto.FLOAT]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {node.output[0]: node for node in graph.node}
    convs = [node for node in graph.node if node.op_type == "Conv"]
    rounded = [producers[node.input[1]] for node in convs if node.input[1] in producers]
    assert len(rounded) >= 10
    for node in rounded:
        weight, scale = constants[node.input[0]], constants[node.input[1]]
        assert weight.dtype == np.int8 and scale.shape == weight.shape[:1]


def test_onnxruntime_computes_the_quantised_layers_in_8_bits(result: Quantised, tmp_path: Path) -> None:
    nodes = optimised(result.proto, tmp_path).graph.node
    left_out = {layer.name for layer in result.float_layers}
    for kind, in_8_bits in (("Conv", "QLinearConv"), ("MatMul", "QLinearMatMul")):
        assert any(node.op_type == in_8_bits for node in nodes)
        floats = [node.name for node in nodes if node.op_type in (kind, f"Fused{kind}")]
        inside = [name for name in floats if not any(layer.replace(".", "/", 1) in name for layer in left_out)]
        assert all("/gcn.0/" in name or "/head/" in name for name in inside), inside


def test_coordinates_stay_in_float_and_who_is_present_is_not_touched(result: Quantised) -> None:
    assert result.float_layers[0].name == "backbone.gcn.0.gcn"
    assert "coordinate" in result.float_layers[0].reason
    kinds = {node.op_type: node for node in result.proto.graph.node}
    producers = {name for node in result.proto.graph.node if "Linear" in node.op_type for name in node.output}
    assert kinds["NonZero"].input[0] not in producers


def test_any_number_of_frames_and_people(result: Quantised, proto: ModelProto, clips: list[FloatArray]) -> None:
    for frames in (8, 21, 32):
        given = np.repeat(clips[0], 2, axis=2)[:, :, :frames]
        one = given.copy()
        one[:, 1:] = 0
        for clip in (given, one, np.zeros_like(given)):
            expected, found = run(proto, [clip]), run(result.proto, [clip])
            assert np.abs(found - expected).max() < 0.15 * max(np.abs(expected).max(), 1)


def test_what_is_excluded_stays_in_float(proto: ModelProto, clips: list[FloatArray]) -> None:
    excluded = quantised(proto, clips, "min-max", "backbone.gcn.1").proto
    producers = {node.output[0]: node.op_type for node in excluded.graph.node}
    convs = [node for node in excluded.graph.node if node.op_type == "Conv"]
    inside = [node for node in convs if "/gcn.1/" in node.name]
    assert inside and all(producers.get(node.input[1]) != "DequantizeLinear" for node in inside)
    assert any(producers.get(node.input[1]) == "DequantizeLinear" for node in convs)
    with pytest.raises(UsageError, match=r"calibration\.exclude: 'backbone\.gcn\.9' is no module"):
        quantised(proto, clips, "min-max", "backbone.gcn.9")


def test_nothing_left_to_quantise_is_an_error(proto: ModelProto, clips: list[FloatArray]) -> None:
    with pytest.raises(ExportError, match="the graph has no layer to quantise"):
        quantised(proto, clips, "min-max", "backbone")


def test_all_that_a_concat_joins_has_one_range(proto: ModelProto, clips: list[FloatArray]) -> None:
    graph = prepared(proto)
    nodes = layers_of(graph, ()).nodes()
    ranges = value_ranges(graph, clips, "min-max", nodes, lambda *_: None)
    concats = [node for node in graph.graph.node if node.op_type == "Concat" and node.name in nodes]
    assert len(concats) > 3, "a branch that is used twice joins its two halves first"
    for node in concats:
        joined = [name for name in (*node.input, *node.output) if name in ranges]
        if not joined:
            continue  # it joins sizes for a Reshape
        limits = {tuple(float(np.max(limit)) for limit in ranges[name].range_value) for name in joined}
        assert len(limits) == 1


def test_the_costliest_layer_stays_in_float(
    proto: ModelProto, clips: list[FloatArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    costly = "backbone.gcn.1.tcn"
    graph = prepared(proto)

    def probabilities(given: ModelProto | list[str], clips: list[FloatArray]) -> FloatArray:
        """As if 8 bits moved every answer a little, and those of the costly layer a lot."""
        moved = 0.0
        if isinstance(given, list):
            moved = 0.0004 + 0.02 * any("/gcn.1/tcn/" in node for node in given)
        return np.tile(np.array([0.6 - moved, 0.4 + moved], np.float32), (len(clips), 1))

    monkeypatch.setattr(effects, "with_8_bits", lambda _graph, _ranges, nodes: nodes)
    monkeypatch.setattr(effects, "_probabilities", probabilities)
    found = effects.measure_effects(graph, None, layers_of(graph, ()), clips, lambda *_: None)
    assert found.left_out == ((costly, pytest.approx(0.0204, abs=1e-6)),)
    assert len(found.costs) > 3
    assert found.expected == pytest.approx(0.0004 * len(found.costs) ** 0.5, abs=1e-6)
    assert costly not in dict(found.costs)


def test_effects_are_looked_for_where_the_model_is_least_sure(clips: list[FloatArray]) -> None:
    sure = np.array([[0.9, 0.1], [0.51, 0.49], [0.3, 0.7], [0.45, 0.55], [0.0, 1.0], [0.2, 0.8]])
    chosen, theirs = effects._least_sure(clips, sure, 2)
    assert [next(i for i, clip in enumerate(clips) if clip is item) for item in chosen] == [1, 3]
    np.testing.assert_array_equal(theirs, sure[[1, 3]])


@pytest.mark.usefixtures("few_generated")
def test_twice_the_same_bytes_and_names_that_take_no_room(tiny: Tiny, loaded: LoadedModel) -> None:
    values = {"export.precision": "int8", "calibration.clips": 6, "axes.num_frames.dynamic": True}
    resolved = tiny.resolve(values)
    first, second = (build(loaded, resolved, quiet()).content for _ in range(2))
    assert first == second
    graph = onnx.load_from_string(first).graph
    rounding = [node for node in graph.node if node.op_type.endswith("QuantizeLinear")]
    assert len(rounding) > 30
    assert all(len(name) < 6 for node in rounding for name in node.input if name.startswith("q"))
    assert not graph.value_info
