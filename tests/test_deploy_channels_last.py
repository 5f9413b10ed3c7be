"""Twin of scripts/stgcn_onnx/deploy/channels_last.py and row_modules.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deploy_models import RELATIVE_LIMIT, largest_error, recogniser

from stgcn_onnx.deploy import OPENVINO_REWRITES, deploy, names
from stgcn_onnx.deploy.row_modules import RowBackbone, RowRankGraphConv, from_rows, to_rows

ALL = names(OPENVINO_REWRITES)
CHOSEN = ALL[: ALL.index("channels_last") + 1]
CASES: list[dict[str, Any]] = [
    {},
    {"gcn_conv_pos": "post"},
    {"gcn_with_res": False},
    {"gcn_adaptive": "offset"},
    {"gcn_adaptive": "importance", "inflate_stages": []},
    {"gcn_adaptive": None},
    {"tcn_type": "unit_tcn", "down_stages": [2, 3]},
    {"base_channels": 10, "down_stages": [2, 3]},
    {"in_channels": 8},
    {"in_channels": 8, "data_bn_type": None},
    {"data_bn_type": "MVC", "num_person": 3},
    {"base_channels": 64, "num_stages": 3, "inflate_stages": [3], "down_stages": [3]},
]


def test_rows_and_back() -> None:
    maps = torch.randn(17, 5, 2, 7)
    rows = to_rows(maps)
    assert rows.shape == (17, 70)
    assert torch.equal(rows[3, 5 * 8 : 5 * 9], maps[3, :, 1, 1]), "row v holds frame after frame, C values each"
    assert torch.equal(from_rows(rows, 5, 7), maps)


@pytest.mark.parametrize(("chosen", "frames"), [(CHOSEN, 13), (ALL, 12)], ids=["backbone-13", "all-12"])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_same_function_in_float64(options: dict[str, Any], chosen: tuple[str, ...], frames: int) -> None:
    model = recogniser(**options)
    rewritten, applied = deploy(model, chosen, num_frames=frames, frame_range=None, rewrites=OPENVINO_REWRITES)
    done = {item.name: item for item in applied}["channels_last"]
    assert (done.count, done.refusals) == (1, ())
    assert isinstance(rewritten.backbone, RowBackbone)
    channels = options.get("in_channels", 2)
    assert largest_error(model, rewritten, frames=(frames,), channels=channels) < RELATIVE_LIMIT


def test_a_convolution_for_each_mixture() -> None:
    model = recogniser(base_channels=64, num_stages=2, inflate_stages=[], down_stages=[])
    rewritten, _ = deploy(model, "all", num_frames=12, frame_range=None, rewrites=OPENVINO_REWRITES)
    unit = rewritten.backbone.gcn[1].gcn
    assert isinstance(unit, RowRankGraphConv)
    assert unit.sizes == (3, 10, 64, 64, 12), "30 terms of 10 mixtures, where joint_rank alone takes 27"


def test_any_batch_goes_through_the_same_modules() -> None:
    model = recogniser()
    rewritten, _ = deploy(model, "all", num_frames=12, frame_range=None, rewrites=OPENVINO_REWRITES)
    for batch in (1, 3):
        assert largest_error(model, rewritten, frames=(12,), batch=batch) < RELATIVE_LIMIT


def test_refuses_free_frames_and_another_layout() -> None:
    model = recogniser()
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=(8, 16), rewrites=OPENVINO_REWRITES)
    assert applied[-1].refusals == ("backbone: T is free, and transpositions vanish in files of fixed size only",)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT
    model.backbone.gcn[1].gcn.act = torch.nn.GELU()
    _, applied = deploy(model, CHOSEN, num_frames=12, frame_range=None, rewrites=OPENVINO_REWRITES)
    assert applied[-1].refusals == ("backbone: STGCN is not in the layout of joint_major",)


def test_another_number_of_frames_is_an_error() -> None:
    rewritten, _ = deploy(recogniser(), CHOSEN, num_frames=12, frame_range=None, rewrites=OPENVINO_REWRITES)
    with pytest.raises(ValueError, match="compiled for 12 frames, not 13"):
        rewritten.backbone.fix_frames(13)
