"""`scripts/evaluate.py`: figures on labelled videos, for files of ours and of others, and its answers to bad input."""

from __future__ import annotations

import json
import pickle
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
import torch
from balanced import convert_balanced, shifted, write_balanced
from test_checkpoint import CALLS
from test_clips import people_clip
from tiny import ROOT, Outcome, Tiny, run_script

from stgcn_onnx.annotations import read_annotations
from stgcn_onnx.evaluation import Evaluation, Subject, summarise
from stgcn_onnx.evaluation_plot import plot
from stgcn_onnx.evaluation_report import document, report_json, tables_of
from stgcn_onnx.generated import JUDGEMENT
from stgcn_onnx.predictions import Predictions
from stgcn_onnx.videos import Videos

Evaluate = Callable[..., Outcome]
COUNT = 13


@pytest.fixture(scope="module")
def balanced(tiny_source: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny model with named classes, its files in out/: free.onnx (both axes free) and eights.onnx (8 clips)."""
    tiny = write_balanced(tiny_source, tmp_path_factory.mktemp("balanced"))
    free = {"axes__batch_size__dynamic": True, "axes__num_frames__dynamic": True}
    convert_balanced(tiny, **free).rename(tiny.output.with_name("free.onnx"))
    convert_balanced(tiny, input__batch_size=8).rename(tiny.output.with_name("eights.onnx"))
    return tiny


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    annotations = JUDGEMENT.annotations(COUNT)
    names = [clip["frame_dir"] for clip in annotations]
    return pickled(tmp_path_factory.mktemp("clips"), {"split": {"val": names[:4]}, "annotations": annotations})


def pickled(folder: Path, content: object) -> Path:
    path = folder / "clips.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.fixture
def evaluate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], balanced: Tiny) -> Evaluate:
    """Run the script's own main in this process, which is quicker than starting another."""

    def call(*arguments: object, model: str = "free.onnx") -> Outcome:
        given = ["--model", balanced.output.with_name(model), "--preset", balanced.preset, *arguments]
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, given)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts" / "evaluate.py"), run_name="__main__")
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return call


def pytorch_figures(balanced: Tiny, clips: Path) -> tuple[float, list[list[int]]]:
    """Top-1 and confusion matrix, computed straight from the model's answers."""
    model = balanced.load()
    counts = np.zeros((2, 2), int)
    for video in Videos(read_annotations(clips), model, "clips"):
        with torch.inference_mode():
            counts[video.label, int(model.recogniser(torch.from_numpy(video.views)).argmax())] += 1
    return float(np.trace(counts) / counts.sum()), counts.tolist()


@pytest.mark.parametrize("model", ["free.onnx", "eights.onnx"])
def test_figures_are_those_of_the_model(
    balanced: Tiny, clips: Path, tmp_path: Path, evaluate: Evaluate, model: str
) -> None:
    """Thirteen clips fill a static batch of eight once, and once not."""
    outcome = evaluate("--data", clips, "--json", tmp_path / "r.json", model=model)
    assert outcome.code == 0, outcome.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    expected, counts = pytorch_figures(balanced, clips)
    for side in ("file", "pytorch"):
        assert report[side]["top1"] == pytest.approx(expected, abs=1e-5)
        assert report[side]["confusion"] == counts
        assert 0 <= report[side]["roc_auc"] <= 1
    assert (report["videos"], report["samples"], report["agreement"], report["differing"]) == (COUNT, COUNT, 1.0, [])
    assert report["max_probability_difference"] < 1e-3
    assert report["subject"]["classes"] == ["normal", "fight"]
    assert f"| top-1 | {expected:.2%} | {expected:.2%} |" in outcome.stdout
    assert f"| normal | {counts[0][0]} | {counts[0][1]} |" in outcome.stdout


@pytest.mark.slow
def test_the_real_command_writes_every_form(balanced: Tiny, clips: Path, tmp_path: Path) -> None:
    forms = {name: tmp_path / f"r.{name}" for name in ("json", "markdown", "svg")}
    outcome = run_script(
        "evaluate.py", "--model", balanced.output.with_name("free.onnx"), "--config", balanced.config,
        "--checkpoint", balanced.checkpoint, "--data", clips, "--split", "val",
        *(part for name, path in forms.items() for part in (f"--{name}", path)),
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout.startswith("| figure | this file | PyTorch |\n")
    assert "\x1b" not in outcome.stdout + outcome.stderr
    assert "clips.pkl: 4 of 4" in outcome.stderr
    report = json.loads(forms["json"].read_text())
    assert (report["videos"], report["subject"]["split"]) == (4, "val")
    text = forms["markdown"].read_text()
    assert text.startswith(outcome.stdout.rstrip("\n")), "the file holds what was printed, and what it is about"
    assert "on 4 videos of clips.pkl, split val; the clips of a video are averaged by `prob`" in text
    assert str(tmp_path.parent) not in text + forms["json"].read_text()
    assert ElementTree.parse(forms["svg"]).getroot().tag.endswith("svg")


def test_another_answer_is_listed_with_both_probabilities(
    balanced: Tiny, clips: Path, tmp_path: Path, evaluate: Evaluate
) -> None:
    source = balanced.output.with_name("free.onnx")
    nudged = source.with_name("nudged.onnx")
    nudged.write_bytes(shifted(source.read_bytes(), 1.5))
    outcome = evaluate("--data", clips, "--json", tmp_path / "r.json", model="nudged.onnx")
    assert outcome.code == 0, "a measurement has no verdict"
    report = json.loads((tmp_path / "r.json").read_text())
    assert 0 < len(report["differing"]) == round((1 - report["agreement"]) * COUNT)
    assert "Clips on which the two differ" in outcome.stdout
    for item in report["differing"]:
        assert item["file"][1] > 0.5 > item["pytorch"][1]
        answers = " | ".join(
            f"{name} ({' : '.join(f'{value:.3f}' for value in item[side])})"
            for name, side in (("fight", "file"), ("normal", "pytorch"))
        )
        assert f"| {item['frame_dir']} | {['normal', 'fight'][item['label']]} | {answers} |" in outcome.stdout
    assert report["file"]["confusion"] != report["pytorch"]["confusion"]


def test_a_file_of_another_origin_is_evaluated_too(balanced: Tiny, clips: Path, evaluate: Evaluate) -> None:
    model = onnx.load(balanced.output.with_name("eights.onnx"))
    model.producer_name = "somebody"
    del model.metadata_props[:]
    onnx.save(model, balanced.output.with_name("foreign.onnx"))
    outcome = evaluate("--data", clips, model="foreign.onnx")
    assert outcome.code == 0, outcome.stderr
    assert "| agreement with PyTorch | 100.00% |" in outcome.stdout


def test_clips_of_the_calibration_are_counted_aloud(
    balanced: Tiny, clips: Path, tmp_path: Path, evaluate: Evaluate
) -> None:
    half = convert_balanced(
        balanced, export__precision="fp16", calibration__data=str(clips), calibration__clips=5, verify__enabled=False
    )
    half.rename(half.with_name("half.onnx"))
    outcome = evaluate("--data", clips, "--json", tmp_path / "r.json", model="half.onnx")
    assert outcome.code == 0, outcome.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["used_for_calibration"], report["subject"]["precision"]) == (5, "fp16")
    assert "5 of the clips were used to calibrate the file" in outcome.stderr
    assert 0 < report["max_probability_difference"] < 0.5


def test_clips_come_from_the_preset_where_no_option_names_them(clips: Path, evaluate: Evaluate) -> None:
    assert evaluate("--set", f"verify.data={clips}").code == 0
    evaluate().expect_error(2, "no clips to evaluate on", "--data")


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "empty": (list, "no clips in it"),
    "joints": (
        lambda: [people_clip("a", 1) | {"keypoint": np.ones((1, 30, 5, 2), np.float32)}],
        "a: the config's test pipeline cannot take it",
    ),
    "label": (lambda: [people_clip("a", 1) | {"label": 7}], "a: label 7 is none of the model's 2 classes"),
    "code": (lambda: [people_clip("a", 1) | {"label": CALLS["os.system"]("/nowhere/at/all")}], "nothing in it was run"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_clips_are_answered(tmp_path: Path, evaluate: Evaluate, kind: str) -> None:
    make, message = BAD[kind]
    outcome = evaluate("--data", pickled(tmp_path, make()), "--json", tmp_path / "r.json")
    outcome.expect_error(2, "clips.pkl", message)
    assert not (tmp_path / "r.json").exists()


def test_other_mistakes_are_answered(balanced: Tiny, clips: Path, tmp_path: Path, evaluate: Evaluate) -> None:
    evaluate("--data", tmp_path / "none.pkl").expect_error(2, "none.pkl do not exist")
    evaluate("--data", clips, "--split", "xsub").expect_error(2, "no split 'xsub'", "known splits: val")
    evaluate("--data", clips, "--json", tmp_path / "no" / "r.json").expect_error(2, "its folder is missing")
    evaluate("--data", clips, model="none.onnx").expect_error(2, "none.onnx does not exist")
    other = tmp_path / "other.pth"
    content = torch.load(balanced.checkpoint, weights_only=True)
    torch.save(content | {"meta": {"epoch": 2}}, other)
    evaluate("--data", clips, "--checkpoint", other).expect_error(8, "free.onnx was made from tiny.pth")


def made(labels: list[int], candidate: Any, reference: Any, classes: tuple[str, ...]) -> Evaluation:
    subject = Subject("m.onnx", "ab" * 32, "int8", "c.py", "c.pth", "clips.pkl", None, None, classes)
    names = tuple(f"clip{index}" for index in range(len(labels)))
    said = Predictions(names, np.array(labels), np.array(candidate, float), np.array(reference, float))
    return summarise(subject, len(labels), said)


def test_figures_by_hand() -> None:
    result = made([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], [[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]], ("a", "b"))
    assert (result.file.top1, result.pytorch.top1) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (result.file.mean_class_accuracy, result.pytorch.mean_class_accuracy) == (0.75, 0.5)
    assert (result.file.roc_auc, result.pytorch.roc_auc) == (1.0, 1.0)
    assert result.agreement == pytest.approx(2 / 3)
    assert result.mean_probability_difference == pytest.approx((0.1 + 0.2 + 0.0) / 3)
    assert result.max_probability_difference == pytest.approx(0.2)
    assert "each counts" in document(result)


def test_more_classes_have_no_roc_and_many_have_a_list_of_mistakes() -> None:
    scores = np.eye(15)[[0, 1, 1, 3]]
    result = made([0, 1, 2, 3], scores, scores, tuple(f"c{index}" for index in range(15)))
    assert result.file.roc_auc is None
    assert json.loads(report_json(result))["file"]["roc_auc"] is None
    _, mistakes = tables_of(result)
    assert mistakes.rows == (("c2", "c1", "1"),)
    assert "ROC" not in document(result)
    assert "ROC" not in plot(result)


def test_one_class_of_two_has_no_roc() -> None:
    result = made([1, 1], [[0.2, 0.8], [0.9, 0.1]], [[0.2, 0.8], [0.9, 0.1]], ("a", "b"))
    assert result.file.roc_auc is None
    assert "ROC" not in plot(result)


def test_a_file_without_numbers_is_reported_as_such() -> None:
    result = made([0], [[np.nan, np.nan]], [[0.8, 0.2]], ("a", "b"))
    assert json.loads(report_json(result))["differing"][0]["file"] == ["nan", "nan"]
    assert "no finite number" in document(result)


def test_the_picture_repeats_and_holds_its_panels() -> None:
    result = made([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], [[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]], ("a", "b"))
    text = plot(result)
    assert text == plot(result)
    for words in ("true class", "area 1.000", "another class (1)", "same class (2)", "m.onnx (int8) on 3 videos"):
        assert words in text
