"""Twin of scripts/stgcn_onnx/deploy/joint_major.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deploy_models import PREFIXES, RELATIVE_LIMIT, clip, largest_error, recogniser, relative_error
from torch import nn

from stgcn_onnx.deploy import deploy
from stgcn_onnx.deploy.joint_major import spread_bias

CHOSEN = PREFIXES["joint_major"]

CASES: list[dict[str, Any]] = [
    *(
        {"gcn_adaptive": adaptive, "gcn_conv_pos": position, "gcn_with_res": residual}
        for adaptive in (None, "init", "offset", "importance")
        for position in ("pre", "post")
        for residual in (False, True)
    ),
    {"tcn_type": "unit_tcn"},
    {"base_channels": 16, "inflate_stages": [], "down_stages": []},
    {"base_channels": 10, "down_stages": [2, 3]},
    {"in_channels": 8},
    {"in_channels": 3},
    {"in_channels": 5},
    {"in_channels": 8, "data_bn_type": None},
    {"data_bn_type": "MVC", "num_person": 3},
    {"data_bn_type": "MVC", "num_person": 3, "in_channels": 8},
    {"data_bn_type": None},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_same_function_in_float64(options: dict[str, Any]) -> None:
    model = recogniser(**options)
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert (applied[-1].count, applied[-1].refusals) == (1, ())
    assert largest_error(model, rewritten, channels=options.get("in_channels", 2)) < RELATIVE_LIMIT


@pytest.mark.parametrize("mode", ["spatial", "stgcn_spatial", "binary_adj"])
def test_any_number_of_subsets(mode: str) -> None:
    model = recogniser(mode=mode)
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


@pytest.mark.parametrize("frames", [12, 13])
def test_static_frames(frames: int) -> None:
    model = recogniser(down_stages=[2, 3])
    rewritten, _ = deploy(model, CHOSEN, num_frames=frames, frame_range=None)
    assert largest_error(model, rewritten, frames=(frames,)) < RELATIVE_LIMIT


def test_blocks_compare_one_by_one() -> None:
    model = recogniser()
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    outputs: dict[str, list[torch.Tensor]] = {}
    for either in (model, rewritten):
        for name, block in either.backbone.gcn.named_children():
            block.register_forward_hook(lambda *given, name=name: outputs.setdefault(name, []).append(given[-1]))
    with torch.no_grad():
        model(clip())
        rewritten(clip())
    assert list(outputs) == ["0", "1", "2"]
    for original, candidate in outputs.values():
        assert relative_error(candidate.permute(2, 1, 3, 0), original) < RELATIVE_LIMIT


def test_bias_goes_in_front_where_a_solution_exists() -> None:
    weight, bias = torch.randn(8, 12, dtype=torch.float64), torch.randn(8, 17, dtype=torch.float64)
    constant, per_joint, ahead = spread_bias(weight, bias)
    assert ahead and per_joint is not None
    assert torch.allclose(weight @ per_joint + constant[:, None], bias, rtol=1e-12, atol=1e-13)
    _, per_joint, ahead = spread_bias(weight[:, :4], bias)
    assert not ahead and per_joint is not None and per_joint.shape == (8, 17)
    assert spread_bias(weight, bias[:, :1].expand(-1, 17))[1] is None


def test_refuses_a_block_that_is_not_folded() -> None:
    model = recogniser()
    model.backbone.gcn[1].tcn.bn = nn.GroupNorm(2, 16).double()
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert (applied[-1].count, applied[-1].refusals) == (0, ("backbone: block 1 is not folded",))
    assert type(rewritten.backbone) is type(model.backbone)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_refuses_another_activation() -> None:
    model = recogniser(gcn_act="LeakyReLU")
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert applied[-1].refusals == ("backbone: block 0 has the activation LeakyReLU, not ReLU",)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT
