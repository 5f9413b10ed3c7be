"""Which generated clips serve what, in one place: what calibrates a file must not be what judges it.

Training, validation and the demo model's report branch from a user's seed at 1 to 3 and from 10 on
(`scene/generate.py`, `demo.py`). The sources below branch at numbers of their own, so no clip is in two of them, and
none was trained on, whatever seed the training had.
"""

from __future__ import annotations

from dataclasses import dataclass

from stgcn_onnx.annotations import Annotation
from stgcn_onnx.errors import UsageError
from stgcn_onnx.metadata import class_names
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.scene.generate import generate_clips
from stgcn_onnx.scene.ranges import HELD_OUT, TRAIN, SceneRanges

CLASSES = ("normal", "fight")
"""What the labels 0 and 1 of a generated clip mean."""
_SEED = 0
_JOINTS = 17
_CHANNELS = (2, 3)


@dataclass(frozen=True)
class Source:
    """Generated clips for one purpose; `branch` is where their seeds leave those of all other clips."""

    name: str
    branch: int
    ranges: SceneRanges

    @property
    def seed(self) -> tuple[int, int]:
        """Where the seeds of the clips branch from."""
        return (_SEED, self.branch)

    def annotations(self, count: int) -> list[Annotation]:
        """The first `count` clips; fights and others alternate, their kinds take turns."""
        return generate_clips(self.name, count, self.seed, self.ranges)


CALIBRATION = Source("calibration", 20, TRAIN)
"""To choose the scales of an 8-bit file: scenes as in training."""
JUDGEMENT = Source("held_out", 21, HELD_OUT)
"""To accept or refuse a file of lower precision: scenes with parameters that neither training nor calibration saw."""


def is_served(model: LoadedModel) -> bool:
    """Whether generated scenes can feed the model: they are people of COCO's 17 joints in x, y and a score."""
    return model.shape.joints == _JOINTS and model.shape.channels in _CHANNELS


def require_served(model: LoadedModel) -> None:
    """Refuse a model that generated scenes cannot feed.

    Raises:
        UsageError: naming what the model takes.
    """
    if not is_served(model):
        raise UsageError(
            f"config {model.config.path}: the model takes {model.shape.joints} joints of {model.shape.channels} "
            f"channels; generated clips have {_JOINTS} joints of 2 or 3",
            hint="give clips of the model's own data set: verify.data (--data) to judge it, calibration.data to "
            "calibrate it",
        )


def labels_count(model: LoadedModel) -> bool:
    """Whether the model's classes are the generator's, so that a generated clip's label is the right answer."""
    return tuple(class_names(model)) == CLASSES
