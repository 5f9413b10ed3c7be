"""Twin of scripts/stgcn_onnx/deploy/batch_norm.py and graph_conv.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deploy_models import PREFIXES, RELATIVE_LIMIT, clip, largest_error, recogniser, relative_error
from torch import nn

from stgcn_onnx.deploy import deploy

CHOSEN = PREFIXES["fold_batch_norm"]

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
    {"tcn_ms_cfg": [(5, 1), (3, 2), "1x1", ("max", 3)]},
    {"tcn_dropout": 0.3},
    {"data_bn_type": "MVC", "num_person": 3},
    {"data_bn_type": None},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_same_function_in_float64(options: dict[str, Any]) -> None:
    model = recogniser(**options)
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert applied[-1].count >= 4
    assert not applied[-1].refusals
    norms = [name for name, module in rewritten.backbone.gcn.named_modules() if "BatchNorm" in type(module).__name__]
    assert norms == []
    assert largest_error(model, rewritten, channels=options.get("in_channels", 2)) < RELATIVE_LIMIT


@pytest.mark.parametrize("mode", ["spatial", "stgcn_spatial", "binary_adj"])
def test_any_number_of_subsets(mode: str) -> None:
    model = recogniser(mode=mode)
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


@pytest.mark.parametrize("scale_sign", [1, -1])
@pytest.mark.parametrize("shift_sign", [1, -1])
def test_each_row_of_the_table_for_the_pooled_branch(scale_sign: int, shift_sign: int) -> None:
    model = recogniser()
    with torch.no_grad():
        for block in model.backbone.gcn:
            norm = block.tcn.transform[0]
            norm.weight.copy_(scale_sign * norm.weight.abs())
            norm.running_mean.zero_()
            norm.bias.copy_(shift_sign * norm.bias.abs())
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_blocks_compare_one_by_one() -> None:
    model = recogniser()
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    x = torch.randn(4, 2, 12, 17, dtype=torch.float64)
    with torch.no_grad():
        for original, block in zip(model.backbone.gcn, rewritten.backbone.gcn, strict=True):
            y = original(x)
            assert relative_error(block(x), y) < RELATIVE_LIMIT
            x = y


def test_another_norm_is_left_alone_with_a_note() -> None:
    model = recogniser(gcn_norm={"type": "GN", "num_groups": 2}, tcn_type="unit_tcn")
    model.backbone.gcn[1].tcn.bn = nn.GroupNorm(2, 16).double()
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert "backbone.gcn.0.gcn: its norm is GroupNorm, not BatchNorm" in applied[-1].refusals
    assert "backbone.gcn.1.tcn: its norm is GroupNorm, not BatchNorm" in applied[-1].refusals
    with torch.no_grad():
        assert relative_error(rewritten(clip()), model(clip())) < RELATIVE_LIMIT
