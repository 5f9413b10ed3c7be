"""The temporal modules that the rewrites build; all compute in the axes that their convolutions are given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Branch(nn.Module):
    """One branch of the multi-scale temporal convolution, BatchNorms folded.

    Args:
        reduce: the 1x1 convolution that every branch begins with.
        temporal: a convolution over time, a pooling over time, or None for a branch that ends with `reduce`.

    The rectifier follows each convolution; none follows a pooling (see batch_norm.py).
    """

    def __init__(self, reduce: nn.Conv2d, temporal: nn.Conv2d | nn.MaxPool2d | None) -> None:
        super().__init__()
        self.reduce = reduce
        self.temporal: Any = temporal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.reduce(x))
        if self.temporal is None:
            return y
        y = self.temporal(y)
        return y if isinstance(self.temporal, nn.MaxPool2d) else functional.relu(y)


class PooledTwice(nn.Module):
    """A '1x1' branch and a max-pool branch in one channel block: the block as it is, then the block pooled.

    Args:
        reduce: both 1x1 convolutions side by side.
        temporal: the pooling over time, at stride 1.
    """

    def __init__(self, reduce: nn.Conv2d, temporal: nn.MaxPool2d) -> None:
        super().__init__()
        self.reduce = reduce
        self.temporal = temporal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.reduce(x))
        return torch.cat([y, self.temporal(y)], dim=1)  # (N, C, T, V) -> (N, 2*C, T, V)


class Branches(nn.Module):
    """The multi-scale temporal convolution, ``(N, C, T, V) -> (N, C', T / stride, V)``.

    Args:
        branches: in the order of their channels in `merge`.
        merge: the 1x1 convolution over the concatenated branches.
    """

    def __init__(self, branches: Iterable[nn.Module], merge: nn.Conv2d) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.merge = merge

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.merge(torch.cat([branch(x) for branch in self.branches], dim=1))
