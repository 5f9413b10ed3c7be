"""What is compared: seeded clips at the traced shape and at shapes that were not traced, with 0 to M people present.

Checking one shape of a file that declares free axes proves nothing about the others: reshapes with a traced size
baked in work at that size alone. So every free axis is run at its smallest, an odd, and its largest size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stgcn_onnx.export import FreeAxes
from stgcn_onnx.model import ClipShape
from stgcn_onnx.runtime import FloatArray


@dataclass(frozen=True)
class Case:
    """One comparison: an input `[N, M, T, V, C]` and a name for it; `people` counts those present in each clip."""

    label: str
    clip: FloatArray
    people: tuple[int, ...]


def generated_cases(shape: ClipShape, free: FreeAxes, seed: int) -> Iterator[Case]:
    """Seeded cases: every shape of `shapes`, each with 0 to M people in every clip."""
    for index, size in enumerate(shapes(shape, free)):
        rng = np.random.default_rng([seed, index])
        label = "traced" if index == 0 else "untraced"
        for people in _people_counts(size):
            yield Case(label, _clips(rng, size, people), people)


def shapes(shape: ClipShape, free: FreeAxes) -> list[ClipShape]:
    """The traced shape, each free axis at its smallest, an odd and its largest size, and both at their ends."""
    batches = _sizes(shape.batch, free.batch)
    frames = _sizes(shape.frames, free.frames)
    wanted = [shape]
    wanted += [shape.with_sizes(frames=size) for size in frames]
    wanted += [shape.with_sizes(batch=size) for size in batches]
    if free.batch is not None and free.frames is not None:
        wanted += [shape.with_sizes(batch=free.batch[0], frames=free.frames[0])]
        wanted += [shape.with_sizes(batch=free.batch[1], frames=free.frames[0])]
    return list(dict.fromkeys(wanted))


def _sizes(traced: int, limits: tuple[int, int] | None) -> list[int]:
    if limits is None:
        return [traced]
    smallest, largest = limits
    middle = (smallest + largest) // 2
    odd = middle if middle % 2 else middle + 1
    return sorted({smallest, min(odd, largest), largest})


def _people_counts(shape: ClipShape) -> Iterator[tuple[int, ...]]:
    """0 to M people: in one batch where it holds enough clips, else one batch for each count."""
    counts = range(shape.person + 1)
    if shape.batch > shape.person:
        yield tuple(counts[clip % len(counts)] for clip in range(shape.batch))
    else:
        yield from ((count,) * shape.batch for count in counts)


def _clips(rng: np.random.Generator, shape: ClipShape, people: tuple[int, ...]) -> FloatArray:
    """Skeletons that drift: a place for each person, an offset for each joint, a random walk over the frames.

    The people who are present take random slots; the others are all zero, as MMAction2 pads them.
    """
    clip = np.zeros(shape.sizes(), dtype=np.float32)
    size = (shape.frames, shape.joints, shape.channels)
    for batch_index, count in enumerate(people):
        for slot in rng.permutation(shape.person)[:count]:
            place = rng.uniform(-0.7, 0.7, size=shape.channels)
            pose = rng.normal(0.0, 0.15, size=size[1:])
            walk = rng.normal(0.0, 0.01, size=size).cumsum(axis=0)
            clip[batch_index, slot] = place + pose + walk
    return clip
