"""Labelled videos as MMAction2 tests on them: its own `PoseDataset`, with the config's settings and pipeline.

MMAction2 would unpickle the annotation file without restriction; here the file is read by `annotations.py` and the
data set is handed what was read. Nothing else of it is replaced.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stgcn_onnx.annotations import Annotation
from stgcn_onnx.clips import check_views, pipeline_refusal
from stgcn_onnx.config import RecogniserConfig
from stgcn_onnx.config_safety import refuse_foreign_types
from stgcn_onnx.errors import UsageError
from stgcn_onnx.mmaction import load_mmaction
from stgcn_onnx.model import LoadedModel, test_pipeline
from stgcn_onnx.runtime import FloatArray

_DATASETS = ("PoseDataset", "mmaction.PoseDataset")
_KEPT = ("valid_ratio", "box_thr", "start_index")
"""The data set's settings that decide which clips it has and what the pipeline sees; the rest says where files lie."""


@dataclass(frozen=True)
class Video:
    """A video as the network sees it: `views` `[K, M, T, V, C]`, the K clips that the pipeline samples from it.

    The label is None where it says nothing about this model's classes.
    """

    frame_dir: str
    label: int | None
    views: FloatArray


class Videos:
    """Videos through MMAction2's data set, decoded one by one while they are iterated over.

    Args:
        annotations: clips in MMAction2's format.
        where: the file they are from, for messages.
        frames: the fewest and the most frames that the model takes; by default its traced number alone.
        labelled: whether the labels are classes of this model.
        most_views: how many clips of each video to keep at most, the first ones; by default all.

    Raises:
        UsageError: no clip is left, a label is none of the model's classes, or the config's data set is of another
            type than `PoseDataset`, counts several labels per video, or has no pipeline.
    """

    def __init__(
        self,
        annotations: Sequence[Annotation],
        model: LoadedModel,
        where: str,
        *,
        frames: tuple[int, int] | None = None,
        labelled: bool = True,
        most_views: int | None = None,
    ) -> None:
        self.labelled = labelled
        self._most_views = most_views
        self._model = model
        self._where = where
        self._frames = frames or (model.shape.frames, model.shape.frames)
        if labelled:
            for annotation in annotations:
                _check_label(annotation, model.num_classes, where)
        self._dataset = _pose_dataset(annotations, model.config, where)
        if not len(self._dataset):
            raise UsageError(f"clips {where}: no clips are left", hint="give a pickle with at least one clip")

    def __len__(self) -> int:
        return len(self._dataset)

    def __iter__(self) -> Iterator[Video]:
        for index in range(len(self)):
            annotation = self._dataset.data_list[index]
            place = f"clips {self._where}: {annotation['frame_dir']}"
            try:
                views = self._dataset[index]["inputs"].numpy()[: self._most_views]
            except Exception as error:  # transforms raise whatever their arithmetic does on a clip of a foreign kind
                raise pipeline_refusal(self._where, annotation, error) from error
            check_views(views, self._model.shape, self._frames, place)
            if not np.isfinite(views).all():
                raise UsageError(
                    f"{place}: the config's test pipeline gives values that are not finite",
                    hint="remove the clip, or the NaN in its keypoints",
                )
            label = int(annotation["label"]) if self.labelled else None
            yield Video(str(annotation["frame_dir"]), label, views.astype(np.float32))


def _check_label(annotation: Annotation, num_classes: int, where: str) -> None:
    label = annotation["label"]
    if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < num_classes:
        raise UsageError(
            f"clips {where}: {annotation['frame_dir']}: label {label!r} is none of the model's {num_classes} classes, "
            f"0 to {num_classes - 1}",
            hint="use the clips and the model that belong together",
        )


def _pose_dataset(annotations: Sequence[Annotation], config: RecogniserConfig, where: str) -> Any:
    """MMAction2's data set over clips that were read already."""
    spec = _dataset_of(config)
    pipeline = spec.get("pipeline") or test_pipeline(config)
    if not pipeline:
        raise UsageError(f"config {config.path}: no test_pipeline", hint="add one, clips cannot be prepared without it")
    if not config.trusted:
        refuse_foreign_types({"test_pipeline": pipeline}, config.path)
    load_mmaction()
    from mmaction.datasets import PoseDataset

    class GivenClips(PoseDataset):
        def load_data_list(self) -> list[Annotation]:
            return [dict(annotation) for annotation in annotations]

    settings = {key: spec[key] for key in _KEPT if key in spec}
    try:
        with _without_notices():
            return GivenClips(
                "", pipeline=copy.deepcopy(list(pipeline)), test_mode=True, serialize_data=False, **settings
            )
    except Exception as error:  # filters raise what a missing key or a wrong setting gives
        raise UsageError(
            f"config {config.path}: test_dataloader.dataset cannot take clips {where}: {type(error).__name__}: {error}",
            hint="use clips of the data set that the config is for",
        ) from error


@contextlib.contextmanager
def _without_notices() -> Iterator[None]:
    """MMEngine's logger writes to stdout, which is for results."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _dataset_of(config: RecogniserConfig) -> Mapping[str, Any]:
    """The config's own test data set; empty where the config holds a pipeline alone."""
    spec = (config.values.get("test_dataloader") or {}).get("dataset") or {}
    if spec and spec.get("type") not in _DATASETS:
        raise UsageError(
            f"config {config.path}: test_dataloader.dataset: expected type PoseDataset, found {spec.get('type')!r}",
            hint="give the config of a skeleton recogniser",
        )
    if spec.get("multi_class"):
        raise UsageError(
            f"config {config.path}: test_dataloader.dataset.multi_class: several labels per video cannot be evaluated",
            hint="give a config with one label per video",
        )
    return spec
