"""Generated skeleton clips: 3-D articulated people, acting, seen by a surveillance camera and a noisy tracker.

The way of a clip, one file a step (NumPy only, everything drawn from the generator that the seed starts)::

    body, kinematics     who moves: proportions, joints from a handful of tracks
    motion, pair         how anybody moves: gait, reaching, two people facing each other
    fights, lookalikes   what happens; bystanders stand or pass beside it
    camera               3-D joints to pixels
    detector, tracker    what a pose network and a tracker make of the pixels
    ranges               which values the parameters of a scene take, for training and held out
    generate             the whole, as MMAction2 annotations
"""
