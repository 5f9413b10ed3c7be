"""What a rewrite is: a name, what has to be there before it, and a function that edits a copy of the model.

A rewrite reports truthfully what it did: how many places it changed, and every place that it left as it was, with
the reason. The habit is that of onnx-ir's passes and of onnxscript's rewrite rules (one idea a file, an explicit
order, refusals with a reason).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn


class Refusal(Exception):
    """Why a rewrite leaves a place as it is; it never leaves the package."""


@dataclass(frozen=True)
class FrameContext:
    """The sizes that the exported file will see, and what its exporter can write.

    Args:
        num_frames: the static T, in frames; None where T is dynamic.
        frame_range: smallest and largest T, in frames, that a dynamic file declares; None where nothing is declared.
        traced_people: the people of one call of the traced shape, in all clips together; None where that is not known.
        scripting: whether the exporter takes scripted code, as torchscript does and dynamo does not.
    """

    num_frames: int | None
    frame_range: tuple[int, int] | None
    traced_people: int | None = None
    scripting: bool = True


@dataclass(frozen=True)
class Applied:
    """What one rewrite did to a model.

    Args:
        name: of the rewrite.
        count: places that were changed; 0 means that the model is as it was.
        refusals: places that were left alone, each as ``"backbone.gcn.3.tcn: reason"``.
    """

    name: str
    count: int
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rewrite:
    """One exact rewrite of PyTorch modules.

    Args:
        name: as written in a preset (``deploy: [name, ...]``).
        requires: names of the rewrites that must have run before.
        apply: edits the given model in place and says what it did.
    """

    name: str
    requires: tuple[str, ...]
    apply: Callable[[nn.Module, FrameContext], Applied]


class Ledger:
    """Counts changes and collects refusals while a rewrite walks through a model."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._refusals: list[str] = []

    def changed(self, places: int = 1) -> None:
        self._count += places

    def refuse(self, path: str, reason: str) -> None:
        self._refusals.append(f"{path}: {reason}")

    @contextmanager
    def refusing(self, path: str) -> Iterator[None]:
        """Count the change made inside, or note the refusal raised inside."""
        try:
            yield
        except Refusal as refusal:
            self.refuse(path, str(refusal))
        else:
            self.changed()

    def applied(self) -> Applied:
        return Applied(self._name, self._count, tuple(self._refusals))


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` where `path` (dotted, as in ``named_modules``) points to; the path itself stays."""
    parent, _, child = path.rpartition(".")
    setattr(model.get_submodule(parent), child, module.train(model.training))


def named_blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The blocks ``backbone.gcn.<i>`` of a recogniser with their paths; nothing where there are none."""
    blocks = getattr(getattr(model, "backbone", None), "gcn", None)
    if isinstance(blocks, nn.ModuleList | nn.Sequential):
        yield from ((f"backbone.gcn.{index}", block) for index, block in enumerate(blocks))
