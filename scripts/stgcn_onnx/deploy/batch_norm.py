"""BatchNorm folded into the convolutions round it.

In evaluation BatchNorm is ``z -> s z + t`` per channel, with ``s = gamma / sqrt(var + eps)`` and
``t = beta - s mean``. Source of the modules: MMAction2's gcn_utils.py; ST-GCN++ is Duan et al., arXiv:2205.09443.

unit_tcn            ``s (W * x + b) + t`` is a convolution with ``s W`` and ``s b + t``.
unit_gcn            the same on every ``W_k``; the bias becomes one value per (channel, joint), see graph_conv.py.
mstcn               the BatchNorm after the Concat splits by branch. Into a temporal or 1x1 convolution it folds as
                    above. The max-pool branch is ``relu(s maxpool(relu(u)) + t)``, and since ``maxpool`` commutes
                    with every rising function, with ``p = maxpool(relu(.))``:

                    ===================  ===========================================  ==========================
                    s >= 0, t >= 0       ``p(s u) + t``                               t joins the last bias
                    s >= 0, t < 0        ``p(s u + t)``
                    s < 0, t <= 0        ``0``                                        a channel of zeros
                    s < 0, t > 0         ``t - p(|s| u) + p(|s| u - t)``              one channel more
                    ===================  ===========================================  ==========================

                    so no scale and no activation is left behind the pooling either.

Folds are computed in float64 and stored in the dtype of the weights. Another norm than BatchNorm is left alone with
its whole unit. The `data_bn` in front of the first block folds in joint_major.py, where a place for it exists.
"""

from __future__ import annotations

import torch
from torch import nn

from stgcn_onnx.deploy.graph_conv import OneConvGraphConv
from stgcn_onnx.deploy.modules import Branch, Branches
from stgcn_onnx.deploy.numeric import Affine, batch_norm_affine, conv_like, float64, make_conv
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite, named_blocks, replace_module
from stgcn_onnx.deploy.types import known_types

NAME = "fold_batch_norm"


def fold_unit_tcn(unit: nn.Module) -> nn.Conv2d:
    """A ``unit_tcn`` (convolution, norm, dropout) as one convolution.

    Raises:
        Refusal: for a norm that does not fold.
    """
    scale, shift = batch_norm_affine(unit.bn, unit.out_channels)
    weight = float64(unit.conv.weight) * scale[:, None, None, None]
    return conv_like(unit.conv, weight, float64(unit.conv.bias) * scale + shift)


def _after(conv: nn.Conv2d, affine: Affine) -> nn.Conv2d:
    scale, shift = affine
    weight = float64(conv.weight) * scale[:, None, None, None]
    return conv_like(conv, weight, float64(conv.bias) * scale + shift)


def _fold_pool(reduce: nn.Conv2d, pool: nn.MaxPool2d, affine: Affine, columns: torch.Tensor) -> tuple[Branch, Affine]:
    """The max-pool branch of the table above.

    Args:
        reduce: the 1x1 convolution with its own BatchNorm folded, ``u``.
        pool: the pooling over time.
        affine: scale and shift of the branch's part of the BatchNorm after the Concat, each ``(C,)``.
        columns: the branch's columns ``(C', C)`` of the last convolution.

    Returns:
        The branch, and the columns and the bias that it brings to the last convolution.
    """
    scale, shift = affine
    falling = (scale < 0) & (shift > 0)
    dead = (scale < 0) & (shift <= 0)
    weight, bias = float64(reduce.weight), float64(reduce.bias)
    gain = torch.where(dead, 0.0, scale.abs())
    offset = torch.where((scale >= 0) & (shift < 0), shift, 0.0)
    sign = torch.where(falling, -1.0, torch.where(dead, 0.0, 1.0)).to(torch.float64)
    rows = [weight * gain[:, None, None, None], (weight * gain[:, None, None, None])[falling]]
    biases = [bias * gain + offset, (bias * gain - shift)[falling]]
    outer_columns = torch.cat([columns * sign, columns[:, falling]], dim=1)
    outer_bias = columns @ torch.where(shift > 0, torch.where(dead, 0.0, shift), 0.0)
    return Branch(make_conv(torch.cat(rows), torch.cat(biases), like=reduce), pool), (outer_columns, outer_bias)


def fold_mstcn(unit: nn.Module) -> Branches:
    """An ``mstcn`` as `Branches`, all of its BatchNorms folded.

    Raises:
        Refusal: for a norm that does not fold.
    """
    inner, _, last = unit.transform
    scale, shift = batch_norm_affine(inner, inner.num_features)
    columns = float64(last.weight)[:, :, 0, 0]
    bias = float64(last.bias)
    branches, kept, start = [], [], 0
    for branch, config in zip(unit.branches, unit.ms_cfg, strict=True):
        reduce = branch if config == "1x1" else branch[0]
        part = slice(start, start + reduce.out_channels)
        start = part.stop
        affine = (scale[part], shift[part])
        part_columns = columns[:, part]
        if config == "1x1":
            branches.append(Branch(_after(reduce, affine), None))
        else:
            reduce = _after(reduce, batch_norm_affine(branch[1], reduce.out_channels))
            if config[0] == "max":
                folded, (part_columns, extra) = _fold_pool(reduce, branch[3], affine, part_columns)
                bias = bias + extra
            else:
                folded = Branch(reduce, _after(fold_unit_tcn(branch[3]), affine))
            branches.append(folded)
        kept.append(part_columns)
    outer_scale, outer_shift = batch_norm_affine(unit.bn, unit.out_channels)
    weight = torch.cat(kept, dim=1) * outer_scale[:, None]
    return Branches(branches, make_conv(weight[:, :, None, None], bias * outer_scale + outer_shift, like=last))


def _fold_temporal(unit: nn.Module) -> nn.Module:
    known = known_types()
    if type(unit) is known.unit_tcn:
        return fold_unit_tcn(unit)
    if type(unit) is known.mstcn:
        return fold_mstcn(unit)
    raise Refusal(f"{type(unit).__name__} is neither unit_tcn nor mstcn")


def _apply(model: nn.Module, _context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    for path, block in named_blocks(model):
        if type(block) is not known_types().block:
            ledger.refuse(path, f"{type(block).__name__} is not STGCNBlock")
            continue
        with ledger.refusing(f"{path}.gcn"):
            replace_module(model, f"{path}.gcn", OneConvGraphConv.of(block.gcn))
        with ledger.refusing(f"{path}.tcn"):
            replace_module(model, f"{path}.tcn", _fold_temporal(block.tcn))
        if isinstance(block.residual, nn.Module):
            with ledger.refusing(f"{path}.residual"):
                replace_module(model, f"{path}.residual", _fold_temporal(block.residual))
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("einsum_free",), apply=_apply)
