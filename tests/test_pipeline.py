"""The whole conversion as a library call: what it leaves when it succeeds, and when verification fails."""

from __future__ import annotations

import errno
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from test_clips import people_clip
from tiny import Tiny, left_behind, quiet
from torch import nn

from stgcn_onnx import deploy, pipeline
from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.errors import EnvironmentFault, UsageError, VerificationError
from stgcn_onnx.pipeline import convert
from stgcn_onnx.runtime import Session


def test_a_conversion_leaves_the_file_and_its_report(tiny: Tiny) -> None:
    conversion = convert(tiny.resolve(), quiet())
    assert conversion.output == tiny.output
    assert sorted(path.name for path in tiny.output.parent.iterdir()) == ["tiny.onnx", "tiny.verify.json"]
    content = tiny.output.read_bytes()
    assert conversion.size_bytes == len(content)
    report = json.loads((tiny.output.parent / "tiny.verify.json").read_text())
    assert report["passed"] is True
    assert report["artefact"] == {
        "file": "tiny.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
    assert set(report["rows"][0]) >= {
        *("max_abs", "max_rel", "cosine", "argmax_agreement", "margin", "needed_atol", "rounding_abs", "passed"),
    }
    assert [path.name for path in conversion.sources] == ["tiny.yaml", "tiny.py", "tiny.pth"]
    logits = Session(str(tiny.output)).run(np.zeros((1, 2, 20, 17, 3), np.float32))
    assert logits.shape == (1, 2)


def test_the_file_says_how_to_feed_it(tiny: Tiny) -> None:
    convert(tiny.resolve({"axes.num_frames.dynamic": True}), quiet())
    metadata = read_metadata(onnx.load(tiny.output))
    assert metadata["preset"] == "tiny"
    assert (metadata["opset"], metadata["exporter"], metadata["precision"]) == (17, "torchscript", "fp32")
    assert metadata["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert metadata["config"]["sha256"] == hashlib.sha256(tiny.config.read_bytes()).hexdigest()
    checkpoint = {"file": "tiny.pth", "sha256": hashlib.sha256(tiny.checkpoint.read_bytes()).hexdigest()}
    assert metadata["checkpoint"] == {**checkpoint, "trusted": False}
    assert metadata["axes"]["num_frames"] == {"dynamic": True, "min": 8, "max": 32}
    assert metadata["axes"]["batch_size"]["dynamic"] is False
    clip = metadata["input"]
    assert (clip["name"], clip["traced_shape"], clip["layout"]) == ("input", [1, 2, 20, 17, 3], "coco")
    assert len(clip["joints"]) == 17
    assert clip["joints"][0] == "nose"
    assert [step["type"] for step in clip["pipeline"]][:2] == ["PreNormalize2D", "GenSkeFeat"]
    assert metadata["output"]["classes"] == ["0", "1"]
    assert "logits" in metadata["output"]["meaning"]
    assert metadata["verification"] == {"rtol": 1e-3, "atol": 1e-5}


@pytest.mark.parametrize(
    ("place", "names"),
    [("config", ["peace", "fight"]), ("checkpoint", ["none", "brawl"])],
)
def test_class_names_come_from_the_config_or_the_checkpoint(tiny: Tiny, place: str, names: list[str]) -> None:
    if place == "config":
        tiny.config.write_text(f"{tiny.config.read_text()}class_names = {names!r}\n")
    else:
        content = torch.load(tiny.checkpoint, weights_only=True)
        content["meta"]["dataset_meta"] = {"classes": names}
        torch.save(content, tiny.checkpoint)
    convert(tiny.resolve({"verify.enabled": False}), quiet())
    assert read_metadata(onnx.load(tiny.output))["output"]["classes"] == names


def test_trust_is_recorded_in_the_artefact(tiny: Tiny) -> None:
    convert(tiny.resolve({"model.trust_checkpoint": True, "model.trust_config": True}), quiet())
    metadata = read_metadata(onnx.load(tiny.output))
    assert metadata["checkpoint"]["trusted"] is True
    assert metadata["config"]["trusted"] is True


def test_without_verification_the_file_says_so_and_an_old_report_goes(tiny: Tiny) -> None:
    convert(tiny.resolve(), quiet())
    conversion = convert(tiny.resolve({"verify.enabled": False}), quiet())
    assert conversion.report is None
    assert [path.name for path in tiny.output.parent.iterdir()] == ["tiny.onnx"]
    assert read_metadata(onnx.load(tiny.output))["verification"] == "skipped"


def test_real_clips_are_compared_as_well(tiny: Tiny) -> None:
    clips = tiny.folder / "clips.pkl"
    clips.write_bytes(pickle.dumps([people_clip(f"clip{index}", 1 + index % 2) for index in range(3)]))
    conversion = convert(tiny.resolve({"verify.data": str(clips), "verify.clips": 2}), quiet())
    assert conversion.report is not None
    assert [row.label for row in conversion.report.rows if row.label.startswith("clip")] == ["clip clip0", "clip clip2"]


def break_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrite that gets the second block's temporal convolution wrong."""
    real: Callable[..., Any] = deploy.deploy

    def wrong(model: nn.Module, *arguments: Any, **options: Any) -> Any:
        module, applied = real(model, *arguments, **options)
        weight = module.get_submodule("backbone.gcn.1.tcn.transform.2").weight
        with torch.no_grad():
            weight.view(-1)[weight.abs().argmax()] *= 1.5
        return module, applied

    monkeypatch.setattr(pipeline.deploy, "deploy", wrong)


def test_a_wrong_file_never_appears_and_the_failure_can_be_looked_into(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = tiny.resolve({"export.deploy": "none"})
    convert(resolved, quiet())
    good = tiny.output.read_bytes()
    report = (tiny.output.parent / "tiny.verify.json").read_bytes()
    with monkeypatch.context() as patch:
        break_deployment(patch)
        with pytest.raises(VerificationError) as caught:
            convert(resolved, quiet())
    assert caught.value.code == 6
    assert "first module that diverges: backbone.gcn.1" in caught.value.message
    assert "allowed atol 1e-05 + rtol 0.001" in caught.value.message
    assert tiny.output.read_bytes() == good
    assert (tiny.output.parent / "tiny.verify.json").read_bytes() == report
    assert left_behind(tiny.output.parent) == ["tiny.onnx"]
    failed = json.loads((tiny.output.parent / "tiny.verify.failed.json").read_text())
    assert failed["passed"] is False
    assert failed["artefact"]["sha256"] != hashlib.sha256(good).hexdigest()
    assert failed["first_divergence"]["module"] == "backbone.gcn.1"
    with np.load(tiny.output.parent / "tiny.verify.failed.npz") as arrays:
        assert arrays["input"].shape == (1, 2, 20, 17, 3)
        reference = tiny.load().recogniser(torch.from_numpy(arrays["input"])).detach().numpy()
        np.testing.assert_allclose(arrays["expected"], reference, rtol=1e-4, atol=1e-4)
        assert not np.allclose(arrays["found"], arrays["expected"], rtol=1e-3, atol=1e-5)
    convert(resolved, quiet())
    assert sorted(path.name for path in tiny.output.parent.iterdir()) == ["tiny.onnx", "tiny.verify.json"]


def test_without_an_old_file_a_wrong_one_leaves_no_file_at_all(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    break_deployment(monkeypatch)
    with pytest.raises(VerificationError):
        convert(tiny.resolve({"export.deploy": "none"}), quiet())
    names = sorted(path.name for path in tiny.output.parent.iterdir())
    assert names == ["tiny.verify.failed.json", "tiny.verify.failed.npz"]


def test_a_disk_that_fills_up_while_the_report_is_written(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    convert(tiny.resolve(), quiet())
    good = tiny.output.read_bytes()
    real = Path.write_text

    def full(self: Path, *arguments: Any, **options: Any) -> int:
        if self.name.endswith("verify.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        convert(tiny.resolve({"export.opset": 13}), quiet())
    assert tiny.output.read_bytes() == good
    assert left_behind(tiny.output.parent) == ["tiny.onnx"]


def test_the_device_and_the_opset_are_checked_before_anything_is_made(tiny: Tiny) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(EnvironmentFault, match="device cuda:0"):
            convert(tiny.resolve({"device": "cuda:0"}), quiet())
    with pytest.raises(UsageError, match=r"export\.opset is 99"):
        convert(tiny.resolve({"export.opset": 99}), quiet())
    assert not tiny.output.parent.exists()
