"""Fights: punch, kick, shove, grapple, and a fall under blows.

Every function plays its action for the bodies given (the first two are the main fighters, a third joins in) and
returns their tracks. A blow is planned first as a moment; the paths then carry the recoil, and the limbs reach
for where the other one is at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stgcn_onnx.scene.body import LEFT, RIGHT, Body, Tracks
from stgcn_onnx.scene.kinematics import UP, Array, left_of
from stgcn_onnx.scene.motion import (
    SIDES,
    Stage,
    bump,
    chest_of,
    crouch,
    fall,
    head_of,
    hold,
    move,
    ramp,
    reach,
    step_to,
    wander,
)
from stgcn_onnx.scene.pair import Pair, jolts, moments, pair_up

Action = Callable[[Stage, Sequence[Body]], list[Tracks]]


def punch(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Blows with the fists at head and chest, one-sided or exchanged, the other guarding and reeling."""
    return _exchange(stage, bodies, kicks=0.0)


def kick(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Mostly kicks at legs and trunk, with punches between."""
    return _exchange(stage, bodies, kicks=stage.draw(0.6, 1.0))


def shove(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Both hands against the chest; the other stumbles back, may come again, may fall."""
    at_s = moments(stage, stage.draw(0.8, 1.5), stage.draw(0.0, 0.2))
    back = jolts(stage, [moment + 0.12 for moment in at_s], stage.draw(0.5, 0.9), lasting=0.6)
    follow = jolts(stage, [moment + 0.35 for moment in at_s], 0.45, lasting=0.9)
    pair = _opposite(stage, stage.draw(0.55, 0.75), back, -follow)
    first, second = _people(stage, bodies, pair)
    goes_down = stage.chance(0.25)
    for moment in at_s:
        push = bump(stage.times, moment, 0.55, 0.3)
        aim = chest_of(bodies[1], second)
        aside = left_of(first.heading) * 0.13
        reach(first, LEFT, aim + aside, push)
        reach(first, RIGHT, aim - aside, push)
        first.lean[:, 0] += 0.3 * push
        first.pelvis[:, :2] += (0.15 * push)[:, None] * pair.axis
        shock = bump(stage.times, moment + 0.12, 0.6, 0.3)
        second.lean[:, 0] -= stage.draw(0.2, 0.5) * shock
        second.nod -= 0.4 * shock
        for side in SIDES:
            hold(second, side, (stage.draw(0.15, 0.35), 0.25, stage.draw(-0.2, 0.15)), shock)
    if goes_down:
        fall(stage, bodies[1], second, ramp(stage.times, at_s[0] + 0.2, stage.draw(0.5, 0.8)), forward=False)
    return [first, second, *_joiners(stage, bodies[2:], second, bodies[1])]


def grapple(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """Hold of each other, bent and pulling, turning by jerks."""
    jerk = stage.draw(1.4, 2.6)
    turn = wander(stage, stage.draw(0.25, 0.6), 0.5 * jerk, 1)[:, 0] + stage.draw(-1.2, 1.2) * stage.times
    gap = stage.draw(0.4, 0.55) + wander(stage, 0.05, jerk, 1)[:, 0]
    sway = wander(stage, 0.13, 0.6 * jerk)
    pair = pair_up(stage, gap, turn, (sway * np.array([-1.0, 1.0]), sway))
    people = _people(stage, bodies, pair)
    for me, other, body in ((people[0], people[1], bodies[1]), (people[1], people[0], bodies[0])):
        me.lean[:, 0] += stage.draw(0.15, 0.6) + wander(stage, 0.12, jerk, 1)[:, 0]
        me.lean[:, 1] += wander(stage, 0.18, jerk, 1)[:, 0]
        me.twist += wander(stage, 0.3, jerk, 1)[:, 0]
        crouch(me, stage.draw(0.03, 0.15) + np.abs(wander(stage, 0.06, jerk, 1)[:, 0]))
        grip = head_of(body, other) if stage.chance(0.4) else chest_of(body, other)
        for side, out in ((LEFT, 0.17), (RIGHT, -0.17)):
            tug = wander(stage, 0.09, 1.3 * jerk, 3)
            reach(me, side, grip + out * left_of(me.heading) + tug, np.full_like(stage.times, 0.95))
    if stage.chance(0.5):
        for moment in moments(stage, 1.0):
            _strike(stage, people[0], head_of(bodies[1], people[1]), moment, stage.side())
    return [*people, *_joiners(stage, bodies[2:], people[1], bodies[1])]


def fall_under_blows(stage: Stage, bodies: Sequence[Body]) -> list[Tracks]:
    """One goes down, before or during the clip, and is beaten and kicked on."""
    down_s = stage.draw(-1.0, 0.45 * stage.duration_s)
    at_s = moments(stage, stage.draw(1.2, 2.4))
    back = stage.draw(0.2, 0.5) * ramp(stage.times, down_s, 0.6)
    pair = _opposite(stage, stage.draw(0.6, 0.8), back, -back)
    first, second = _people(stage, bodies, pair)
    down = ramp(stage.times, down_s, stage.draw(0.4, 0.8))
    fall(stage, bodies[1], second, down, forward=stage.chance(0.4))
    second.lean += wander(stage, 0.12, 1.5) * down[:, None]
    for side, out in ((LEFT, 0.1), (RIGHT, -0.1)):
        guard = head_of(bodies[1], second) + out * left_of(second.heading) + wander(stage, 0.05, 2.0, 3)
        reach(second, side, guard, 0.9 * down)
    stooped = stage.draw(0.3, 0.9)
    first.lean[:, 0] += stooped * down
    crouch(first, stage.draw(0.05, 0.3) * down)
    kicker = stage.chance(0.5)
    for moment in at_s:
        _strike_or_kick(stage, bodies, first, second, moment, kicks=0.8 if kicker else 0.1)
        second.twist += 0.3 * bump(stage.times, moment + 0.1, 0.4)
        second.pelvis[:, :2] += (0.06 * bump(stage.times, moment + 0.1, 0.4))[:, None] * pair.axis
    return [first, second, *_joiners(stage, bodies[2:], second, bodies[1])]


FIGHTS: dict[str, Action] = {
    "punch": punch,
    "kick": kick,
    "shove": shove,
    "grapple": grapple,
    "fall_under_blows": fall_under_blows,
}
"""Every kind of fight; each needs two bodies and takes three."""


def _exchange(stage: Stage, bodies: Sequence[Body], *, kicks: float) -> list[Tracks]:
    """Blows from the first, and with luck from the second, each answered by a recoil."""
    rates_hz = (stage.draw(1.6, 3.0), stage.draw(0.8, 2.2) if stage.chance(0.65) else 0.0)
    at_s = [moments(stage, rate) if rate else [] for rate in rates_hz]
    back = jolts(stage, [moment + 0.12 for moment in at_s[0]], 0.16, lasting=0.4)
    reel = jolts(stage, [moment + 0.12 for moment in at_s[1]], 0.12, lasting=0.2)
    pair = _opposite(stage, stage.draw(0.65, 0.95) + (0.1 if kicks else 0.0), back, reel - 0.7 * back)
    people = _people(stage, bodies, pair)
    for me, blows in zip(people, (at_s[1], at_s[0]), strict=True):
        _guard(stage, me, stage.draw(0.0, 1.0))
        for moment in blows:
            shock = bump(stage.times, moment + 0.12, 0.55, 0.3)
            me.lean += shock[:, None] * np.array([stage.draw(-0.35, 0.25), stage.draw(-0.25, 0.25)])
            me.nod -= stage.draw(-0.3, 0.6) * shock
            crouch(me, 0.08 * shock)
    for moment in at_s[0]:
        _strike_or_kick(stage, bodies, people[0], people[1], moment, kicks=kicks)
    for moment in at_s[1]:
        _strike_or_kick(stage, (bodies[1], bodies[0]), people[1], people[0], moment, kicks=kicks)
    return [*people, *_joiners(stage, bodies[2:], people[1], bodies[1])]


def _opposite(stage: Stage, gap_m: float, second_back: Array, first_back: Array) -> Pair:
    """A pair that circles slowly and shifts its feet; each moves back by its own amount (T,)."""
    turn = wander(stage, 0.15, 0.5, 1)[:, 0] + stage.draw(-0.3, 0.3) * stage.times
    gap = np.maximum(gap_m + wander(stage, 0.06, 1.2, 1)[:, 0], 0.4)
    drift = wander(stage, 0.05, 0.8)
    return pair_up(
        stage,
        gap,
        turn,
        (
            np.stack([first_back - drift[:, 0], drift[:, 1]], axis=1),
            np.stack([second_back + drift[:, 0], drift[:, 1]], axis=1),
        ),
    )


def _people(stage: Stage, bodies: Sequence[Body], pair: Pair) -> tuple[Tracks, Tracks]:
    """Both of the pair with the gait of their paths."""
    first, second = (
        move(stage, body, path, heading)
        for body, path, heading in zip(bodies[:2], pair.paths, pair.headings, strict=True)
    )
    return first, second


def _guard(stage: Stage, person: Tracks, weight: float) -> None:
    """Fists before the face, knees soft."""
    on = np.full_like(stage.times, weight)
    for side in SIDES:
        hold(person, side, (stage.draw(0.2, 0.3), -0.04, stage.draw(-0.1, 0.08)), on)
    person.hands += wander(stage, 0.03, 2.0, 6).reshape(-1, 2, 3)
    person.lean[:, 0] += 0.15 * weight
    crouch(person, 0.06 * on)


def _strike_or_kick(
    stage: Stage, bodies: Sequence[Body], me: Tracks, other: Tracks, moment: float, *, kicks: float
) -> None:
    """One blow of `bodies[0]` at `bodies[1]`: a kick with the probability `kicks`, else a punch."""
    if stage.rng.random() < kicks:
        aim = other.pelvis + stage.draw(-0.4, 0.35) * UP
        aim[:, 2] = np.maximum(aim[:, 2], 0.15)
        _foot(stage, bodies[0], me, aim, moment)
    else:
        aim = head_of(bodies[1], other) if stage.chance(0.7) else chest_of(bodies[1], other)
        _strike(stage, me, aim, moment, stage.side())


def _strike(stage: Stage, me: Tracks, aim: Array, moment: float, side: int) -> None:
    """One punch: drawn back a little, then fast to `aim` with trunk and hips behind it."""
    length_s = stage.draw(0.3, 0.5)
    hit = bump(stage.times, moment, length_s, 0.35)
    draw_back = bump(stage.times, moment - 0.2, 0.25, 0.5)
    sign = -1.0 if side == LEFT else 1.0
    hold(me, side, (-0.05, 0.15, 0.0), 0.8 * draw_back)
    reach(me, side, aim + wander(stage, 0.03, 1.0, 3), hit)
    me.twist += sign * (0.6 * hit - 0.3 * draw_back)
    me.lean[:, 0] += stage.draw(0.1, 0.35) * hit
    towards = aim[:, :2] - me.pelvis[:, :2]
    me.pelvis[:, :2] += stage.draw(0.08, 0.2) * hit[:, None] * towards


def _foot(stage: Stage, body: Body, me: Tracks, aim: Array, moment: float) -> None:
    """One kick: the knee comes up, the foot goes out, the trunk leans away."""
    length_s = stage.draw(0.45, 0.7)
    hit = bump(stage.times, moment, length_s, 0.4)
    side = stage.side()
    step_to(me, side, aim, hit)
    me.lean[:, 0] -= stage.draw(0.1, 0.4) * hit
    for hand in SIDES:
        hold(me, hand, (stage.draw(0.0, 0.3), 0.3, stage.draw(-0.35, 0.0)), hit)
    me.pelvis[:, 2] = np.minimum(me.pelvis[:, 2], body.hip_height_m)


def _joiners(stage: Stage, bodies: Sequence[Body], victim: Tracks, victim_body: Body) -> list[Tracks]:
    """More people who beat the same victim from its other sides."""
    joined = []
    for index, body in enumerate(bodies):
        angle = victim.heading + (1.0 if index % 2 else -1.0) * stage.draw(1.2, 2.2)
        place = victim.pelvis[:, :2] + stage.draw(0.6, 0.9) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        me = move(stage, body, place + wander(stage, 0.06, 0.8), angle + np.pi)
        _guard(stage, me, stage.draw(0.3, 1.0))
        for moment in moments(stage, stage.draw(0.8, 2.0)):
            _strike_or_kick(stage, (body, victim_body), me, victim, moment, kicks=0.3)
        joined.append(me)
    return joined
