"""For OpenVINO: between the convolutions a row per joint, ``(V, P * T * C)``, with channels last.

OpenVINO keeps the feature maps of its convolutions with channels last, and takes a transposition out of the graph where
it is what separates that order from the plain one. Products over joints multiply rows, whatever their columns are. So
with

    rows[v, (p, t, c)] = x[v, c, p, t]

a graph convolution by terms (joint_rank.py) is ``right @ conv(left @ rows)`` without a value that moves for the sake of
its place. Three things keep it so: a convolution for each mixture of the weights, since those of one convolution in
groups lie side by side where the product wants them below each other; residuals that are added to rows, since OpenVINO
leaves a transposition behind a convolution that adds; and the map in front of the first block as one product per joint.

Only where every size is known beforehand: OpenVINO takes no transposition out of a graph with free axes, and its
kernels for them cost 2 ms of 17 here. So the people who are absent are computed (absent_people.py is not for this
runtime).

Time of the demo network in OpenVINO, f32 and bf16, over the plain export's (smallest of five processes that took
turns): as onnxruntime takes it best 0.82 and 0.85, the same with fixed sizes 0.78 and 0.77, here 0.69 and 0.60. In
onnxruntime it takes 1.6 times what joint_rank takes.

What lost, f32: a MatMul for each term with channels last 0.87; feature maps ``(V, P, T, C)`` in place of rows, which
OpenVINO arranges once more, 1.00; five mixtures of seven terms, and blocks that widen without terms, 0.76.

Refused without joint_major, and with free frames.
"""

from __future__ import annotations

import torch
from torch import nn

from stgcn_onnx.deploy.joint_modules import JointBackbone
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite
from stgcn_onnx.deploy.row_modules import RowBackbone, RowBlock, RowMap

NAME = "channels_last"


def _block_sizes(backbone: JointBackbone, num_frames: int) -> list[tuple[int, int]]:
    """Channels and frames in front of each block, and behind the last."""
    sizes: list[tuple[int, int]] = []
    handles = [
        block.register_forward_pre_hook(lambda _, inputs: sizes.append((inputs[0].shape[1], inputs[0].shape[3])))
        for block in backbone.gcn
    ]
    like = next(backbone.parameters())
    with torch.no_grad():
        y = backbone.trunk(torch.zeros(1, num_frames, *backbone.input_shape, dtype=like.dtype, device=like.device))
    for handle in handles:
        handle.remove()
    return [*sizes, (y.shape[1], y.shape[3])]


def to_rows_of_joints(backbone: nn.Module, num_frames: int | None) -> RowBackbone:
    """The whole backbone.

    Raises:
        Refusal: see the last paragraph above.
    """
    if type(backbone) is not JointBackbone:
        raise Refusal(f"{type(backbone).__name__} is not in the layout of joint_major")
    if num_frames is None:
        raise Refusal("T is free, and transpositions vanish in files of fixed size only")
    sizes = _block_sizes(backbone, num_frames)
    blocks = [RowBlock(block, *size) for block, size in zip(backbone.gcn, sizes, strict=False)]
    entry = None if backbone.entry is None else RowMap(backbone.entry)
    rewritten = RowBackbone(backbone.affine, entry, blocks, backbone.input_shape, num_frames, sizes[-1])
    rewritten.eval()
    return rewritten


def _apply(model: nn.Module, context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    with ledger.refusing("backbone"):
        model.backbone = to_rows_of_joints(model.backbone, context.num_frames)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("joint_major",), apply=_apply)
