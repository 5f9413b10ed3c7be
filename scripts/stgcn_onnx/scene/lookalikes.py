"""What only looks like a fight: people close together, moving fast, touching, bending, going down on a chair.

The same signature as the fights; the number of bodies is the number of people who take part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stgcn_onnx.scene.body import LEFT, RIGHT, Body, Tracks
from stgcn_onnx.scene.kinematics import UP, Array, blend, forward_of, left_of
from stgcn_onnx.scene.motion import SIDES, Stage, bump, chest_of, crouch, hold, line, move, ramp, reach, wander
from stgcn_onnx.scene.pair import Pair, moments, pair_up

Action = Callable[[Stage, Sequence[Body]], list[Tracks]]


def handshake(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Come up to each other, shake hands for a while, let go."""
    pair, people = _meet(stage, bodies, stage.draw(0.65, 0.9))
    start_s = stage.draw(-0.3, 0.3 * stage.duration_s)
    grip = ramp(stage.times, start_s, stage.draw(0.4, 0.7))
    grip -= ramp(stage.times, start_s + stage.draw(1.0, 3.5), 0.5) * grip
    middle = 0.5 * (pair.paths[0] + pair.paths[1])
    shake = stage.draw(0.03, 0.08) * np.sin(2.0 * np.pi * stage.draw(1.5, 3.0) * stage.times)
    height = 0.5 * (bodies[0].height_m + bodies[1].height_m) * stage.draw(0.52, 0.62)
    goal = np.concatenate([middle, (height + shake)[:, None]], axis=1)
    for person in people:
        reach(person, RIGHT, goal, grip)
        person.lean[:, 0] += stage.draw(0.0, 0.2) * grip
    if stage.chance(0.3):
        reach(people[0], LEFT, chest_of(bodies[1], people[1]) + 0.15 * left_of(people[0].heading), grip)
    return list(people)


def hug(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Come close, arms round each other, pat the back, part."""
    start_s = stage.draw(-0.5, 0.35 * stage.duration_s)
    close = ramp(stage.times, start_s, stage.draw(0.5, 1.0))
    close -= ramp(stage.times, start_s + stage.draw(1.2, 4.0), 0.7) * close
    gap = stage.draw(0.8, 1.4) * (1.0 - close) + stage.draw(0.26, 0.36) * close
    still = np.zeros((len(stage.times), 2))
    sway = wander(stage, 0.03, 0.6)
    pair = pair_up(stage, gap, wander(stage, 0.08, 0.4, 1)[:, 0], (still + sway * [-1.0, 1.0], still + sway))
    people = _walkers(stage, bodies, pair)
    pat = stage.draw(0.0, 0.05) * np.sin(2.0 * np.pi * stage.draw(1.5, 3.0) * stage.times)
    for me, other, body in ((people[0], people[1], bodies[1]), (people[1], people[0], bodies[0])):
        back = chest_of(body, other) - 0.15 * forward_of(other.heading) + stage.draw(-0.15, 0.1) * UP
        for side, out in ((LEFT, 0.1), (RIGHT, -0.1)):
            place = back + out * left_of(me.heading) + pat[:, None] * forward_of(me.heading)
            reach(me, side, place, close)
        me.lean[:, 0] += stage.draw(0.05, 0.2) * close
        me.lean[:, 1] += stage.draw(-0.1, 0.1) * close
    return list(people)


def dance(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Everybody to the same beat, each with own steps: hips, knees and arms swing periodically."""
    beat_hz = stage.draw(0.8, 1.7)
    people = []
    for body, place in zip(bodies, _places(stage, len(bodies), stage.draw(0.7, 1.1)), strict=True):
        phase = 2.0 * np.pi * beat_hz * stage.times + stage.draw(-0.4, 0.4)
        step = stage.draw(0.03, 0.15) * np.stack([np.sin(0.5 * phase), np.cos(0.5 * phase)], axis=1)
        heading = stage.draw(0.0, 2.0 * np.pi) + wander(stage, 0.3, 0.3, 1)[:, 0]
        me = move(stage, body, place + step, heading)
        crouch(me, stage.draw(0.02, 0.07) * (1.0 + np.cos(phase)))
        me.lean[:, 0] += stage.draw(0.0, 0.12) * np.cos(phase)
        me.lean[:, 1] += stage.draw(0.05, 0.2) * np.sin(0.5 * phase)
        me.twist += stage.draw(0.1, 0.4) * np.sin(0.5 * phase)
        high = stage.draw(-0.35, 0.35)
        lag = 0.0 if stage.chance(0.5) else np.pi
        width, lift_m = stage.draw(0.05, 0.25), stage.draw(0.05, 0.25)
        for side in SIDES:
            swing = phase * (0.5 if stage.chance(0.3) else 1.0) + lag * side
            arc = np.stack([0.2 + 0.12 * np.cos(swing), 0.1 + width * np.sin(swing), high + lift_m * np.sin(swing)], 1)
            me.hands[:, side] = arc
        people.append(me)
    return people


def wave(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """A raised hand swings to and fro; the others stand, or wave back."""
    people = []
    for index, (body, place) in enumerate(zip(bodies, _places(stage, len(bodies), 1.3), strict=True)):
        me = move(stage, body, place + wander(stage, 0.02, 0.4), np.full_like(stage.times, stage.draw(0.0, 6.28)))
        if index == 0 or stage.chance(0.6):
            start_s = stage.draw(-0.5, 0.3 * stage.duration_s)
            raised = ramp(stage.times, start_s, 0.5)
            raised -= ramp(stage.times, start_s + stage.draw(1.5, 4.5), 0.5) * raised
            swing = stage.draw(0.08, 0.22) * np.sin(2.0 * np.pi * stage.draw(1.0, 2.8) * stage.times)
            high = stage.draw(0.15, 0.45)
            offset = np.stack([np.full_like(swing, 0.12), 0.1 + swing, high - 0.3 * np.abs(swing)], axis=1)
            for side in SIDES if stage.chance(0.2) else (stage.side(),):
                me.hands[:, side] = blend(me.hands[:, side], offset, raised)
        people.append(me)
    return people


def run_past(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Runners cross the picture, together, after each other or against each other."""
    angle = stage.draw(0.0, 2.0 * np.pi)
    people = []
    for index, body in enumerate(bodies):
        way = angle + (np.pi if stage.chance(0.3) else 0.0) + stage.draw(-0.2, 0.2)
        speed = stage.draw(2.2, 4.5)
        velocity = speed * np.array([np.cos(way), np.sin(way)])
        across = np.array([-np.sin(angle), np.cos(angle)])
        middle = (index - 0.5) * stage.draw(0.5, 1.0) * across
        start = middle - velocity * stage.duration_s * stage.draw(0.3, 0.7)
        path = line(stage, start, velocity) + wander(stage, 0.08, 0.5)
        people.append(move(stage, body, path, np.full_like(stage.times, way)))
    return people


def sit_down(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Down on a chair or bench (and sometimes up again), hands on the knees."""
    people = []
    for body, place in zip(bodies, _places(stage, len(bodies), 0.9), strict=True):
        heading = np.full_like(stage.times, stage.draw(0.0, 2.0 * np.pi))
        me = move(stage, body, place + wander(stage, 0.01, 0.4), heading)
        length_s, start_s = stage.draw(0.8, 1.6), stage.draw(-1.5, 0.5 * stage.duration_s)
        down = ramp(stage.times, start_s, length_s)
        if stage.chance(0.3):
            down -= ramp(stage.times, start_s + length_s + stage.draw(0.5, 2.0), length_s)
        seat_m = stage.draw(0.42, 0.55)
        me.pelvis[:, 2] += down * (seat_m - me.pelvis[:, 2])
        me.pelvis[:, :2] -= (down * 0.8 * body.thigh_m)[:, None] * forward_of(heading)[:, :2]
        on_the_way = bump(stage.times, start_s, length_s, 0.5)
        me.lean[:, 0] += 0.6 * on_the_way + stage.draw(-0.15, 0.3) * down
        knees = me.pelvis + 0.8 * body.thigh_m * forward_of(heading) + 0.05 * UP
        for side, out in ((LEFT, 0.15), (RIGHT, -0.15)):
            reach(me, side, knees + out * left_of(heading), stage.draw(0.5, 0.95) * down)
        people.append(me)
    return people


def push_trolley(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Walk with both hands on a handle before the body; the others walk along."""
    angle, speed = stage.draw(0.0, 2.0 * np.pi), stage.draw(0.6, 1.5)
    people = []
    for index, body in enumerate(bodies):
        velocity = speed * np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-np.sin(angle), np.cos(angle)])
        start = index * stage.draw(0.6, 1.0) * across - velocity * stage.duration_s * stage.draw(0.3, 0.7)
        heading = np.full_like(stage.times, angle) + wander(stage, 0.08, 0.3, 1)[:, 0]
        me = move(stage, body, line(stage, start, velocity) + wander(stage, 0.04, 0.4), heading)
        if index == 0 or stage.chance(0.25):
            me.lean[:, 0] += stage.draw(0.05, 0.4)
            handle = me.pelvis + stage.draw(0.4, 0.55) * forward_of(heading) + stage.draw(-0.05, 0.15) * UP
            grip = np.ones_like(stage.times)
            for side, out in ((LEFT, 0.2), (RIGHT, -0.2)):
                reach(me, side, handle + out * left_of(heading), grip)
        people.append(me)
    return people


def talk(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Stand together and talk with the hands: pointing, shrugging, shifting from foot to foot."""
    people = []
    centre = np.zeros(2)
    for body, place in zip(bodies, _places(stage, len(bodies), stage.draw(0.5, 0.9)), strict=True):
        towards = centre - place
        heading = np.arctan2(towards[1], towards[0]) + wander(stage, 0.2, 0.3, 1)[:, 0]
        me = move(stage, body, place + wander(stage, 0.04, 0.3), heading)
        for moment in moments(stage, stage.draw(0.4, 1.0)) if stage.chance(0.7) else []:
            gesture = bump(stage.times, moment, stage.draw(0.7, 1.6), 0.4)
            for side in SIDES if stage.chance(0.4) else (stage.side(),):
                hold(me, side, (stage.draw(0.15, 0.4), stage.draw(0.0, 0.2), stage.draw(-0.35, 0.1)), gesture)
        people.append(me)
    return people


def pick_up(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Bend or squat for something on the ground, alone or with others near."""
    people = []
    for index, (body, place) in enumerate(zip(bodies, _places(stage, len(bodies), 0.8), strict=True)):
        heading = np.full_like(stage.times, stage.draw(0.0, 2.0 * np.pi))
        me = move(stage, body, place + wander(stage, 0.02, 0.4), heading)
        if index == 0 or stage.chance(0.4):
            length_s = stage.draw(1.2, 2.6)
            low = bump(stage.times, stage.draw(-0.6, 0.5 * stage.duration_s), length_s, 0.45)
            squat = stage.draw(0.05, 0.45)
            crouch(me, squat * low)
            me.lean[:, 0] += stage.draw(0.6, 1.3) * low
            floor = me.pelvis + 0.4 * forward_of(heading)
            floor[:, 2] = stage.draw(0.05, 0.4)
            for side in SIDES if stage.chance(0.5) else (stage.side(),):
                reach(me, side, floor, low)
        people.append(me)
    return people


LOOKALIKES: dict[str, tuple[Action, int, int]] = {
    "handshake": (handshake, 2, 2),
    "hug": (hug, 2, 2),
    "dance": (dance, 1, 4),
    "wave": (wave, 1, 3),
    "run_past": (run_past, 1, 3),
    "sit_down": (sit_down, 1, 3),
    "push_trolley": (push_trolley, 1, 2),
    "talk": (talk, 2, 4),
    "pick_up": (pick_up, 1, 2),
}
"""Every kind of what is no fight, with the smallest and largest number of people who take part."""


def _meet(stage: Stage, bodies: Sequence[Body], gap_m: float) -> tuple[Pair, tuple[Tracks, Tracks]]:
    """Two who walk up to each other, from up to two metres further, and stop at `gap_m`."""
    away = stage.draw(0.0, 2.0) * (1.0 - ramp(stage.times, -0.5, stage.draw(1.2, 2.0)))
    sway = wander(stage, 0.02, 0.4)
    turn = wander(stage, 0.05, 0.3, 1)[:, 0]
    pair = pair_up(stage, gap_m + away, turn, (sway, wander(stage, 0.02, 0.4)))
    return pair, _walkers(stage, bodies, pair)


def _walkers(stage: Stage, bodies: Sequence[Body], pair: Pair) -> tuple[Tracks, Tracks]:
    first, second = (
        move(stage, body, path, heading)
        for body, path, heading in zip(bodies[:2], pair.paths, pair.headings, strict=True)
    )
    return first, second


def _places(stage: Stage, people: int, apart_m: float) -> list[Array]:
    """Places (2,) around the origin, about `apart_m` from the middle; one person stands in it."""
    if people == 1:
        return [np.zeros(2)]
    turn = stage.draw(0.0, 2.0 * np.pi)
    angles = turn + 2.0 * np.pi * np.arange(people) / people + stage.rng.normal(0.0, 0.2, people)
    return [apart_m * stage.draw(0.7, 1.2) * np.array([np.cos(angle), np.sin(angle)]) for angle in angles]
