"""Twin of scripts/stgcn_onnx/deploy/joint_rank.py and tensor_rank.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from deploy_models import PREFIXES, RELATIVE_LIMIT, largest_error, recogniser

from stgcn_onnx.deploy import REWRITES, deploy, joint_rank
from stgcn_onnx.deploy.joint_rank import JointRankGraphConv
from stgcn_onnx.deploy.tensor_rank import decompose, groupings

CHOSEN = PREFIXES["joint_rank"]
WIDE: dict[str, Any] = {"base_channels": 64, "num_stages": 2, "inflate_stages": [], "down_stages": []}


def adjacencies(subsets: int = 3, joints: int = 17, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).standard_normal((subsets, joints, joints))


@pytest.mark.parametrize("seed", range(2))
def test_terms_sum_to_the_adjacencies(seed: int) -> None:
    target = adjacencies(seed=seed)
    terms = decompose(target, 5, 7)
    assert terms is not None and terms.count == 35
    assert np.abs(terms.tensor() - target).max() < 1e-13 * np.abs(target).max()
    assert terms.gain() < 12


def test_too_few_terms_are_not_found() -> None:
    assert decompose(adjacencies(), 4, 6) is None


def test_no_terms_for_adjacencies_of_zeros() -> None:
    assert decompose(np.zeros((3, 17, 17)), 4, 9) is None


def test_the_same_terms_each_time() -> None:
    one, other = decompose(adjacencies(), 5, 7), decompose(adjacencies(), 5, 7)
    assert one is not None and other is not None
    assert np.array_equal(one.left, other.left) and np.array_equal(one.mixtures, other.mixtures)


def test_what_another_processor_rounds_otherwise_shows_in_no_float32() -> None:
    target = adjacencies()
    nearly = np.nextafter(target, np.inf)
    one, other = decompose(target, 10, 3), decompose(nearly, 10, 3)
    assert one is not None and other is not None
    for part in ("mixtures", "left", "right"):
        assert np.array_equal(getattr(one, part).astype(np.float32), getattr(other, part).astype(np.float32)), part
        assert np.abs(getattr(one, part) - getattr(other, part)).max() < 1e-12


def test_groupings_save_a_quarter_or_are_none() -> None:
    assert list(groupings(3, 17, 5)) == [(5, 7)]
    assert next(groupings(3, 17, 15)) == (10, 3)
    assert next(groupings(4, 17, 20)) == (20, 2)
    assert list(groupings(1, 17, 3)) == []
    assert all(groups * rank <= 0.75 * 3 * 25 for groups, rank in groupings(3, 25, 5))


@pytest.mark.parametrize(
    "options",
    [
        {"gcn_adaptive": None},
        {"gcn_adaptive": "init", "gcn_conv_pos": "post"},
        {"gcn_adaptive": "offset", "gcn_with_res": False},
        {"gcn_adaptive": "importance", "tcn_type": "unit_tcn", "mode": "stgcn_spatial"},
    ],
    ids=str,
)
def test_same_function_in_float64(options: dict[str, Any]) -> None:
    model = recogniser(**WIDE, **options)
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert (applied[-1].count, applied[-1].refusals) == (1, ())
    assert isinstance(rewritten.backbone.gcn[1].gcn, JointRankGraphConv)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


@pytest.mark.parametrize("options", [{}, {"gcn_adaptive": "offset"}, {"gcn_with_res": False}], ids=str)
def test_a_block_that_widens(options: dict[str, Any]) -> None:
    model = recogniser(base_channels=64, num_stages=2, inflate_stages=[2], down_stages=[2], **options)
    rewritten, applied = deploy(model, CHOSEN, num_frames=12, frame_range=None)
    assert (applied[-1].count, applied[-1].refusals) == (1, ())
    assert largest_error(model, rewritten, frames=(12,)) < RELATIVE_LIMIT
    unit = rewritten.backbone.gcn[1].gcn
    assert unit.residual is None, "it is one of the subsets"
    if options.get("gcn_with_res", True):
        assert unit.added is None, "with the identity among the adjacencies the convolution takes the whole bias"


def test_the_bias_of_an_unchanged_width_is_added_to_the_residual() -> None:
    few = [joint_rank.rewrite(most_mixtures=10) if item.name == "joint_rank" else item for item in REWRITES]
    rewritten, _ = deploy(recogniser(**WIDE), CHOSEN, num_frames=None, frame_range=None, rewrites=few)
    unit = rewritten.backbone.gcn[1].gcn
    assert unit.bias is None and unit.added.shape == (17, 64, 1, 1)


def test_as_many_groups_as_terms_take_any_bias() -> None:
    model = recogniser(**WIDE)
    rewritten, _ = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    unit = rewritten.backbone.gcn[1].gcn
    assert len(unit.mixtures) == 27 and unit.added is None
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_a_layer_mixes_no_more_weights_than_loading_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_rank, "_MOST_MIXED", 5 * 64 * 64)
    rewritten, _ = deploy(recogniser(**WIDE), CHOSEN, num_frames=None, frame_range=None)
    assert len(rewritten.backbone.gcn[1].gcn.mixtures) == 5


def test_turned_terms_sum_to_the_same_and_keep_constants() -> None:
    terms = decompose(adjacencies(), 10, 3)
    assert terms is not None
    ones = np.einsum("kj,wji->kw", terms.mixtures, terms.right)
    assert np.allclose(ones, adjacencies().sum(axis=1), rtol=0, atol=1e-12)


def test_nothing_to_do_for_few_channels_or_one_subset() -> None:
    for options in ({"base_channels": 12}, {**WIDE, "mode": "binary_adj"}):
        model = recogniser(**options)
        rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
        assert (applied[-1].count, applied[-1].refusals) == (0, ())
        assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_refuses_where_no_terms_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint_rank, "decompose", lambda *_: None)
    model = recogniser(**WIDE)
    rewritten, applied = deploy(model, CHOSEN, num_frames=None, frame_range=None)
    assert applied[-1].refusals == ("backbone.gcn.1.gcn: no 27 terms were found that sum to its adjacencies",)
    assert largest_error(model, rewritten) < RELATIVE_LIMIT


def test_rounding_in_float32_stays_small() -> None:
    model = recogniser(**WIDE)
    rewritten, _ = deploy(model.float(), CHOSEN, num_frames=None, frame_range=None)
    exact = recogniser(**WIDE)
    x = torch.randn(1, 2, 12, 17, 2)
    with torch.no_grad():
        expected = exact(x.double())
        error = float((rewritten(x).double() - expected).abs().max() / expected.abs().max())
    assert error < 3e-6
