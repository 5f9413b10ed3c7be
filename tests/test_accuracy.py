"""The gate for lower precisions: a true copy passes, a nudged file does not; clips of the calibration do not count."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from balanced import convert_balanced, shifted, write_balanced
from test_clips import people_clip
from tiny import Tiny

from stgcn_onnx.accuracy import AccuracyLimits, AccuracyReport, accuracy_document, check_accuracy, set_text
from stgcn_onnx.clip_sets import ClipSet, given_clips, held_out_clips
from stgcn_onnx.errors import VerificationError
from stgcn_onnx.model import LoadedModel
from stgcn_onnx.reference import Reference
from stgcn_onnx.runtime import Session

CLIPS = 24


@pytest.fixture(scope="module")
def balanced(tiny_source: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write_balanced(tiny_source, tmp_path_factory.mktemp("balanced"))


@pytest.fixture(scope="module")
def model(balanced: Tiny) -> LoadedModel:
    return balanced.load()


@pytest.fixture(scope="module")
def content(balanced: Tiny) -> bytes:
    return convert_balanced(balanced).read_bytes()


@pytest.fixture(scope="module")
def clips(model: LoadedModel) -> ClipSet:
    return held_out_clips(model, CLIPS)


def judged(content: bytes, model: LoadedModel, clips: ClipSet, **limits: float) -> AccuracyReport:
    reference = Reference(model.recogniser)
    return check_accuracy(Session(content, spinning=False), reference, model, [clips], AccuracyLimits(**limits))


def test_a_true_copy_passes(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    report = judged(content, model, clips)
    (found,) = report.sets
    assert report.passed
    assert found.passed
    assert (found.clips, found.agreement, found.differing) == (CLIPS, 1.0, ())
    assert found.max_probability_difference < 1e-4
    assert found.top1 == found.reference_top1
    assert 0 < found.top1 < 1, "the model answers both classes, or the next tests prove nothing"


def test_a_nudged_file_fails_with_the_clips_that_show_it(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    report = judged(shifted(content, 1.5), model, clips)
    (found,) = report.sets
    assert not report.passed
    assert found.agreement < 0.99
    assert len(found.differing) == round((1 - found.agreement) * CLIPS) > 0
    for item in found.differing:
        assert item.reference[0] > 0.5 > item.candidate[0], "the nudge is towards class 1"
        assert sum(item.candidate) == pytest.approx(1)
        assert item.label in (0, 1)
    assert found.mean_probability_difference > 0.01
    assert any("of the clips agree with PyTorch, expected 99.00% at least" in text for text in found.broken)
    assert any("mean probability difference 0." in text and "allowed 0.01" in text for text in found.broken)


def test_each_limit_fails_by_itself(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    nudged = shifted(content, 1.5)
    wide = {"min_agreement": 0.0, "max_probability_difference": 1.0, "max_top1_drop": 1.0}
    assert judged(nudged, model, clips, **wide).passed
    assert not judged(nudged, model, clips, **(wide | {"min_agreement": 0.99})).passed
    assert not judged(nudged, model, clips, **(wide | {"max_probability_difference": 0.01})).passed
    (found,) = judged(nudged, model, clips, **wide).sets
    assert found.top1_drop is not None
    just = judged(nudged, model, clips, **(wide | {"max_top1_drop": max(found.top1_drop, 0.0)}))
    assert just.passed


def test_a_drop_in_top1_alone_is_enough(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    """Towards the side on which it costs right answers, whichever that is for this model."""
    wide = {"min_agreement": 0.0, "max_probability_difference": 1.0}
    reports = [judged(shifted(content, step), model, clips, **wide) for step in (20.0, -20.0)]
    drops = [report.sets[0].top1_drop or 0.0 for report in reports]
    worse = int(np.argmax(drops))
    assert drops[worse] > 0.005
    assert not reports[worse].passed
    (text,) = reports[worse].sets[0].broken
    assert text == f"top-1 falls by {drops[worse] * 100:.2f} points, allowed 0.5"


def test_a_file_that_gives_no_number_fails(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    (found,) = judged(shifted(content, np.nan), model, clips).sets
    assert (found.agreement, found.mean_probability_difference) == (0.0, 1.0)
    assert not found.passed


def test_labels_count_only_where_the_classes_are_the_generators(
    tiny_source: Tiny, tmp_path: Path, content: bytes, clips: ClipSet
) -> None:
    other = write_balanced(tiny_source, tmp_path, classes=("fight", "normal")).load()
    unlabelled = held_out_clips(other, CLIPS)
    (found,) = judged(content, other, unlabelled).sets
    assert (found.top1, found.reference_top1, found.top1_drop) == (None, None, None)
    assert found.agreement == 1.0
    assert "top-1" not in set_text(found)
    assert clips.videos.labelled
    assert not unlabelled.videos.labelled


def test_clips_that_were_left_out_are_told(tmp_path: Path, content: bytes, model: LoadedModel) -> None:
    path = tmp_path / "clips.pkl"
    path.write_bytes(pickle.dumps([people_clip(f"clip{index}", 1) for index in range(5)]))
    (found,) = judged(content, model, given_clips(path, model, calibrated=["clip1", "clip3"], limit=2)).sets
    assert (found.clips, found.calibrated, found.unused) == (2, 2, 1)
    assert set_text(found).endswith("; 2 left out, used for calibration; 1 left out, beyond the largest number")


def test_nothing_to_judge_by_is_an_error(content: bytes, model: LoadedModel) -> None:
    with pytest.raises(VerificationError, match="nothing was compared"):
        check_accuracy(Session(content), Reference(model.recogniser), model, [], AccuracyLimits())


def test_progress_is_told_for_every_clip(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    told: list[tuple[str, int, int]] = []
    check_accuracy(
        Session(content, spinning=False), Reference(model.recogniser), model, [clips], AccuracyLimits(),
        lambda *what: told.append(what),
    )  # fmt: skip
    assert told == [(clips.name, done, CLIPS) for done in range(1, CLIPS + 1)]


def test_the_report_is_plain_json_and_names_what_to_exclude(content: bytes, model: LoadedModel, clips: ClipSet) -> None:
    document = accuracy_document(judged(shifted(content, 1.5), model, clips), ["backbone.gcn.0", "head"])
    again = json.loads(json.dumps(document))
    assert again["passed"] is False
    assert again["exclude_next"] == ["backbone.gcn.0", "head"]
    assert again["limits"] == {"min_agreement": 0.99, "max_probability_difference": 0.01, "max_top1_drop": 0.005}
    (only,) = again["sets"]
    assert only["passed"] is False
    assert len(only["broken"]) >= 1
    assert {"frame_dir", "label", "candidate", "reference"} == set(only["differing"][0])
