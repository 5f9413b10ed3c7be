"""Twin of scripts/stgcn_onnx/deploy/__init__.py: choosing, order, and models with unknown parts."""

from __future__ import annotations

import copy

import pytest
import torch
from deploy_models import RELATIVE_LIMIT, clip, recogniser, relative_error

from stgcn_onnx.deploy import REQUIRED_BELOW_OPSET_12, REWRITES, deploy, names, resolve
from stgcn_onnx.errors import UsageError


def test_all_and_none() -> None:
    assert resolve("all") == names()
    assert resolve("none") == ()
    assert resolve(["all"]) == names()
    assert resolve([]) == ()


def test_the_order_is_that_of_the_list_of_rewrites() -> None:
    assert resolve(["fold_batch_norm", "einsum_free"]) == ("einsum_free", "fold_batch_norm")
    for index, rewrite in enumerate(REWRITES):
        assert set(rewrite.requires) <= set(names()[:index])
    assert resolve(REQUIRED_BELOW_OPSET_12) == REQUIRED_BELOW_OPSET_12


def test_an_unknown_name_gets_the_closest_match() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(["einsum_free", "fold_batchnorm"])
    assert caught.value.message == "deploy: 'fold_batchnorm' is not a rewrite; did you mean 'fold_batch_norm'?"
    assert "absent_people" in caught.value.hint


def test_a_name_without_the_one_it_requires() -> None:
    with pytest.raises(UsageError, match="'fold_batch_norm' requires 'einsum_free', which is not chosen") as caught:
        deploy(recogniser(), ["fold_batch_norm"], num_frames=12, frame_range=None)
    assert caught.value.hint == "add einsum_free to the list, or use all"


def test_the_original_is_not_touched() -> None:
    model = recogniser()
    before = copy.deepcopy(model.state_dict())
    rewritten, applied = deploy(model, "all", num_frames=12, frame_range=None)
    assert [item.name for item in applied] == list(names())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert type(model.backbone).__name__ == "STGCN"
    assert not rewritten.training


def test_block_paths_stay() -> None:
    model = recogniser()
    rewritten, _ = deploy(model, "all", num_frames=12, frame_range=None)
    blocks = {name for name, _ in model.named_modules() if name.count(".") == 2}
    assert blocks
    assert blocks <= {name for name, _ in rewritten.named_modules()}


def test_none_is_a_copy() -> None:
    model = recogniser()
    rewritten, applied = deploy(model, "none", num_frames=12, frame_range=None)
    assert applied == ()
    with torch.no_grad():
        assert torch.equal(rewritten(clip()), model(clip()))


def test_all_in_float64() -> None:
    model = recogniser(base_channels=64, num_stages=4, inflate_stages=[4], down_stages=[4])
    rewritten, applied = deploy(model, "all", num_frames=None, frame_range=(9, 12))
    assert all(item.count > 0 and not item.refusals for item in applied)
    with torch.no_grad():
        for frames in (9, 12):
            assert relative_error(rewritten(clip(frames=frames)), model(clip(frames=frames))) < RELATIVE_LIMIT


def test_a_model_of_unknown_parts_converts_unharmed_with_notes() -> None:
    from mmaction.models.backbones.aagcn import AAGCN

    model = recogniser()
    model.backbone = AAGCN(
        graph_cfg={"layout": "coco", "mode": "spatial"},
        in_channels=2,
        base_channels=8,
        num_stages=3,
        inflate_stages=[2],
        down_stages=[3],
        num_person=2,
    ).double()
    model.eval()
    rewritten, applied = deploy(model, "all", num_frames=12, frame_range=None)
    assert [item.count for item in applied] == [0] * len(REWRITES)
    assert all(item.refusals for item in applied)
    assert "backbone: AAGCN is not STGCN" in applied[names().index("joint_major")].refusals
    with torch.no_grad():
        assert torch.equal(rewritten(clip(persons=2)), model(clip(persons=2)))
