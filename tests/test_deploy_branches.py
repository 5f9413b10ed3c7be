"""Twin of scripts/stgcn_onnx/deploy/even_frames.py and packed_branches.py."""

from __future__ import annotations

from typing import Any

import pytest
from deploy_models import PREFIXES, RELATIVE_LIMIT, largest_error, recogniser
from torch import nn

from stgcn_onnx.deploy import deploy
from stgcn_onnx.deploy.modules import Branch, Branches, PooledTwice
from stgcn_onnx.deploy.packed_branches import pack
from stgcn_onnx.deploy.rewrite import Refusal

CASES: list[dict[str, Any]] = [
    {},
    {"base_channels": 48},
    {"base_channels": 64, "num_stages": 2},
    {"base_channels": 10, "down_stages": [2, 3]},
    {"down_stages": []},
    {"tcn_ms_cfg": [(5, 1), (3, 2), "1x1", ("max", 3)], "base_channels": 12},
    {"tcn_ms_cfg": [(3, 1), (3, 3)], "base_channels": 12},
    {"tcn_ms_cfg": [(3, 1), ("max", 3), "1x1", "1x1"], "base_channels": 12},
    {"tcn_mid_channels": 0.3, "base_channels": 20},
]


@pytest.mark.parametrize("name", ["even_frames", "packed_branches"])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_same_function_in_float64(options: dict[str, Any], name: str) -> None:
    model = recogniser(**options)
    rewritten, _ = deploy(model, PREFIXES[name], num_frames=None, frame_range=None)
    assert largest_error(model, rewritten, frames=(12, 11, 7)) < RELATIVE_LIMIT


def test_packs_without_moving_the_stride_first() -> None:
    model = recogniser(base_channels=48)
    chosen = ["einsum_free", "fold_batch_norm", "packed_branches"]
    rewritten, applied = deploy(model, chosen, num_frames=None, frame_range=None)
    assert applied[-1].count >= 1
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_which_branches_skip_frames() -> None:
    rewritten, applied = deploy(recogniser(), PREFIXES["even_frames"], num_frames=None, frame_range=None)
    assert (applied[-1].count, applied[-1].refusals) == (2, ())
    strides = [branch.reduce.stride[0] for branch in rewritten.backbone.gcn[2].tcn.branches]
    assert strides == [1, 2, 1, 2, 1, 2]


def test_no_branch_skips_frames_without_a_stride() -> None:
    _, applied = deploy(recogniser(down_stages=[]), PREFIXES["even_frames"], num_frames=None, frame_range=None)
    assert (applied[-1].count, applied[-1].refusals) == (0, ())


def test_six_branches_of_8_channels_take_three_blocks() -> None:
    rewritten, applied = deploy(
        recogniser(base_channels=48), PREFIXES["packed_branches"], num_frames=None, frame_range=None
    )
    first = rewritten.backbone.gcn[0].tcn
    assert [branch.reduce.out_channels for branch in first.branches] == [16, 16, 16]
    kernels = {
        (branch.temporal.kernel_size[0], branch.temporal.dilation[0])
        for branch in first.branches
        if isinstance(branch.temporal, nn.Conv2d)
    }
    assert kernels == {(7, 1), (5, 2)}
    assert sum(isinstance(branch, PooledTwice) for branch in first.branches) == 1
    assert (applied[-1].count, applied[-1].refusals) == (1, ())  # 16 channels a branch after that: nothing to do


def test_every_convolution_of_a_branch_fills_its_blocks() -> None:
    model = recogniser(base_channels=64, num_stages=2)
    rewritten, _ = deploy(model, PREFIXES["packed_branches"], num_frames=None, frame_range=None)
    for block in rewritten.backbone.gcn:
        for conv in block.tcn.modules():
            if isinstance(conv, nn.Conv2d):
                assert (conv.in_channels % 16, conv.out_channels % 16) == (0, 0)


def test_nothing_to_do_for_unit_tcn() -> None:
    model = recogniser(tcn_type="unit_tcn")
    rewritten, applied = deploy(model, PREFIXES["packed_branches"], num_frames=None, frame_range=None)
    assert [item.count for item in applied[2:]] == [0, 0]
    assert applied[-1].refusals[0] == "backbone.gcn.0.tcn: Conv2d is not a folded mstcn"
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_refuses_a_kernel_that_is_not_centred() -> None:
    lopsided = nn.Conv2d(4, 4, (4, 1), stride=(2, 1), padding=(1, 0))
    branches = Branches([Branch(nn.Conv2d(6, 4, 1), lopsided)], nn.Conv2d(4, 6, 1))
    with pytest.raises(Refusal, match="not centred"):
        pack(branches)


def test_refuses_to_search_through_too_many_branches() -> None:
    branches = Branches([Branch(nn.Conv2d(6, 4, 1), None) for _ in range(9)], nn.Conv2d(36, 6, 1))
    with pytest.raises(Refusal, match="9 branches"):
        pack(branches)
