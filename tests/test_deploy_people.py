"""Twin of scripts/stgcn_onnx/deploy/pooled_head.py and absent_people.py."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from deploy_models import PREFIXES, RELATIVE_LIMIT, clip, largest_error, recogniser, relative_error
from torch import nn

from stgcn_onnx.deploy import deploy
from stgcn_onnx.deploy.absent_people import absent_features, receptive_field
from stgcn_onnx.deploy.joint_modules import JointBackbone

CHOSEN = PREFIXES["absent_people"]


def clip_of(present: list[list[int]], frames: int = 12) -> torch.Tensor:
    """A clip whose slots are used where `present` says 1."""
    x = clip(batch=len(present), persons=len(present[0]), frames=frames)
    x = torch.where(x == 0, torch.full_like(x, 0.5), x)
    return x * torch.tensor(present, dtype=x.dtype)[:, :, None, None, None]


PRESENT = [
    [[1, 1, 1, 1]],
    [[0, 1, 0, 1]],
    [[1, 0, 0, 0]],
    [[0, 0, 0, 0]],
    [[0, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
    [[0, 0, 0, 0], [0, 0, 0, 0]],
]


@pytest.mark.parametrize("options", [{}, {"in_channels": 3}, {"data_bn_type": "MVC", "num_person": 3}], ids=str)
def test_pooled_head_is_the_same_function(options: dict[str, Any]) -> None:
    model = recogniser(**options)
    rewritten, applied = deploy(model, PREFIXES["pooled_head"], num_frames=None, frame_range=None)
    assert applied[-1].count == 1
    assert largest_error(model, rewritten, channels=options.get("in_channels", 2)) < RELATIVE_LIMIT


def test_pooled_head_refuses_a_head_of_ones_own() -> None:
    class Own(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.amax(dim=(1, 3, 4))

    model = recogniser()
    model.head = Own()
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert applied[-2].refusals == ("head: Own is not GCNHead",)
    assert applied[-1].count == 0
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


@pytest.mark.parametrize("present", PRESENT, ids=str)
@pytest.mark.parametrize("static", [True, False], ids=["static", "dynamic"])
def test_absent_people_in_float64(present: list[list[int]], static: bool) -> None:
    model = recogniser()
    rewritten, applied = deploy(
        model, CHOSEN, num_frames=12 if static else None, frame_range=None if static else (10, 13)
    )
    assert (applied[-1].count, applied[-1].refusals) == (1, ())
    with torch.no_grad():
        for frames in (12,) if static else (10, 11, 13):
            x = clip_of(present, frames)
            assert relative_error(rewritten(x), model(x)) < RELATIVE_LIMIT


@pytest.mark.parametrize("options", [{}, {"tcn_type": "unit_tcn"}, {"down_stages": [2, 3]}], ids=str)
def test_features_of_long_clips_are_continued_exactly(options: dict[str, Any]) -> None:
    rewritten, _ = deploy(recogniser(**options), PREFIXES["pooled_head"], num_frames=None, frame_range=None)
    field, step = receptive_field(rewritten.backbone)
    frames = range(field + 2, field + 4 * step + 3)
    found = absent_features(rewritten.backbone, frames)
    with torch.no_grad():
        expected = torch.cat(
            [
                rewritten.backbone.pooled_people(rewritten.backbone.trunk(torch.zeros(1, count, 17, 2).double()))
                for count in frames
            ]
        )
    assert relative_error(found, expected) < RELATIVE_LIMIT


def test_a_frame_outside_the_receptive_field_is_not_seen() -> None:
    model = recogniser(base_channels=48)
    rewritten, _ = deploy(model, PREFIXES["pooled_head"], num_frames=None, frame_range=None)
    field, step = receptive_field(rewritten.backbone)
    assert (field, step) == (25, 2)
    still = torch.zeros(1, 61, 17, 2).double()
    last = 30 + field // 2
    torch.manual_seed(0)

    def middle_after_a_jump_at(frame: int) -> torch.Tensor:
        x = still.clone()
        x[0, frame] = 100 * torch.randn(17, 2).double()
        return rewritten.backbone.trunk(x)[..., 15]

    with torch.no_grad():
        assert not torch.equal(middle_after_a_jump_at(last), rewritten.backbone.trunk(still)[..., 15])
        assert torch.equal(middle_after_a_jump_at(last + 1), rewritten.backbone.trunk(still)[..., 15])


def test_absent_people_are_not_computed() -> None:
    rewritten, _ = deploy(recogniser(), CHOSEN, num_frames=12, frame_range=None)
    backbone = rewritten.backbone
    assert isinstance(backbone, JointBackbone)
    rows = []
    backbone.gcn[0].register_forward_pre_hook(lambda _block, inputs: rows.append(inputs[0].shape[2]))
    for present in PRESENT:
        rewritten(clip_of(present))
    assert rows == [4, 2, 1, 1, 5, 1]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e-300])
def test_a_single_value_makes_a_slot_present(value: float) -> None:
    model = recogniser()
    rewritten, _ = deploy(model, CHOSEN, num_frames=12, frame_range=None)
    x = clip_of([[1, 0, 1]])
    x[0, 1, 3, 5, 1] = value
    _, used = rewritten.backbone.present.pick(x[0])
    assert used.tolist() == [1, 1, 1]
    with torch.no_grad():
        expected, found = model(x), rewritten(x)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.allclose(found, expected, rtol=1e-11, equal_nan=True)


@pytest.mark.parametrize("frames", [9, 14])
def test_frames_beyond_the_declared_range_are_an_error(frames: int) -> None:
    rewritten, _ = deploy(recogniser(), CHOSEN, num_frames=None, frame_range=(10, 13))
    with pytest.raises((IndexError, RuntimeError), match="index out of range"):
        rewritten(clip_of([[1, 0]], frames))


def test_refuses_people_normalised_slot_by_slot() -> None:
    model = recogniser(data_bn_type="MVC", num_person=3)
    rewritten, applied = deploy(model, CHOSEN, num_frames=12, frame_range=None)
    assert applied[-1].refusals == ("backbone: its input is normalised slot by slot (data_bn_type 'MVC')",)
    assert largest_error(model, rewritten, frames=(12,)) < RELATIVE_LIMIT


def test_refuses_a_dynamic_t_without_a_range() -> None:
    _, applied = deploy(recogniser(), CHOSEN, num_frames=None, frame_range=None)
    assert applied[-1].refusals == ("backbone: T is dynamic and no range is declared for it",)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_in_onnxruntime(dynamic: bool, opset: int) -> None:
    model = recogniser().float()
    rewritten, _ = deploy(model, "all", num_frames=None if dynamic else 12, frame_range=(10, 13) if dynamic else None)
    buffer = io.BytesIO()
    axes = {"input": {0: "batch_size", 2: "num_frames"}, "output": {0: "batch_size"}} if dynamic else None
    example = (clip_of([[1, 1, 1, 1]]).float(),)
    torch.onnx.export(
        rewritten,
        example,
        buffer,
        opset_version=opset,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
    )
    assert {node.domain for node in onnx.load_from_string(buffer.getvalue()).graph.node} == {""}
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    for present in PRESENT if dynamic else PRESENT[:4]:
        for frames in (10, 11, 13) if dynamic else (12,):
            x = clip_of(present, frames).float()
            with torch.no_grad():
                expected = model(x).numpy()
            (found,) = session.run(None, {"input": x.numpy()})
            assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-5
