"""The modules of the layout that channels_last.py builds: between blocks a row per joint, ``(V, P * T * C)``."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

from stgcn_onnx.deploy.joint_modules import InputAffine, InputMap, JointBackbone, JointBlock
from stgcn_onnx.deploy.joint_rank import JointRankGraphConv


def to_rows(maps: torch.Tensor) -> torch.Tensor:
    """``(V, C, P, T) -> (V, P * T * C)``: of feature maps with channels last in memory, no value moves."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1)


def from_rows(rows: torch.Tensor, channels: int, frames: int) -> torch.Tensor:
    """``(V, P * T * C) -> (V, C, P, T)``."""
    return rows.reshape(len(rows), -1, frames, channels).permute(0, 3, 1, 2)


class RowMap(nn.Module):
    """The map in front of the first block, ``(P, T, V, C) -> (V, P * T * Q)``.

    Args:
        entry: of joint_major.py, one matrix per frame.
    """

    def __init__(self, entry: InputMap) -> None:
        super().__init__()
        inputs, outputs = entry.weight.shape
        joints = outputs // entry.channels
        weight = entry.weight.reshape(inputs, joints, -1).transpose(0, 1)  # (V*C, V*Q) -> (V, V*C, Q)
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("bias", entry.bias.reshape(joints, 1, -1))  # (V*Q,) -> (V, 1, Q)

    def forward(self, people: torch.Tensor) -> torch.Tensor:
        frames = people.reshape(1, -1, self.weight.shape[1])  # (P, T, V, C) -> (1, P*T, V*C)
        y = frames @ self.weight + self.bias  # -> (V, P*T, Q)
        return y.reshape(len(self.weight), -1)  # -> (V, P*T*Q)


class RowUnit(nn.Module):
    """Any graph convolution ``(V, C, P, T) -> (V, C', P, T)`` for rows, ``(V, P * T * C) -> (V, C', P, T)``.

    Args:
        unit: the graph convolution with its activation.
        channels: C.
        frames: T.
    """

    def __init__(self, unit: nn.Module, channels: int, frames: int) -> None:
        super().__init__()
        self.unit = unit
        self.sizes = (channels, frames)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.unit(from_rows(rows, *self.sizes))
        return y


class RowRankGraphConv(nn.Module):
    """The graph convolution of joint_rank.py with a convolution for each mixture, ``(V, P * T * C) -> (V, C', P, T)``.

    Args:
        unit: with an identity as residual, or none.
        frames: T.
    """

    def __init__(self, unit: JointRankGraphConv, frames: int) -> None:
        super().__init__()
        joints, rank, groups, in_channels, channels = unit.sizes
        left = unit.left.reshape(rank, groups, joints).transpose(0, 1)  # (r*m, V) -> (m, r, V)
        right = unit.right.reshape(joints, rank, groups).transpose(1, 2)  # (V, r*m) -> (V, m, r)
        self.register_buffer("left", left.reshape(-1, joints))
        self.register_buffer("right", right.reshape(joints, -1))
        self.register_buffer("weight", unit.weight)
        self.register_buffer("mixtures", unit.mixtures)
        self.register_buffer("bias", unit.bias)
        added = None if unit.added is None else unit.added.reshape(joints, 1, channels)  # (V, C', 1, 1) -> (V, 1, C')
        self.register_buffer("added", added)
        self.has_residual = unit.residual is not None
        self.sizes = (rank, groups, in_channels, channels, frames)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rank, groups, in_channels, channels, frames = self.sizes
        kernels = (self.mixtures @ self.weight).reshape(groups * channels, in_channels, 1, 1)  # -> (m*C', C, 1, 1)
        biases = [None] * groups if self.bias is None else self.bias.split(channels)
        y = (self.left @ rows).reshape(groups * rank, -1, frames, in_channels)  # (V, P*T*C) -> (m*r, P, T, C)
        parts = [
            functional.conv2d(part.permute(0, 3, 1, 2), kernel, bias)  # (r, P, T, C) -> (r, C', P, T)
            for part, kernel, bias in zip(y.split(rank), kernels.split(channels), biases, strict=True)
        ]
        y = self.right @ to_rows(torch.cat(parts))  # -> (m*r, P*T*C') -> (V, P*T*C')
        if self.has_residual:
            y = y + rows
        if self.added is not None:
            y = y.reshape(len(y), -1, channels) + self.added  # (V, P*T*C') -> (V, P*T, C')
        return from_rows(functional.relu(y), channels, frames)


class RowBlock(nn.Module):
    """A block, ``(V, P * T * C) -> (V, P * T' * C')``.

    Args:
        block: of joint_major.py.
        channels: C.
        frames: T.
    """

    def __init__(self, block: JointBlock, channels: int, frames: int) -> None:
        super().__init__()
        ranked = isinstance(block.gcn, JointRankGraphConv)
        self.gcn = RowRankGraphConv(block.gcn, frames) if ranked else RowUnit(block.gcn, channels, frames)
        self.tcn = block.tcn
        self.residual = block.residual
        self.sizes = (channels, frames)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        y = to_rows(self.tcn(self.gcn(rows)))  # (V, P*T*C) -> (V, P*T'*C')
        if isinstance(self.residual, nn.Identity):
            y = y + rows
        elif self.residual is not None:
            y = y + to_rows(self.residual(from_rows(rows, *self.sizes)))
        return functional.relu(y)


class RowBackbone(JointBackbone):
    """The backbone of channels_last.py, to the outside like the one of joint_major.py.

    Args:
        affine: normalisation of the input, or None where `entry` holds it or there is none.
        entry: the map in front of the first block, or None.
        blocks: in order.
        input_shape: V and C.
        num_frames: T of the input.
        last: C' and T' of the last block.
    """

    def __init__(
        self,
        affine: InputAffine | None,
        entry: RowMap | None,
        blocks: Iterable[RowBlock],
        input_shape: tuple[int, int],
        num_frames: int,
        last: tuple[int, int],
    ) -> None:
        super().__init__(affine, None, blocks, input_shape)
        self.row_map = entry
        self.num_frames = num_frames
        self.last = last

    def fix_frames(self, num_frames: int | None) -> None:
        """Raises:
        ValueError: for another number of frames than the one that is compiled in.
        """
        if num_frames != self.num_frames:
            raise ValueError(f"the blocks are compiled for {self.num_frames} frames, not {num_frames}")

    def trunk(self, people: torch.Tensor) -> torch.Tensor:
        """All blocks, ``(P, T, V, C) -> (V, C', P, T')``."""
        if self.affine is not None and not self.per_person:
            people = self.affine(people)
        if self.row_map is not None:
            rows = self.row_map(people)  # (P, T, V, C) -> (V, P*T*Q)
        else:
            rows = people.permute(2, 0, 1, 3).reshape(people.shape[2], -1)  # (P, T, V, C) -> (V, P*T*C)
        for block in self.gcn:
            rows = block(rows)
        return from_rows(rows, *self.last)
