"""frame_major: the form for 8-bit arithmetic computes the same function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deploy_models import RELATIVE_LIMIT, clip, largest_error, recogniser, relative_error
from torch import nn

from stgcn_onnx.deploy import INT8_REWRITES, deploy, names, resolve
from stgcn_onnx.deploy.frame_major import spread_over_subsets
from stgcn_onnx.errors import UsageError

CHOSEN = names(INT8_REWRITES)[: names(INT8_REWRITES).index("frame_major") + 1]
ALL = names(INT8_REWRITES)
CASES: list[dict[str, Any]] = [
    {},
    {"gcn_conv_pos": "post"},
    {"gcn_with_res": False},
    {"gcn_with_res": False, "gcn_conv_pos": "post"},
    {"gcn_adaptive": "offset"},
    {"gcn_adaptive": "importance"},
    {"gcn_adaptive": None},
    {"tcn_type": "unit_tcn", "down_stages": [2, 3]},
    {"base_channels": 16, "inflate_stages": [], "down_stages": []},
    {"base_channels": 10, "down_stages": [2, 3]},
    {"in_channels": 8},
    {"in_channels": 8, "data_bn_type": None},
    {"data_bn_type": "MVC", "num_person": 3},
    {"data_bn_type": "MVC", "num_person": 3, "in_channels": 8},
]


@pytest.mark.parametrize("frames", [None, 12, 13])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_same_function_in_float64(options: dict[str, Any], frames: int | None) -> None:
    model = recogniser(**options)
    rewritten, applied = deploy(model, CHOSEN, num_frames=frames, frame_range=None, rewrites=INT8_REWRITES)
    assert (applied[-1].count, applied[-1].refusals) == (1, ())
    given = {} if frames is None else {"frames": (frames,)}
    assert largest_error(model, rewritten, channels=options.get("in_channels", 2), **given) < RELATIVE_LIMIT


@pytest.mark.parametrize("frames", [None, 13])
@pytest.mark.parametrize("mode", ["spatial", "stgcn_spatial", "binary_adj"])
def test_with_pooling_and_absent_people(mode: str, frames: int | None) -> None:
    model = recogniser(mode=mode)
    limits = None if frames else (10, 16)
    rewritten, applied = deploy(model, "all", num_frames=frames, frame_range=limits, rewrites=INT8_REWRITES)
    assert [item.name for item in applied] == list(ALL)
    assert all(not item.refusals for item in applied)
    for count in (frames,) if frames else (10, 13, 16):
        given = clip(frames=count)
        with torch.no_grad():
            assert relative_error(rewritten(given), model(given)) < RELATIVE_LIMIT
            nobody = torch.zeros_like(given)
            assert relative_error(rewritten(nobody), model(nobody)) < RELATIVE_LIMIT


def test_blocks_compare_one_by_one() -> None:
    model = recogniser()
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None, rewrites=INT8_REWRITES)
    outputs: dict[str, list[torch.Tensor]] = {}
    for either in (model, rewritten):
        for name, block in either.backbone.gcn.named_children():
            block.register_forward_hook(lambda *given, name=name: outputs.setdefault(name, []).append(given[-1]))
    with torch.no_grad():
        model(clip())
        rewritten(clip())
    assert list(outputs) == ["0", "1", "2"]
    for original, candidate in outputs.values():
        assert relative_error(candidate, original) < RELATIVE_LIMIT


def test_bias_that_no_subset_can_carry_is_left_over() -> None:
    adjacency = torch.rand(3, 17, 17, dtype=torch.float64) + 0.1
    carried = torch.randn(3, 8, dtype=torch.float64)
    reachable = (adjacency.sum(dim=1).T @ carried).T
    found, rest = spread_over_subsets(adjacency, reachable, 1e-12)
    assert rest is None and torch.allclose(found, carried, rtol=1e-9)
    found, rest = spread_over_subsets(adjacency, torch.randn(8, 17, dtype=torch.float64), 1e-12)
    assert rest is not None and rest.shape == (17, 8) and rest.abs().max() > 0.1


def test_refuses_what_joint_major_refuses() -> None:
    model = recogniser()
    model.backbone.gcn[1].tcn.bn = nn.GroupNorm(2, 16).double()
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None, rewrites=INT8_REWRITES)
    assert (applied[-1].count, applied[-1].refusals) == (0, ("backbone: block 1 is not folded",))
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_the_other_layout_is_no_name_of_this_list() -> None:
    with pytest.raises(UsageError, match=r"'joint_major' is not a rewrite; use all, none, or a list of .*frame_major"):
        resolve(["joint_major"], INT8_REWRITES)
    with pytest.raises(UsageError, match="'pooled_head' requires 'frame_major'"):
        resolve(["einsum_free", "fold_batch_norm", "pooled_head"], INT8_REWRITES)
