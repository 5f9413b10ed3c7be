"""Twin of scripts/stgcn_onnx/residual_axes.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from deploy_models import clip, recogniser, relative_error
from graphs import graph
from onnx import ModelProto

from stgcn_onnx.deploy import Applied, deploy
from stgcn_onnx.export import FreeAxes, export
from stgcn_onnx.model import ClipShape
from stgcn_onnx.residual_axes import name_residual_axes
from stgcn_onnx.runtime import Session

JOINT_MAJOR = (Applied("joint_major", 1),)
FREE = FreeAxes(batch=(1, 3), frames=(10, 14))
BLOCKS: dict[str, Any] = {"base_channels": 16, "num_stages": 3, "inflate_stages": [2], "down_stages": [2]}


def named(free: FreeAxes = FREE, *, batch: int = 1, opset: int = 17) -> tuple[ModelProto, ModelProto]:
    """A network as exported, and the same with its residuals' axes named."""
    module, applied = deploy(
        recogniser(**BLOCKS).float(),
        "all",
        num_frames=None if free.frames else 12,
        frame_range=free.frames,
        traced_people=4 * batch,
    )
    plain = export(module, ClipShape(batch, 4, 12, 17, 2), free, opset=opset, exporter="torchscript")
    model = ModelProto()
    model.CopyFrom(plain)
    name_residual_axes(model, applied)
    return plain, model


def kinds(model: ModelProto, folder: Path) -> list[str]:
    """Kinds of the nodes, those of loops among them, that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[str] = []
    graphs = [onnx.load(folder / "optimised.onnx").graph]
    while graphs:
        part = graphs.pop()
        found += [node.op_type for node in part.node]
        graphs += [value.g for node in part.node for value in node.attribute if value.HasField("g")]
    return found


@pytest.mark.parametrize(
    ("free", "batch", "opset"),
    [(FreeAxes(), 1, 11), (FreeAxes(), 1, 17), (FREE, 1, 14), (FREE, 1, 17), (FreeAxes(), 3, 11), (FREE, 3, 17)],
    ids=str,
)
def test_onnxruntime_fuses_residuals_into_convolutions(tmp_path: Path, free: FreeAxes, batch: int, opset: int) -> None:
    plain, model = named(free, batch=batch, opset=opset)
    before, after = kinds(plain, tmp_path), kinds(model, tmp_path)
    assert after.count("Relu") < before.count("Relu")
    assert after.count("Add") <= before.count("Add") - 2
    onnx.checker.check_model(model, full_check=True)


def test_results_are_those_of_pytorch_at_every_size() -> None:
    _, model = named()
    session = Session(model.SerializeToString())
    original = recogniser(**BLOCKS)
    for batch, frames, absent in [(1, 10, 0), (2, 11, 3), (3, 14, 1), (1, 13, 4)]:
        x = clip(batch=batch, persons=4, frames=frames)
        x[:, 4 - absent :] = 0
        with torch.no_grad():
            expected = original(x)
        assert relative_error(torch.from_numpy(session.run(x.float().numpy())).double(), expected) < 1e-5


def test_both_sides_get_the_same_names_and_sizes_that_are_known_stay() -> None:
    _, model = named(FreeAxes())
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    sides = [node.input for node in model.graph.node if node.op_type == "Add" and set(node.input) <= set(shapes)]
    assert len(sides) == 3
    for one, other in sides:
        assert [str(axis) for axis in shapes[one]] == [str(axis) for axis in shapes[other]]
        assert [axis.dim_value for axis in shapes[one]] == [17, shapes[one][1].dim_value, 0, shapes[one][3].dim_value]
        assert shapes[one][2].dim_param


@pytest.mark.parametrize("applied", [(), (Applied("joint_major", 0),), (Applied("fold_batch_norm", 3),)], ids=str)
def test_other_layouts_are_left_alone(applied: tuple[Applied, ...]) -> None:
    plain, _ = named()
    before = plain.SerializeToString()
    name_residual_axes(plain, applied)
    assert plain.SerializeToString() == before


def test_an_add_that_may_broadcast_is_left_alone() -> None:
    model = graph("wide = Relu(input) \n sum = ReduceSum<keepdims=1>(wide) \n output = Add(wide, sum)")
    del model.graph.value_info[:]
    name_residual_axes(model, JOINT_MAJOR)
    assert not model.graph.value_info


def test_residuals_that_share_a_side_share_its_names() -> None:
    body = """
        x = Reshape(input, shape)
        y = Relu(x)
        first = Add(x, y)
        z = Relu(first)
        w = Tanh(y)
        second = Add(z, w)
        third = Add(w, x)
        output = ReduceSum<keepdims=0>(third)
    """
    model = graph(body)
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [4], [0, 2, -1, 3])
    model.graph.initializer.append(shape)
    del model.graph.value_info[:]
    name_residual_axes(model, JOINT_MAJOR)
    names = {value.name: value.type.tensor_type.shape.dim[2].dim_param for value in model.graph.value_info}
    assert set(names) == {"x", "y", "z", "w"}
    assert len(set(names.values())) == 1
