"""The backbone for 8-bit arithmetic: in its own layout ``(P, C, T, V)``, each graph convolution in two products.

    y[c', t, w] = sum_{v, k} A_k[v, w] (W_k x + b_k)[c', t, v]

Channels first, then joints: one 1x1 convolution to ``K C'`` channels; of its result, with channels last, the rows
``(v, k)`` of a frame lie below each other, so one matrix ``(V, V K)`` finishes the frame without a transpose. The
residual is one more subset: its weights (the identity, or the residual's convolution) with the identity as adjacency.
So no sum is left, and each value is rounded to 8 bits twice.

Runtimes keep 8-bit convolutions with channels last inside (onnxruntime's NHWC kernels). The transposes written here
are the inverse of those that they insert, and vanish; in the layout of joint_major.py they stay, with a product over
K = 17 rows that is slow in 8 bits: see issue 4.

The bias ``B[c', w]`` that BatchNorm leaves (graph_conv.py) is spread over the subsets, ``B[c', w] = sum_k b_k[c']
sum_v A_k[v, w]`` by least squares, exactly so for ``gcn_conv_pos='pre'``; what is left over is added behind.

The first block begins as that of joint_major.py, with one matrix per frame, which a quantiser can leave in float at
little cost: 8 bits of a coordinate are too few.

Refused as a whole where joint_major.py refuses.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from stgcn_onnx.deploy.frame_modules import FrameBackbone, FrameBlock, FrameEntry, FrameGraphConv
from stgcn_onnx.deploy.graph_conv import OneConvGraphConv
from stgcn_onnx.deploy.input_norm import input_norm
from stgcn_onnx.deploy.joint_major import LARGEST_GAIN, SOLVED, block_residual, check_backbone, first_graph_conv
from stgcn_onnx.deploy.modules import Branches
from stgcn_onnx.deploy.numeric import Affine, float64, is_centred, make_conv
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite

NAME = "frame_major"


def subsets_of(unit: OneConvGraphConv) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``W_k`` ``(K, C', C)``, ``A_k`` ``(K, V, V)`` and ``B`` ``(C', V)`` in float64, the residual as last subset."""
    weight, adjacency, bias = float64(unit.weight), float64(unit.adjacency), float64(unit.bias)
    if unit.residual is None:
        return weight, adjacency, bias
    like = {"dtype": torch.float64, "device": weight.device}
    last = torch.eye(weight.shape[1], **like)
    if not isinstance(unit.residual, nn.Identity):
        last = float64(unit.residual.weight)[:, :, 0, 0]
        bias = bias + float64(unit.residual.bias)[:, None]
    identity = torch.eye(adjacency.shape[1], **like)
    return torch.cat([weight, last[None]]), torch.cat([adjacency, identity[None]]), bias


def spread_over_subsets(
    adjacency: torch.Tensor, bias: torch.Tensor, rounding: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Biases ``b_k`` ``(K, C')`` of the subsets, and what of ``B`` they leave, ``(V, C')``, or None.

    Args:
        adjacency: ``(K, V, V)``, float64.
        bias: ``B``, ``(C', V)``, float64.
        rounding: share of the largest bias that is none but the rounding of the weights.
    """
    reached = adjacency.sum(dim=1).T  # (K, V, W) -> (W, K)
    found = torch.linalg.pinv(reached) @ bias.T
    size = bias.abs().max()
    if found.abs().max() > LARGEST_GAIN * size:
        return torch.zeros_like(found), bias.T
    rest = bias.T - reached @ found
    return found, None if rest.abs().max() <= rounding * size else rest


def _graph_conv(unit: OneConvGraphConv) -> nn.Module:
    weight, adjacency, bias = subsets_of(unit)
    joints, dtype = adjacency.shape[1], unit.weight.dtype
    spread, rest = spread_over_subsets(adjacency, bias, max(SOLVED, torch.finfo(dtype).eps))
    conv = make_conv(weight.flatten(0, 1)[:, :, None, None], spread.flatten(), like=unit)
    mixing = adjacency.permute(2, 1, 0).reshape(joints, -1)  # (K, V, W) -> (W, V*K)
    return FrameGraphConv(conv, mixing.to(dtype).contiguous(), None if rest is None else rest.to(dtype))


def _entry(unit: OneConvGraphConv, affine: Affine) -> nn.Module:
    """The first block; `affine` is the input's normalisation, scale and shift ``(V, C)`` float64."""
    entry, conv = first_graph_conv(unit, *affine)
    linear = nn.utils.skip_init(nn.Linear, conv.in_channels, conv.out_channels, dtype=conv.weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(conv.weight[:, :, 0, 0])  # (C', Q, 1, 1) -> (C', Q)
        linear.bias.copy_(torch.zeros_like(linear.bias) if conv.bias is None else conv.bias)
    return FrameEntry(entry, linear.requires_grad_(False), len(affine[0]))


def stride_of(tcn: nn.Module) -> int:
    """Input frames per output frame of a folded temporal convolution.

    Raises:
        Refusal: when its kernel is not centred, so that T frames do not become ``ceil(T / stride)``.
    """
    convs = [tcn]
    if isinstance(tcn, Branches):
        convs = [part for part in (tcn.branches[0].reduce, tcn.branches[0].temporal) if part is not None]
    for conv in convs:
        if isinstance(conv, nn.Conv2d) and not is_centred(conv):
            raise Refusal("a temporal kernel is not centred on its frame")
    strides = (conv.stride if isinstance(conv.stride, int) else conv.stride[0] for conv in convs)
    return math.prod(strides)


def to_frame_major(backbone: nn.Module, context: FrameContext) -> FrameBackbone:
    """The whole backbone.

    Raises:
        Refusal: see the last paragraph above.
    """
    check_backbone(backbone)
    norm = input_norm(backbone)
    first, residual = backbone.gcn[0], block_residual(backbone.gcn[0])
    if residual is None and not isinstance(first.gcn.residual, nn.Identity):
        affine, gcn = norm.ahead, _entry(first.gcn, norm.inside)
    else:
        affine, gcn = norm.whole, _graph_conv(first.gcn)
    blocks = [FrameBlock(gcn, first.tcn, residual, stride_of(first.tcn))]
    for block in backbone.gcn[1:]:
        blocks.append(FrameBlock(_graph_conv(block.gcn), block.tcn, block_residual(block), stride_of(block.tcn)))
    rewritten = FrameBackbone(affine, blocks, (backbone.graph.num_node, backbone.in_channels))
    rewritten.eval()
    rewritten.fix_frames(context.num_frames)
    return rewritten


def _apply(model: nn.Module, context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    with ledger.refusing("backbone"):
        model.backbone = to_frame_major(model.backbone, context)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("fold_batch_norm",), apply=_apply)
