"""Exact rewrites of PyTorch modules into a form that runs fast once exported.

A preset chooses (``deploy: all | none | [names]``); the order is that of `REWRITES`, whatever the order of the
names; files of 8 bits and files for OpenVINO have lists of their own. Nothing here knows of ONNX files: a rewrite takes
modules and gives modules that compute the same function, which its test proves in float64. Block paths
(``backbone.gcn.3``) stay, so that the outputs of original and copy can be compared block by block.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from stgcn_onnx.deploy import (
    absent_people,
    batch_norm,
    channels_last,
    einsum_free,
    even_frames,
    frame_major,
    joint_major,
    joint_rank,
    packed_branches,
    people_groups,
    pooled_head,
)
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Rewrite
from stgcn_onnx.errors import UsageError

__all__ = [
    "INT8_REWRITES",
    "OPENVINO_REWRITES",
    "REQUIRED_BELOW_OPSET_12",
    "REWRITES",
    "Applied",
    "Rewrite",
    "deploy",
    "names",
    "resolve",
]

REWRITES: tuple[Rewrite, ...] = (
    einsum_free.REWRITE,
    batch_norm.REWRITE,
    even_frames.REWRITE,
    packed_branches.REWRITE,
    joint_major.REWRITE,
    joint_rank.REWRITE,
    pooled_head.REWRITE,
    absent_people.REWRITE,
    people_groups.REWRITE,
)
"""Every rewrite, in the order in which they are applied."""

INT8_REWRITES: tuple[Rewrite, ...] = (
    einsum_free.REWRITE,
    batch_norm.REWRITE,
    even_frames.REWRITE,
    packed_branches.REWRITE,
    frame_major.REWRITE,
    replace(pooled_head.REWRITE, requires=(frame_major.NAME,)),
    absent_people.REWRITE,
)
"""Those for a file that is quantised to 8 bits, in order."""

OPENVINO_REWRITES: tuple[Rewrite, ...] = (
    einsum_free.REWRITE,
    batch_norm.REWRITE,
    even_frames.REWRITE,
    packed_branches.REWRITE,
    joint_major.REWRITE,
    joint_rank.rewrite(most_mixtures=20),  # each is a convolution of its own, which OpenVINO compiles for milliseconds
    channels_last.REWRITE,
    pooled_head.REWRITE,
)
"""Those for a file that OpenVINO runs, in order."""

REQUIRED_BELOW_OPSET_12: tuple[str, ...] = (einsum_free.NAME,)
"""The least that a file below opset 12 needs: that opset is the first with Einsum."""


def names(rewrites: Sequence[Rewrite] = REWRITES) -> tuple[str, ...]:
    """The names a preset may list, in order."""
    return tuple(rewrite.name for rewrite in rewrites)


def resolve(chosen: str | Sequence[str], rewrites: Sequence[Rewrite] = REWRITES) -> tuple[str, ...]:
    """The rewrites that a preset's value stands for, in the order of application.

    Args:
        chosen: ``"all"``, ``"none"``, or names out of `names`.
        rewrites: those there are.

    Raises:
        UsageError: for an unknown name (with the closest match), or a name without the one it requires.
    """
    wanted = [chosen] if isinstance(chosen, str) else list(chosen)
    if wanted in (["all"], ["none"]):
        return names(rewrites) if wanted == ["all"] else ()
    known = names(rewrites)
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, [*known, "all", "none"], n=1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"deploy: {name!r} is not a rewrite{meant}",
                hint=f"use all, none, or a list of {', '.join(known)}",
            )
    for rewrite in rewrites:
        missing = [name for name in rewrite.requires if rewrite.name in wanted and name not in wanted]
        if missing:
            raise UsageError(
                f"deploy: {rewrite.name!r} requires {', '.join(map(repr, missing))}, which is not chosen",
                hint=f"add {', '.join(missing)} to the list, or use all",
            )
    return tuple(name for name in known if name in wanted)


def deploy(
    model: nn.Module,
    chosen: str | Sequence[str],
    *,
    num_frames: int | None,
    frame_range: tuple[int, int] | None,
    traced_people: int | None = None,
    scripting: bool = True,
    rewrites: Sequence[Rewrite] = REWRITES,
) -> tuple[nn.Module, tuple[Applied, ...]]:
    """Rewrite a copy of `model`; the original is not touched.

    Args:
        model: a recogniser with ``backbone`` and ``head``, ``[N, M, T, V, C]`` to logits ``[N, classes]``.
        chosen: see `resolve`.
        num_frames: T in frames where it is static, None where it is dynamic.
        frame_range: smallest and largest T, in frames, of a dynamic file.
        traced_people: the people of one call of the traced shape, N * M; None where that is not known.
        scripting: whether the exporter takes scripted code.
        rewrites: those there are, in order.

    Returns:
        The rewritten copy in evaluation mode and, per rewrite, what it did and what it refused.

    Raises:
        UsageError: see `resolve`.
    """
    wanted = resolve(chosen, rewrites)
    rewritten = copy.deepcopy(model).eval()
    context = FrameContext(num_frames, frame_range, traced_people, scripting)
    return rewritten, tuple(rewrite.apply(rewritten, context) for rewrite in rewrites if rewrite.name in wanted)
