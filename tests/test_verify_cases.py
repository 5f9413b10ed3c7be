"""What is compared: for any shape and any ranges, the ends, an odd size, and 0 to M people."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stgcn_onnx.export import FreeAxes
from stgcn_onnx.model import ClipShape
from stgcn_onnx.verify_cases import generated_cases, shapes


def within(limits: tuple[int, int] | None, largest: int) -> st.SearchStrategy[int]:
    return st.integers(*limits) if limits else st.integers(1, largest)


@st.composite
def requests(draw: st.DrawFn) -> tuple[ClipShape, FreeAxes]:
    """A traced shape within its ranges, small enough to fill with clips."""
    batch = draw(st.none() | st.tuples(st.integers(1, 5), st.integers(1, 5)).map(lambda r: (min(r), max(r))))
    frames = draw(st.none() | st.tuples(st.integers(1, 30), st.integers(1, 30)).map(lambda r: (min(r), max(r))))
    shape = ClipShape(
        draw(within(batch, 5)),
        draw(st.integers(1, 4)),
        draw(within(frames, 30)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 3)),
    )
    return shape, FreeAxes(batch, frames)


@settings(deadline=None, max_examples=60)
@given(request=requests())
def test_the_ends_an_odd_size_and_the_traced_shape_are_all_there(request: tuple[ClipShape, FreeAxes]) -> None:
    shape, free = request
    sizes = shapes(shape, free)
    assert sizes[0] == shape
    assert len(set(sizes)) == len(sizes)
    for limits, name in ((free.batch, "batch"), (free.frames, "frames")):
        found = {getattr(size, name) for size in sizes}
        if limits is None:
            assert found == {getattr(shape, name)}
            continue
        assert {limits[0], limits[1]} <= found
        assert all(limits[0] <= size <= limits[1] for size in found)
        if any(size % 2 for size in range(limits[0], limits[1] + 1)):
            assert any(size % 2 for size in found)
    assert all((s.person, s.joints, s.channels) == (shape.person, shape.joints, shape.channels) for s in sizes)
    if free.batch and free.frames:
        corner = {(size.batch, size.frames) for size in sizes}
        assert {(free.batch[0], free.frames[0]), (free.batch[1], free.frames[0])} <= corner


@settings(deadline=None, max_examples=60)
@given(request=requests(), seed=st.integers(0, 2**31))
def test_every_shape_is_seen_with_nobody_to_everybody(request: tuple[ClipShape, FreeAxes], seed: int) -> None:
    shape, free = request
    cases = list(generated_cases(shape, free, seed))
    assert cases[0].label == "traced"
    by_shape = {size: list(group) for size, group in itertools.groupby(cases, key=lambda case: tuple(case.clip.shape))}
    assert set(by_shape) == {size.sizes() for size in shapes(shape, free)}
    for group in by_shape.values():
        assert {count for case in group for count in case.people} == set(range(shape.person + 1))
        for case in group:
            assert case.clip.dtype == np.float32
            assert np.isfinite(case.clip).all()
            present = np.abs(case.clip).max(axis=(2, 3, 4)) > 0
            assert tuple(present.sum(axis=1)) == case.people


def test_the_same_seed_gives_the_same_clips_and_another_gives_others() -> None:
    shape, free = ClipShape(1, 2, 10, 3, 2), FreeAxes(frames=(5, 12))
    one, same, other = (list(generated_cases(shape, free, seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(a.clip, b.clip) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a.clip, b.clip) for a, b in zip(one, other, strict=True) if any(a.people))


def test_people_take_any_place_and_move() -> None:
    cases = list(generated_cases(ClipShape(64, 4, 10, 17, 2), FreeAxes(), seed=0))
    assert len(cases) == 1, "a large batch holds all counts at once"
    clip = cases[0].clip
    alone = [index for index, count in enumerate(cases[0].people) if count == 1]
    slots = {int(np.abs(clip[index]).max(axis=(1, 2, 3)).argmax()) for index in alone}
    assert len(slots) > 1
    assert (clip[alone[0]].std(axis=1) > 0).any()
