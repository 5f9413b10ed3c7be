"""Branches of the temporal convolution in whole channel blocks.

CPU convolutions keep their tensors in blocks of 16 channels (onnxruntime's NCHWc, oneDNN's nChw16c). A branch of 8
or 10 channels does not fill a block, so every branch leaves the blocked layout, and the Concat goes back into it.
Two exact ways out, chosen per block of the network by counting multiplications:

pad     zero rows in the 1x1 convolution, zero taps in the temporal one and zero columns in the merging one.
pack    several branches share one block: their 1x1 convolutions side by side, their temporal kernels on the diagonal of
        one kernel that has the taps of all of them (dilations 1 and 3: seven taps; 2 and 4: five taps, dilation 2). The
        '1x1' branch rides along with a centre tap of one, since ``relu(relu(x)) = relu(x)``, or shares the block of the
        max-pool branch, whose block is then used twice, pooled and as it is, with zero columns for what is not meant.

The demo network without this rewrite takes 1.02 of the time with it (onnxruntime, one thread, processor time). What
lost: one merged 1x1 convolution followed by Split, in the first prototypes, because Split leaves the layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from stgcn_onnx.deploy.modules import Branch, Branches, PooledTwice
from stgcn_onnx.deploy.numeric import float64, is_centred, make_conv
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite, named_blocks

NAME = "packed_branches"

_BLOCK = 16
_MOST_BRANCHES = 8


class _Columns:
    """The merging convolution's columns of each branch."""

    def __init__(self, branches: Branches) -> None:
        weight = float64(branches.merge.weight)[:, :, 0, 0]
        self._parts = weight.split([branch.reduce.out_channels for branch in branches.branches], dim=1)

    def of(self, members: Sequence[int], *, width: int, skip: Sequence[int] = ()) -> torch.Tensor:
        parts = [torch.zeros_like(self._parts[i]) if i in skip else self._parts[i] for i in members]
        used = torch.cat(parts, dim=1)
        return torch.cat([used, used.new_zeros(len(used), width - used.shape[1])], dim=1)


def _partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    """Every way of dividing `items` into groups."""
    if not items:
        yield []
        return
    head, *rest = items
    for smaller in _partitions(rest):
        for index, group in enumerate(smaller):
            yield [*smaller[:index], [head, *group], *smaller[index + 1 :]]
        yield [[head], *smaller]


def _reach(branch: Branch) -> int:
    """Frames that the temporal convolution reads to either side; 0 for a '1x1' branch."""
    return 0 if branch.temporal is None else int(branch.temporal.padding[0])


def _taps(members: Sequence[Branch]) -> tuple[int, int]:
    """Kernel size and dilation of the kernel that has the taps of all members."""
    step = math.gcd(*(branch.temporal.dilation[0] for branch in members if branch.temporal is not None)) or 1
    return 2 * max(map(_reach, members)) // step + 1, step


def _width(members: Sequence[Branch]) -> int:
    channels: int = sum(branch.reduce.out_channels for branch in members)
    return channels + -channels % _BLOCK


def _strides(branch: Branch) -> tuple[int, int]:
    return branch.reduce.stride[0], 1 if branch.temporal is None else branch.temporal.stride[0]


def _cost(members: Sequence[Branch], out_channels: int) -> float:
    """Multiplications per output frame and joint; infinite for branches that cannot share a kernel."""
    temporal = [branch for branch in members if branch.temporal is not None]
    if any(isinstance(branch.temporal, nn.MaxPool2d) for branch in members):
        alone = len(members) == 1
        shared = len(members) == 2 and len(temporal) == 1 and {_strides(branch) for branch in members} == {(1, 1)}
        if not alone and not shared:
            return math.inf
        uses, taps, strides = len(members), 0, _strides(temporal[0])
    elif temporal:
        strides = _strides(temporal[0])
        if any(_strides(branch) != strides for branch in temporal):
            return math.inf
        uses, taps = 1, _taps(members)[0]
    else:
        uses, taps, strides = 1, 0, _strides(members[0])
    width = _width(members)
    return float(width * (members[0].reduce.in_channels * strides[1] + width * taps + out_channels * uses))


def _packed_conv(members: Sequence[Branch], like: nn.Conv2d) -> Branch:
    """Branches with convolutions (and '1x1' ones) as one branch of `_width` channels."""
    width = _width(members)
    temporal = [branch for branch in members if branch.temporal is not None]
    reduce_stride, stride = _strides(temporal[0] if temporal else members[0])
    rows = torch.cat([float64(branch.reduce.weight) for branch in members])
    bias = torch.cat([float64(branch.reduce.bias) for branch in members])
    spare = width - len(rows)
    rows = torch.cat([rows, rows.new_zeros(spare, *rows.shape[1:])])
    reduce = make_conv(
        rows, torch.cat([bias, bias.new_zeros(spare)]), like=like, geometry=((reduce_stride, 1), (0, 0), (1, 1))
    )
    if not temporal:
        return Branch(reduce, None)
    taps, step = _taps(members)
    kernel, shift, start = rows.new_zeros(width, width, taps, 1), rows.new_zeros(width), 0
    for branch in members:
        part = slice(start, start + branch.reduce.out_channels)
        start = part.stop
        conv = branch.temporal
        if conv is None:
            kernel[part, part, taps // 2, 0] = torch.eye(branch.reduce.out_channels, dtype=torch.float64)
            continue
        stretch = conv.dilation[0] // step
        first = taps // 2 - _reach(branch) // step
        kernel[part, part, first : first + stretch * (conv.kernel_size[0] - 1) + 1 : stretch] = float64(conv.weight)
        shift[part] = float64(conv.bias)
    geometry = ((stride, 1), (taps // 2 * step, 0), (step, 1))
    return Branch(reduce, make_conv(kernel, shift, like=like, geometry=geometry))


def _packed_pool(members: Sequence[Branch], like: nn.Conv2d) -> nn.Module:
    """The max-pool branch, alone or together with a '1x1' branch."""
    wide = _packed_conv([Branch(branch.reduce, None) for branch in members], like)
    pool = next(branch.temporal for branch in members if branch.temporal is not None)
    return Branch(wide.reduce, pool) if len(members) == 1 else PooledTwice(wide.reduce, pool)


def pack(branches: Branches) -> Branches:
    """The same temporal convolution in whole channel blocks.

    Raises:
        Refusal: when a kernel is not centred, or there are too many branches to search.
    """
    members = list(branches.branches)
    convs = [branch.temporal for branch in members if isinstance(branch.temporal, nn.Conv2d)]
    if len(members) > _MOST_BRANCHES:
        raise Refusal(f"it has {len(members)} branches; groupings are searched for up to {_MOST_BRANCHES}")
    if not all(map(is_centred, convs)):
        raise Refusal("a temporal kernel is not centred on its frame")
    out_channels = branches.merge.out_channels
    best = min(
        _partitions(range(len(members))),
        key=lambda groups: sum(_cost([members[i] for i in group], out_channels) for group in groups),
    )
    columns, packed, kept = _Columns(branches), [], []
    for group in best:
        chosen = [members[i] for i in group]
        width = _width(chosen)
        pools = [i for i in group if isinstance(members[i].temporal, nn.MaxPool2d)]
        packed.append(_packed_pool(chosen, branches.merge) if pools else _packed_conv(chosen, branches.merge))
        kept.append(columns.of(group, width=width, skip=pools if len(group) > 1 else ()))
        if pools and len(group) > 1:
            kept.append(columns.of(group, width=width, skip=[i for i in group if i not in pools]))
    merge = make_conv(torch.cat(kept, dim=1)[:, :, None, None], branches.merge.bias, like=branches.merge)
    return Branches(packed, merge)


def _apply(model: nn.Module, _context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    for path, block in named_blocks(model):
        tcn = getattr(block, "tcn", None)
        if not isinstance(tcn, Branches):
            ledger.refuse(f"{path}.tcn", f"{type(tcn).__name__} is not a folded mstcn")
            continue
        if all(branch.reduce.out_channels % _BLOCK == 0 for branch in tcn.branches):
            continue
        with ledger.refusing(f"{path}.tcn"):
            block.tcn = pack(tcn)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("fold_batch_norm",), apply=_apply)
