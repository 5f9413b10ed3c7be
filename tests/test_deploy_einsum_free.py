"""Twin of scripts/stgcn_onnx/deploy/einsum_free.py."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from deploy_models import RELATIVE_LIMIT, clip, recogniser, relative_error

from stgcn_onnx.deploy import REQUIRED_BELOW_OPSET_12, deploy

CASES: list[dict[str, Any]] = [
    {"gcn_adaptive": adaptive, "gcn_conv_pos": position, "gcn_with_res": residual}
    for adaptive in (None, "init", "offset", "importance")
    for position in ("pre", "post")
    for residual in (False, True)
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_same_function_in_float64(options: dict[str, Any]) -> None:
    model = recogniser(**options)
    rewritten, (applied,) = deploy(model, ["einsum_free"], num_frames=None, frame_range=None)
    assert (applied.count, applied.refusals) == (3, ())
    with torch.no_grad():
        for frames in (12, 5):
            x = clip(frames=frames)
            assert relative_error(rewritten(x), model(x)) < RELATIVE_LIMIT


@pytest.mark.parametrize("mode", ["spatial", "stgcn_spatial", "binary_adj"])
def test_any_number_of_subsets(mode: str) -> None:
    model = recogniser(mode=mode)
    rewritten, _ = deploy(model, ["einsum_free"], num_frames=None, frame_range=None)
    with torch.no_grad():
        assert relative_error(rewritten(clip()), model(clip())) < RELATIVE_LIMIT


def test_nothing_to_do_for_another_graph_convolution() -> None:
    from mmaction.models.backbones.aagcn import AAGCN
    from mmaction.models.heads.gcn_head import GCNHead

    model = recogniser()
    model.backbone = AAGCN(
        graph_cfg={"layout": "coco", "mode": "spatial"}, in_channels=2, base_channels=8, num_stages=2
    ).double()
    model.head = GCNHead(2, 8).double()
    model.eval()
    rewritten, (applied,) = deploy(model, ["einsum_free"], num_frames=None, frame_range=None)
    assert applied.count == 0
    assert applied.refusals[0] == "backbone.gcn.0: its graph convolution is unit_aagcn, not unit_gcn"
    with torch.no_grad():
        assert torch.equal(rewritten(clip(persons=2)), model(clip(persons=2)))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("position", ["pre", "post"])
def test_exports_at_opset_11(dynamic: bool, position: str) -> None:
    model = recogniser(gcn_conv_pos=position).float()
    rewritten, _ = deploy(model, REQUIRED_BELOW_OPSET_12, num_frames=None if dynamic else 12, frame_range=None)
    buffer = io.BytesIO()
    axes = {"input": {0: "batch_size", 2: "num_frames"}, "output": {0: "batch_size"}} if dynamic else None
    torch.onnx.export(
        rewritten,
        (clip(frames=12).float(),),
        buffer,
        opset_version=11,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
    )
    graph = onnx.load_from_string(buffer.getvalue()).graph
    assert "Einsum" not in {node.op_type for node in graph.node}
    session = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    for batch, frames in ((2, 12), (1, 7), (3, 20)) if dynamic else ((2, 12),):
        x = clip(batch=batch, frames=frames).float()
        with torch.no_grad():
            expected = model(x).numpy()
        (found,) = session.run(None, {"input": x.numpy()})
        assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-5
