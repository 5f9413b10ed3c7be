"""People in groups: the blocks run over four people at a time, in an ONNX Loop.

No layer mixes people before the mean of the head, so the features of P people are those of any partition of them,

    features[i : i + g] = mean_{v, t} trunk(x[i : i + g])     for i = 0, g, 2 g, ... < P

with weights and nodes in the file once. The tensors of eight clips leave the caches, those of four people do not; and
where absent people are skipped the loop runs ceil(present / g) times. The last group may be smaller. In the body, an
iteration pushes its features onto the end of a tensor of P rows and drops as many from its front: no sequence and no
scan output (whose slices would have to be of one size), so opset 11 is enough, and the carried shape is the same in
each iteration, as the standard asks for.

Weights are constants of the body, where onnxruntime folds them once, chooses blocked layouts and fuses activations as
it does outside of a loop. The mixtures of joint_rank.py come in from outside, so that the exporter does not multiply
them out; runtimes still do when they load the file.

Eight clips of the demo network (onnxruntime, two threads, [8, 4, 100]), measured with a prototype whose mixtures were
multiplied out, two or three quiet processes each: 1.68 and 1.73 times as fast as the plain export in two series,
against 1.32 and 1.28 with all people at once. As it is now: in processor time of one thread on a busy machine 1.38 and
1.49, against 1.22 and 1.33; peak memory 118 instead of 385 MB, the plain export's being 543. A single clip in a file
for 1 to 8 of them is one iteration: 16.1 ms against 15.9 without the loop in one pair of processes, in another 16.3
each.

Sizes, in processor time of one thread for the eight clips, two series: 2 people 250 and 260 ms, 3 people 250 and 269,
4 people 264 and 277, 6 people 266 and 273, 8 people 280 and 296, all at once 297 and 312. Four, since the usual clip
then is one group; with two threads the fastest process of 2, 3 and 4 people took 132, 127 and 128 ms.

The price is the time to load: 33 ms of processor time against 28 without the loop and 16 for the plain export (one
thread, busy machine). As initializers in place of Constant nodes the weights would load in some 8 % less.

Nothing to do where a call of the traced shape holds no more people than one group: in a file for any number of clips
that is traced with one, the usual call is one iteration. Refused for the dynamo exporter, which takes no
scripted loop. For a GPU leave it out: there a batch is fastest at once, and a CUDA graph takes no loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from stgcn_onnx.deploy.joint_modules import JointBackbone
from stgcn_onnx.deploy.joint_rank import JointRankGraphConv
from stgcn_onnx.deploy.rewrite import Applied, FrameContext, Ledger, Refusal, Rewrite

NAME = "people_groups"

GROUP = 4
"""People in a group."""

_TRACED_FRAMES = 64
"""Frames of the clip that a file with free frames is traced with; any number does."""


class _PooledTrunk(nn.Module):
    """Pooled features of one group, ``(P, T, V, C) -> (P, C')``."""

    def __init__(self, backbone: JointBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, people: torch.Tensor) -> torch.Tensor:
        return self.backbone.pooled_people(self.backbone.trunk(people))


class PeopleGroups(nn.Module):
    """Pooled features of any number of people, group by group, ``(P, T, V, C) -> (P, C')``.

    The weights are copied as they are now: in dtype and on device of the backbone.

    Args:
        backbone: in the layout of joint_major.py.
    """

    def __init__(self, backbone: JointBackbone) -> None:
        super().__init__()
        trunk = _PooledTrunk(backbone)
        units = [part for part in backbone.modules() if isinstance(part, JointRankGraphConv)]
        kept = [unit.mixtures for unit in units]
        weight = next(backbone.parameters())
        self.register_buffer("mixtures", torch.cat([weight.new_zeros(0), *(part.flatten() for part in kept)]))
        example = weight.new_ones(GROUP, backbone.num_frames or _TRACED_FRAMES, *backbone.input_shape)
        self.channels: int = trunk(example).shape[1]

        def group(people: torch.Tensor, mixtures: torch.Tensor) -> torch.Tensor:
            for unit, part, own in zip(units, mixtures.split([part.numel() for part in kept]), kept, strict=True):
                unit.mixtures = part.reshape(own.shape)
            features: torch.Tensor = trunk(people)
            return features

        with torch.no_grad(), _scopes(trunk):
            traced = torch.jit.trace(group, (example, self.mixtures), check_trace=False)
        for unit, own in zip(units, kept, strict=True):
            unit.mixtures = own
        self._in_groups = _loop(traced)

    def forward(self, people: torch.Tensor) -> torch.Tensor:
        features = people.new_zeros(people.shape[0], self.channels)
        return self._in_groups(people, features, self.mixtures, GROUP)


def _loop(traced: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The loop over groups, compiled: a trace would unroll it for the people who are there."""

    def in_groups(people: torch.Tensor, features: torch.Tensor, mixtures: torch.Tensor, size: int) -> torch.Tensor:
        for index in range((people.shape[0] + size - 1) // size):
            found = traced(people[index * size : (index + 1) * size], mixtures)  # (g, T, V, C) -> (g, C')
            features = torch.cat([features[found.shape[0] :], found])
        return features

    compiled: Callable[..., torch.Tensor] = torch.jit.script(in_groups)
    return compiled


@contextmanager
def _scopes(trunk: _PooledTrunk) -> Iterator[None]:
    """Let a trace note which module computes what, as the exporter does: the nodes are named after it."""
    modules = {trunk: "backbone", **{part: path for path, part in trunk.backbone.named_modules() if path}}
    before = torch.jit._trace._trace_module_map
    # A scope is written type::name; children of lists and sequences are called by the name of the list as well.
    torch.jit._trace._trace_module_map = {
        part: f"{type(part).__name__}::{_own(path)}" for part, path in modules.items()
    }
    try:
        yield
    finally:
        torch.jit._trace._trace_module_map = before


def _own(path: str) -> str:
    """The last part of a path, with the list's name where that is a number: ``gcn.0``."""
    parts = path.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]


def _apply(model: nn.Module, context: FrameContext) -> Applied:
    ledger = Ledger(NAME)
    if context.traced_people is not None and context.traced_people <= GROUP:
        return ledger.applied()
    with ledger.refusing("backbone"):
        if not isinstance(model.backbone, JointBackbone) or not model.backbone.pooled:
            raise Refusal("people are not pooled one by one, since joint_major or pooled_head was refused")
        if not context.scripting:
            raise Refusal("the dynamo exporter takes no scripted loop; the torchscript exporter does")
        model.backbone.requires_grad_(False)
        model.backbone.groups = PeopleGroups(model.backbone)
    return ledger.applied()


REWRITE = Rewrite(NAME, requires=("pooled_head",), apply=_apply)
