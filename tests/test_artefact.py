"""The sealed file: clean, checked, self-describing; and each of its checks failing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from stgcn_onnx.artefact import check_axes, read_metadata, seal
from stgcn_onnx.errors import ExportError, VerificationError
from stgcn_onnx.export import FreeAxes
from stgcn_onnx.model import ClipShape

SHAPE = ClipShape(1, 2, 8, 3, 2)


def small_model(
    *, clip: list[int | str] | None = None, logits: list[int | str] | None = None, domain: str = ""
) -> ModelProto:
    """`[1, 2, 8, 3, 2]` to `[1, 6]`, as an exporter might leave it."""
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], name="/flatten", axis=1, doc_string="/home/somebody/x.py"),
        helper.make_node("MatMul", ["flat", "weight"], ["output"], name="/matmul"),
    ]
    if domain:
        nodes[0].domain = domain
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, clip or [1, 2, 8, 3, 2])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, logits or [1, 6])],
        [helper.make_tensor("weight", TensorProto.FLOAT, [96, 6], [0.5] * 96 * 6)],
        doc_string="traced in /home/somebody",
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="pytorch", producer_version="2", ir_version=8)
    model.doc_string = "made on somebody's machine"
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/somebody/x.py, line 3")
    model.metadata_props.add(key="left by", value="the exporter")
    return model


def test_what_exporters_leave_behind_is_gone() -> None:
    content = seal(small_model(), {"preset": "x"})
    model = onnx.load_from_string(content)
    assert b"somebody" not in content
    assert (model.producer_name, model.producer_version, model.doc_string) == ("stgcn-onnx", "", "")
    assert [opset.domain for opset in model.opset_import] == [""]
    assert [prop.key for prop in model.metadata_props] == ["preset"]


def test_metadata_comes_back_as_it_was_and_the_bytes_do_not_depend_on_its_order() -> None:
    metadata = {"b": {"y": 1, "x": [1, 2.5, None, True]}, "a": "Ärger", "c": []}
    content = seal(small_model(), metadata)
    assert read_metadata(onnx.load_from_string(content)) == metadata
    assert seal(small_model(), dict(reversed(metadata.items()))) == content


def test_a_file_of_another_origin_has_no_metadata() -> None:
    assert read_metadata(small_model()) == {}


def test_a_foreign_operator_domain_is_refused() -> None:
    with pytest.raises(ExportError, match=r"outside the standard domain: com\.example"):
        seal(small_model(domain="com.example"), {})


def test_weights_in_a_second_file_are_refused() -> None:
    model = small_model()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    with pytest.raises(ExportError, match="1 weights are in a second file"):
        seal(model, {})


@pytest.mark.parametrize("place", [Path.cwd, lambda: Path(__file__).resolve().parents[1]])
def test_a_local_path_is_refused(place: Callable[[], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="the file would hold the local path"):
        seal(small_model(), {"config": f"{place()}/config.py"})


def test_a_file_that_onnx_refuses_is_refused() -> None:
    model = small_model()
    model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(ExportError, match="onnx's checker refuses the file"):
        seal(model, {})


def test_a_graph_whose_shapes_contradict_each_other_is_refused() -> None:
    model = small_model(logits=[1, 7])
    with pytest.raises(ExportError, match="onnx's checker refuses the file"):
        seal(model, {})


def test_axes_that_are_as_declared_pass() -> None:
    check_axes(small_model(), SHAPE, FreeAxes(), 6)
    free = small_model(clip=["batch_size", 2, "num_frames", 3, 2], logits=["batch_size", 6])
    check_axes(free, SHAPE, FreeAxes((1, 4), (8, 16)), 6)


@pytest.mark.parametrize(
    ("clip", "logits", "free", "message"),
    [
        ([1, 2, 8, 3, 2], [1, 6], FreeAxes(batch=(1, 4)), r"axes of 'input' came out as \[1, 2, 8, 3, 2\]"),
        (["batch_size", 2, 8, 3, 2], ["batch_size", 6], FreeAxes((1, 4), (8, 16)), r"expected .*'num_frames'"),
        (["batch_size", 2, 8, 3, 2], ["batch_size", 6], FreeAxes(), r"\['batch_size', 2, 8, 3, 2\], expected \[1, 2"),
        (["N", 2, 8, 3, 2], ["N", 6], FreeAxes(batch=(1, 4)), r"came out as \['N'"),
        ([1, 2, 9, 3, 2], [1, 6], FreeAxes(), r"came out as \[1, 2, 9, 3, 2\], expected \[1, 2, 8, 3, 2\]"),
        (["batch_size", 2, 8, 3, 2], [1, 6], FreeAxes(batch=(1, 4)), r"'output' came out as \[1, 6\], expected \['ba"),
        ([1, 2, 8, 3, 2], [1, 5], FreeAxes(), r"'output' came out as \[1, 5\], expected \[1, 6\]"),
        ([1, 2, 8, 3, 2], [6], FreeAxes(), r"'output' came out as \[6\]"),
    ],
)
def test_an_axis_that_came_out_otherwise_is_an_error(
    clip: list[int | str], logits: list[int | str], free: FreeAxes, message: str
) -> None:
    with pytest.raises(VerificationError, match=message) as caught:
        check_axes(small_model(clip=clip, logits=logits), SHAPE, free, 6)
    assert "the other exporter" in caught.value.hint


@pytest.mark.parametrize(("side", "position"), [("input", 0), ("output", 0)])
def test_inputs_and_outputs_of_another_name_are_an_error(side: str, position: int) -> None:
    model = small_model()
    getattr(model.graph, side)[position].name = "x"
    with pytest.raises(VerificationError, match=r"expected \['input'\] and \['output'\]"):
        check_axes(model, SHAPE, FreeAxes(), 6)
