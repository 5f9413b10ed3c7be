"""People who are not in view cost nothing.

A slot without a person is all zeros, and what the network makes of an all-zero person depends on T alone: no layer
mixes people before the mean of the head. So with ``present`` the slots that hold any value other than zero,

    features[p] = backbone(x[p])     for p in present
    features[p] = backbone(0, T)     else

where the second line is a constant for a static T, and a row of a table over the declared range for a dynamic one.
It is computed here, in float64, up to where it goes on in equal steps. In the graph: Equal, ReduceMax, NonZero and
Gather pick the rows, CumSum and Gather put the features back; all in the standard domain, from opset 11 on. NaN and
infinities differ from zero, so their slot counts as present.

When nobody is present one row is computed all the same: several kernels refuse or mistake tensors without elements.
A T outside the declared range is an error of the last Gather, never a wrong row.

With everybody present this costs nothing that could be measured (1.00), with a dynamic T 1.02.

Refused where people are normalised slot by slot (``data_bn_type='MVC'``), and for a dynamic T without a declared
range.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from stgcn_onnx.deploy.joint_modules import JointBackbone
from stgcn_onnx.deploy.modules import Branch, PooledTwice
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite

NAME = "absent_people"


class PresentPeople(nn.Module):
    """Picks the slots in use, and puts their features back among those of the absent.

    Args:
        absent: features of an absent person, ``(F, C)``, one row per number of frames.
        first_frames: the number of frames that the first row is for; None where T is static and F = 1.
    """

    def __init__(self, absent: torch.Tensor, first_frames: int | None) -> None:
        super().__init__()
        self.register_buffer("absent", absent)
        self.first_frames = first_frames

    def pick(self, people: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows to compute, and which slots they are: ``(P, T, V, C) -> (P', T, V, C), (P,)``; at least one row."""
        used = (people != 0).to(people.dtype).amax(dim=(1, 2, 3))  # (P, T, V, C) -> (P,)
        nobody = 1 - used.amax(dim=0, keepdim=True)  # (P,) -> (1,)
        used = torch.cat([torch.maximum(used[:1], nobody), used[1:]])
        return people.index_select(0, used.nonzero().squeeze(1)), used

    def put_back(self, features: torch.Tensor, used: torch.Tensor, people: torch.Tensor) -> torch.Tensor:
        """Features of every slot: ``(P', C), (P,) -> (P, C)``; `people` as given to `pick`."""
        absent = self.absent
        if self.first_frames is not None:
            row = torch.ones_like(people[0, :, 0, 0], dtype=torch.int64).sum(dim=0, keepdim=True) - self.first_frames
            beyond = torch.full_like(row, len(absent))
            absent = absent.index_select(0, torch.where(row < 0, beyond, row))  # (F, C) -> (1, C)
        table = torch.cat([absent, features])  # (1 + P', C)
        row = used.to(torch.int64)
        return table.index_select(0, row.cumsum(dim=0) * row)  # (1 + P', C) -> (P, C)


def receptive_field(backbone: JointBackbone) -> tuple[int, int]:
    """Input frames that one output frame sees, and input frames between output frames."""
    frames, step, axis = 1, 1, backbone.temporal_axis
    for block in backbone.gcn:
        reach, stride = 0, 1
        for branch in [part for part in block.tcn.modules() if isinstance(part, Branch | PooledTwice)]:
            first = branch.reduce.stride[axis]
            inner, outer = (0, 1) if branch.temporal is None else _window(branch.temporal, axis)
            reach, stride = max(reach, first * inner), first * outer
        if isinstance(block.tcn, nn.Conv2d):
            reach, stride = _window(block.tcn, axis)
        frames, step = frames + step * reach, step * stride
    return frames, step


def _window(module: nn.Conv2d | nn.MaxPool2d, axis: int) -> tuple[int, int]:
    """Frames between the first and the last that a temporal module reads, and its stride."""
    kernel, stride, dilation = (
        pair[axis] if isinstance(pair, tuple) else pair for pair in (module.kernel_size, module.stride, module.dilation)
    )
    return dilation * (kernel - 1), stride


def absent_features(backbone: JointBackbone, frames: Sequence[int]) -> torch.Tensor:
    """Pooled features of an all-zero person for each T of the consecutive `frames`, ``(F, C)`` float64.

    From the receptive field on no output frame sees both ends of the clip, so a longer clip has more of the same frame
    in its middle: sums over frames go on in equal steps, and need not be computed.
    """
    exact = copy.deepcopy(backbone).double()
    exact.fix_frames(None)
    exact.present = None
    field, step = receptive_field(exact)
    sums: list[torch.Tensor] = []
    counts: list[int] = []
    with torch.no_grad():
        for count in frames:
            if count - 2 * step >= max(field, frames[0]):
                sums.append(2 * sums[-step] - sums[-2 * step])
                counts.append(2 * counts[-step] - counts[-2 * step])
                continue
            device = next(exact.parameters()).device
            y = exact.trunk(torch.zeros(1, count, *exact.input_shape, dtype=torch.float64, device=device))
            axes = (exact.joint_axis, exact.frame_axis)
            sums.append(y.sum(dim=axes).flatten())  # (V, C, 1, T') or (1, C, T', V) -> (C,)
            counts.append(y.shape[axes[0]] * y.shape[axes[1]])
    return torch.stack(sums) / torch.tensor(counts, dtype=torch.float64, device=sums[0].device)[:, None]


def _present_people(backbone: JointBackbone, context: FrameContext) -> PresentPeople:
    if backbone.per_person:
        raise Refusal("its input is normalised slot by slot (data_bn_type 'MVC')")
    if context.num_frames is not None:
        frames = range(context.num_frames, context.num_frames + 1)
    elif context.frame_range is not None:
        frames = range(context.frame_range[0], context.frame_range[1] + 1)
    else:
        raise Refusal("T is dynamic and no range is declared for it")
    dtype = next(backbone.parameters()).dtype
    return PresentPeople(
        absent_features(backbone, frames).to(dtype), None if context.num_frames is not None else frames.start
    )


def _apply(model: nn.Module, context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    with ledger.refusing("backbone"):
        if not isinstance(model.backbone, JointBackbone) or not model.backbone.pooled:
            raise Refusal("people are not pooled one by one, since joint_major or pooled_head was refused")
        model.backbone.present = _present_people(model.backbone, context)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("pooled_head",), apply=_apply)
