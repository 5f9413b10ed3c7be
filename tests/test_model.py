"""The network that is exported: what it computes, its shape, and configs that do not fit what was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import CONFIG, Tiny

from stgcn_onnx.config import load_config
from stgcn_onnx.errors import CheckpointError, UsageError
from stgcn_onnx.model import (
    ClipShape,
    LoadedModel,
    build_network,
    graph_layout,
    load_model,
    pipeline_person_count,
)
from stgcn_onnx.model import test_pipeline as pipeline_of
from stgcn_onnx.preset import InputShape, ModelSource


def test_it_computes_what_mmaction2_predicts(loaded: LoadedModel, tiny_source: Tiny) -> None:
    network = build_network(load_config(tiny_source.config))
    network.load_state_dict(torch.load(tiny_source.checkpoint, weights_only=True)["state_dict"])
    clips = torch.randn(3, *loaded.shape.sizes()[1:], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        # RecognizerGCN takes (N, clips, M, T, V, C); one clip of each sample.
        features, _ = network.extract_feat(clips[:, None])
        expected = network.cls_head(features)
        assert torch.equal(loaded.recogniser(clips), expected)
    assert expected.shape == (3, loaded.num_classes) == (3, 2)


def test_the_model_is_in_evaluation_mode(loaded: LoadedModel) -> None:
    assert not any(module.training for module in loaded.recogniser.modules())


def test_people_joints_and_channels_come_from_the_config(loaded: LoadedModel) -> None:
    assert loaded.shape == ClipShape(batch=1, person=2, frames=20, joints=17, channels=3)
    assert str(loaded.shape) == "[1, 2, 20, 17, 3]"
    assert loaded.shape.with_sizes(batch=4, frames=9) == ClipShape(4, 2, 9, 17, 3)


@pytest.mark.parametrize(
    ("edit", "field", "value"),
    [
        (("num_person=2", "num_person=5"), "person", 5),
        (("type='STGCN',", "type='STGCN', in_channels=2,"), "channels", 2),
        (("layout='coco'", "layout='nturgb+d'"), "joints", 25),
        (("layout='coco'", "layout='openpose'"), "joints", 18),
    ],
)
def test_another_config_gives_another_shape(tmp_path: Path, edit: tuple[str, str], field: str, value: int) -> None:
    config = tmp_path / "own.py"
    config.write_text(CONFIG.replace(*edit), encoding="utf-8")
    torch.save(build_network(load_config(config)).state_dict(), tmp_path / "own.pth")
    source = ModelSource(config=str(config), checkpoint=str(tmp_path / "own.pth"))
    model = load_model(source, InputShape(num_frames=12))
    assert getattr(model.shape, field) == value
    assert model.shape.frames == 12


def test_the_number_of_people_can_be_chosen(tiny_source: Tiny) -> None:
    assert tiny_source.load({"input.num_person": 3}).shape.person == 3


def test_a_number_of_people_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "own.py"
    config.write_text(CONFIG.replace("type='STGCN',", "type='STGCN', data_bn_type='MVC',"), encoding="utf-8")
    torch.save(build_network(load_config(config)).state_dict(), tmp_path / "own.pth")
    source = ModelSource(config=str(config), checkpoint=str(tmp_path / "own.pth"))
    assert load_model(source, InputShape(num_frames=12)).shape.person == 2
    message = r"own\.py: the network cannot take \[1, 3, 12, 17, 3\] \[N, M, T, V, C\]: "
    with pytest.raises(UsageError, match=message) as caught:
        load_model(source, InputShape(num_frames=12, num_person=3))
    assert caught.value.hint == "change input.num_frames or input.num_person"


def test_frames_below_what_the_network_can_take_are_refused(tmp_path: Path) -> None:
    """One stage with a pooling branch four frames wide: a single frame, padded, is too short for it."""
    config = tmp_path / "own.py"
    text = CONFIG.replace("tcn_type='mstcn',", "tcn_type='mstcn', tcn_ms_cfg=[[('max', 4)]],")
    text = text.replace("num_stages=3", "num_stages=1").replace("in_channels=16", "in_channels=8")
    text = text.replace("inflate_stages=[2]", "inflate_stages=[]").replace("down_stages=[3]", "down_stages=[]")
    config.write_text(text, encoding="utf-8")
    network = build_network(load_config(config))
    torch.save(network.state_dict(), tmp_path / "own.pth")
    source = ModelSource(config=str(config), checkpoint=str(tmp_path / "own.pth"))
    assert load_model(source, InputShape(num_frames=20)).shape.frames == 20
    with pytest.raises(UsageError, match=r"the network cannot take \[1, 2, 1, 17, 3\]") as caught:
        load_model(source, InputShape(num_frames=1))
    assert "input.num_frames" in caught.value.hint


def test_a_checkpoint_of_another_architecture_never_gets_through(tiny: Tiny) -> None:
    tiny.config.write_text(CONFIG.replace("num_stages=3", "num_stages=4"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"does not fit the model of .*tiny\.py: \d+ missing: .*gcn\.3\."):
        tiny.load()


def test_the_layout_and_the_pipeline_are_found(loaded: LoadedModel, tmp_path: Path) -> None:
    assert graph_layout(loaded.config) == "coco"
    assert pipeline_of(loaded.config)[0]["type"] == "PreNormalize2D"
    without = tmp_path / "own.py"
    without.write_text("val_pipeline = [dict(type='FormatGCNInput')]\n", encoding="utf-8")
    assert pipeline_of(load_config(without)) == [{"type": "FormatGCNInput"}]


def test_the_number_of_people_is_found_in_wrapped_transforms() -> None:
    wrapped = [{"type": "A"}, {"type": "KeyMapper", "transforms": [{"type": "FormatGCNInput", "num_person": 4}]}]
    assert pipeline_person_count(wrapped) == 4
    assert pipeline_person_count([{"type": "FormatGCNInput"}]) == 2, "MMAction2's own default"
    assert pipeline_person_count([{"type": "A"}]) is None
