"""The backbone in the layout ``(V, C, P, T)``: joints first, people and frames last (P people of all clips, N * M).

In the original layout ``(P, C, T, V)`` the adjacency multiplies the innermost axis, which has only V = 17 columns.
Joints first, it is one matrix from the left, ``(K V, V) @ (V, C P T)``, whose columns are long; its result, with
rows ordered (joint, subset), *is* ``(V, K C, P, T)``, so that a 1x1 convolution follows without a transpose; the
residual and the rectifier fuse into that convolution; and what is constant per joint is added over runs of P T
values. Temporal convolutions turn their kernel by a right angle.

The bias ``B[c', w]`` per channel and joint that BatchNorm leaves behind (graph_conv.py) is added where it does not
part the convolution from its residual: as ``d`` with ``sum_k W_k d_k = B``, in front of the convolution (least
norm, float64). Where there is no such ``d`` (fewer than C' columns) it is added behind.

The first block, which has few channels, joins the normalisation of the input (``data_bn``, scale g and shift h per
joint and channel) and its adjacencies into one matrix per frame, ``(V C) -> (V Q)``; channels that are constant in
x carry its bias. A per-person normalisation (``data_bn_type='MVC'``) stays in front as one scale and one shift.

Time of the demo network in this layout against the original one (graph_conv.py), both with every BatchNorm folded:
0.91 (onnxruntime, one thread, processor time). What lost: the residual of a block that widens C as one more subset
with the identity as adjacency, and the bias behind the convolution, together 1.03.

Refused as a whole when any block is not folded, or rectifies by something else than ReLU.
"""

from __future__ import annotations

import torch
from torch import nn

from stgcn_onnx.deploy.graph_conv import OneConvGraphConv
from stgcn_onnx.deploy.input_norm import input_norm
from stgcn_onnx.deploy.joint_modules import InputMap, JointBackbone, JointBlock, JointGraphConv
from stgcn_onnx.deploy.modules import Branch, Branches, PooledTwice
from stgcn_onnx.deploy.numeric import float64, make_conv
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite
from stgcn_onnx.deploy.types import known_types

NAME = "joint_major"

SOLVED = 1e-13
"""What may be left of a bias, as a share of its largest value, where a solution counts as exact."""
LARGEST_GAIN = 100.0
"""How much larger than the bias its parts may be: they add to the rounding."""
_BLOCK_CHANNELS = 16


def turned(module: nn.Module) -> nn.Module:
    """A temporal module whose kernel runs along the last axis instead of the third."""
    if isinstance(module, Branches):
        return Branches([turned(branch) for branch in module.branches], turned(module.merge))
    if isinstance(module, Branch | PooledTwice):
        return type(module)(turned(module.reduce), None if module.temporal is None else turned(module.temporal))
    if isinstance(module, nn.MaxPool2d):
        (kernel, _), (stride, _), (padding, _) = module.kernel_size, module.stride, module.padding
        return nn.MaxPool2d((1, kernel), (1, stride), (0, padding))
    geometry = tuple(pair[::-1] for pair in (module.stride, module.padding, module.dilation))
    weight = float64(module.weight).transpose(2, 3)
    return make_conv(weight, module.bias, like=module, geometry=geometry, groups=module.groups)


def spread_bias(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, bool]:
    """Split ``B`` into a part per channel and a part per joint, the latter in front of the convolution if possible.

    Args:
        weight: all ``W_k`` side by side, ``(C', K C)``, float64.
        bias: ``B``, ``(C', V)``, float64.

    Returns:
        The convolution's bias ``(C',)``; what is added per joint, ``(K C, V)`` in front or ``(C', V)`` behind, or None;
        and whether it goes in front.
    """
    mean = bias.mean(dim=1)
    deviation = bias - mean[:, None]
    size = bias.abs().max()
    if deviation.abs().max() <= SOLVED * size:
        return mean, None, True
    ahead = torch.linalg.pinv(weight) @ deviation
    solved = (weight @ ahead - deviation).abs().max() <= SOLVED * size
    if solved and ahead.abs().max() * weight.abs().max() <= LARGEST_GAIN * size:
        return mean, ahead, True
    return mean, deviation, False


def _graph_conv(unit: OneConvGraphConv) -> JointGraphConv:
    subsets, channels, _ = unit.weight.shape
    joints = unit.adjacency.shape[-1]
    weight = float64(unit.weight).permute(1, 0, 2).reshape(channels, -1)  # (K, C', C) -> (C', K*C)
    constant, per_joint, ahead = spread_bias(weight, float64(unit.bias))
    if per_joint is not None:
        per_joint = per_joint.T.reshape(joints, -1, 1, 1).to(unit.weight.dtype)  # (C, V) -> (V, C, 1, 1)
    return JointGraphConv(
        unit.adjacency.permute(2, 0, 1).reshape(joints * subsets, joints),  # (K, V, W) -> (W*K, V)
        make_conv(weight[:, :, None, None], constant, like=unit),
        ahead=per_joint if ahead else None,
        behind=None if ahead else per_joint,
        residual=unit.residual,
    )


def first_graph_conv(unit: OneConvGraphConv, scale: torch.Tensor, shift: torch.Tensor) -> tuple[InputMap, nn.Conv2d]:
    """Entry and convolution of the first block: see the third paragraph above.

    Args:
        unit: the first block's graph convolution.
        scale: of the input's normalisation, ``(V, C)``, float64.
        shift: likewise.
    """
    joints, in_channels = scale.shape
    weight, adjacency = float64(unit.weight), float64(unit.adjacency)
    if unit.residual is not None:
        weight = torch.cat([weight, float64(unit.residual.weight)[None, :, :, 0, 0]])
        adjacency = torch.cat([adjacency, torch.eye(joints, dtype=torch.float64)[None]])
    kernel = weight.permute(1, 0, 2).flatten(1)  # (K, C', C) -> (C', K*C)
    matrix = torch.einsum("vc,kvw,cd->vcwkd", scale, adjacency, torch.eye(in_channels, dtype=torch.float64))
    offset = torch.einsum("vc,kvw->wkc", shift, adjacency)
    left, values, right = torch.linalg.svd(float64(unit.bias), full_matrices=False)
    rank = int((values > values[0] * 1e-15).sum()) if values[0] > 0 else 0
    channels = matrix[0, 0, 0].numel() + rank
    spare = 0 if channels < _BLOCK_CHANNELS else -channels % _BLOCK_CHANNELS
    matrix = torch.cat([matrix.flatten(3), matrix.new_zeros(joints, in_channels, joints, rank + spare)], dim=3)
    constant = torch.cat([right[:rank].T, right.new_zeros(joints, spare)], dim=1)
    offset = torch.cat([offset.flatten(1), constant], dim=1)  # (V, K*C) -> (V, Q)
    kernel = torch.cat([kernel, left[:, :rank] * values[:rank], left.new_zeros(len(left), spare)], dim=1)
    bias = None if unit.residual is None else unit.residual.bias
    dtype = unit.weight.dtype
    entry = InputMap(matrix.flatten(2).flatten(0, 1).to(dtype), offset.flatten().to(dtype), joints)
    return entry, make_conv(kernel[:, :, None, None], bias, like=unit)


def block_residual(block: nn.Module) -> nn.Module | None:
    """The residual of a block of MMAction2's: a convolution, the identity, or None."""
    if isinstance(block.residual, nn.Module):
        return block.residual
    probe = object()
    return nn.Identity() if block.residual(probe) is probe else None


def _turned_residual(block: nn.Module) -> nn.Module | None:
    residual = block_residual(block)
    return turned(residual) if isinstance(residual, nn.Conv2d) else residual


def check_backbone(backbone: nn.Module) -> None:
    """Raises:
    Refusal: see the last paragraph above.
    """
    known = known_types()
    if type(backbone) is not known.backbone:
        raise Refusal(f"{type(backbone).__name__} is not STGCN")
    for index, block in enumerate(backbone.gcn):
        if type(block) is not known.block:
            raise Refusal(f"block {index} is {type(block).__name__}, not STGCNBlock")
        folded = type(block.gcn) is OneConvGraphConv and type(block.tcn) in (Branches, nn.Conv2d)
        if not folded or type(block.residual) is known.unit_tcn:
            raise Refusal(f"block {index} is not folded")
        if type(block.gcn.act) is not nn.ReLU:
            raise Refusal(f"block {index} has the activation {type(block.gcn.act).__name__}, not ReLU")


def to_joint_major(backbone: nn.Module, context: FrameContext) -> JointBackbone:
    """The whole backbone.

    Raises:
        Refusal: see the last paragraph above.
    """
    check_backbone(backbone)
    norm, entry = input_norm(backbone), None
    affine = norm.whole
    blocks = [JointBlock(_graph_conv(block.gcn), turned(block.tcn), _turned_residual(block)) for block in backbone.gcn]
    first = backbone.gcn[0].gcn
    if blocks[0].residual is None and not isinstance(first.residual, nn.Identity):
        affine = norm.ahead
        entry, conv = first_graph_conv(first, *norm.inside)
        blocks[0].gcn = nn.Sequential(conv, nn.ReLU())
    rewritten = JointBackbone(affine, entry, blocks, (backbone.graph.num_node, backbone.in_channels))
    rewritten.eval()
    rewritten.fix_frames(context.num_frames)
    return rewritten


def _apply(model: nn.Module, context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    with ledger.refusing("backbone"):
        model.backbone = to_joint_major(model.backbone, context)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("fold_batch_norm",), apply=_apply)
