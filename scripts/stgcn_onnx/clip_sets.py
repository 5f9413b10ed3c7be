"""Which clips judge a file: generated ones that nothing was trained or calibrated on, and those that the user gives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from stgcn_onnx.annotations import read_annotations, spread_out
from stgcn_onnx.errors import UsageError
from stgcn_onnx.generated import JUDGEMENT, is_served, labels_count, require_served
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.videos import Videos

HELD_OUT_CLIPS = 300
"""How many generated clips judge a file.

99 % of 300 lets three differ: a file that really differs on 3 % of all clips passes once in fifty times, with 100 clips
it would pass once in five. With the demo model 300 clips take 38 s of processor time, spread over the cores.
"""
MOST_GIVEN_CLIPS = 1000
"""A larger annotation file is judged by so many of its clips, evenly spread."""


@dataclass(frozen=True)
class ClipSet:
    """Clips to judge by.

    Args:
        videos: decoded while they are iterated over.
        calibrated: how many clips were left out because the calibration used them.
        unused: how many were left out because there were too many.
    """

    name: str
    videos: Videos
    calibrated: int = 0
    unused: int = 0


def held_out_clips(
    model: LoadedModel, count: int = HELD_OUT_CLIPS, *, frames: tuple[int, int] | None = None
) -> ClipSet:
    """Generated clips that neither training nor calibration saw, through the config's test pipeline.

    Args:
        frames: the fewest and the most frames that the file takes; by default the traced number alone.

    Raises:
        UsageError: the model takes other skeletons than the generator makes, or its config has no pipeline.
    """
    require_served(model)
    videos = Videos(
        JUDGEMENT.annotations(count),
        model,
        "generated",
        frames=frames,
        labelled=labels_count(model),
        # Other clips of one video tell little more of the network, and a config may sample ten.
        most_views=1,
    )
    return ClipSet("generated, held out", videos)


def given_clips(
    path: Path,
    model: LoadedModel,
    *,
    calibrated: Collection[str] = (),
    frames: tuple[int, int] | None = None,
    limit: int = MOST_GIVEN_CLIPS,
) -> ClipSet:
    """The clips of an annotation pickle that the calibration did not use.

    Args:
        calibrated: the `frame_dir` of each clip that the calibration used.
        frames: as in `held_out_clips`.
        limit: how many to take at most, evenly spread.

    Raises:
        UsageError: unreadable clips, clips of another kind than the model's, or none that the calibration left.
    """
    every = read_annotations(path)
    used = frozenset(calibrated)
    left = [annotation for annotation in every if annotation["frame_dir"] not in used]
    if not left:
        raise UsageError(
            f"clips {path}: all {len(every)} were used for calibration, none is left to judge the file by",
            hint="lower calibration.clips, or give other clips with verify.data (--data)",
        )
    chosen = spread_out(left, limit)
    videos = Videos(chosen, model, str(path), frames=frames)
    return ClipSet(f"given, {path.name}", videos, len(every) - len(left), len(left) - len(chosen))


def clip_sets(
    model: LoadedModel,
    data: Path | None,
    *,
    calibrated: Collection[str] = (),
    frames: tuple[int, int] | None = None,
) -> list[ClipSet]:
    """All that can judge a file of this model: generated clips where they fit, and the given ones.

    Raises:
        UsageError: there are none; see `held_out_clips` and `given_clips`.
    """
    sets = [] if data is None else [given_clips(data, model, calibrated=calibrated, frames=frames)]
    if not sets or is_served(model):
        sets.insert(0, held_out_clips(model, frames=frames))
    return sets
