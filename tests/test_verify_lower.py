"""What judges a file of lower precision besides its accuracy: every shape, finite, with real motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stgcn_onnx.accuracy import AccuracyLimits, AccuracyReport
from stgcn_onnx.errors import VerificationError
from stgcn_onnx.lower_report import lower_document, lower_table, refuse
from stgcn_onnx.verify_lower import LowerReport, ShapeRow, _with_frames

SHAPE = (1, 2, 8, 17, 3)


def report(row: ShapeRow, *suggestions: str) -> LowerReport:
    accuracy = AccuracyReport(AccuracyLimits(), ())
    return LowerReport((row,), accuracy, suggestions, {}, "onnxruntime on cpu")


def test_motion_is_cut_or_goes_on_forwards_and_backwards() -> None:
    clip = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    assert _with_frames(clip, 3).ravel().tolist() == [0, 1, 2]
    assert _with_frames(clip, 11).ravel().tolist() == [0, 1, 2, 3, 3, 2, 1, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ShapeRow(SHAPE, 3, False, 8, 0.0, 0.05), "[1, 2, 8, 17, 3]: logits that are not finite"),
        (
            ShapeRow(SHAPE, 3, True, 8, 0.0501, 0.05),
            "[1, 2, 8, 17, 3]: mean probability difference 0.0501 on 8 clips, allowed 0.05",
        ),
    ],
)
def test_a_bad_shape_is_refused_with_the_layers_to_exclude(row: ShapeRow, message: str) -> None:
    bad = report(row, "/a", "/b")
    assert not bad.passed
    assert lower_document(bad)["passed"] is False
    assert lower_document(bad)["accuracy"]["exclude_next"] == ["/a", "/b"]
    assert lower_table(bad).startswith("DIFFERS 1x2x8x17x3: 3 cases")
    with pytest.raises(VerificationError) as caught:
        refuse(bad, Path("x.onnx"), see="see x.json")
    assert caught.value.message == f"model x.onnx: {message}"
    assert caught.value.hint == "leave these layers in float with calibration.exclude: /a, /b; see x.json"


def test_a_good_shape_passes() -> None:
    good = report(ShapeRow(SHAPE, 3, True, 8, 0.05, 0.05))
    assert good.passed
    assert lower_table(good) == "ok      1x2x8x17x3: 3 cases finite, mean probability difference 0.0500"
