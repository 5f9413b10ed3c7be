"""The measurements that build their own files: the four variants, and all peers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import Outcome, Tiny, finish, start_script

from stgcn_onnx.bench.builds import FREE_FRAMES, Source, build
from stgcn_onnx.console import Log

ONCE = ("--rounds", "1", "--iterations", "2", "--set", "benchmark.warmup=0")
LIMIT_S = 1200


def measure(*arguments: object) -> Outcome:
    """Run the command with the least effort; every candidate is a process that imports its runtime."""
    return finish(start_script("benchmark.py", *arguments, *ONCE), timeout_s=LIMIT_S)


def test_variants_are_verified_whatever_the_preset_says(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.preset.write_text(tiny.preset.read_text(encoding="utf-8") + "verify: {enabled: false}\n", encoding="utf-8")
    subjects = build({"free": FREE_FRAMES}, Source(str(tiny.preset)), tiny.folder, Log())
    assert subjects["free"].frames_range == (8, 32)
    assert subjects["free"].batch_range is None
    assert subjects["free"].metadata["verification"] != "skipped"
    assert "comparisons over" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_the_table(tiny: Tiny) -> None:
    outcome = measure("--table", "--preset", tiny.preset, "--json", tiny.folder / "t.json")
    assert outcome.code == 0, outcome.stderr
    document = json.loads((tiny.folder / "t.json").read_text(encoding="utf-8"))
    assert [row["label"] for row in document["rows"]] == [
        "PyTorch eager", "ONNX static", "ONNX dynamic, 8 to 32 frames", "ONNX batch of 8",
    ]  # fmt: skip
    assert [row["clips"]["batch"] for row in document["rows"]] == [1, 1, 1, 8]
    assert all(row["note"] for row in document["rows"])
    assert outcome.stdout.count("\n") == 6


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S)
def test_the_peers(tiny: Tiny, tmp_path: Path) -> None:
    places = ("--json", tmp_path / "p.json", "--svg", tmp_path / "p.svg")
    outcome = measure("--peers", "--no-official", "--preset", tiny.preset, *places)
    assert outcome.code == 0, outcome.stderr
    document = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    rows = document["rows"]
    # Compiled PyTorch and OpenVINO may be missing; then they say so.
    assert all((row["figures"] is None) == (row["failure"] is not None) for row in rows)
    works = [(row["label"], row["clips"]["batch"], row["clips"]["people"]) for row in rows if row["figures"]]
    for label in ("plain export", "this converter"):
        assert {(label, 1, 2), (label, 1, 1), (label, 8, 2)} <= set(works)
    assert {("PyTorch eager", 1, 2), ("plain export, onnxslim", 1, 2), ("this converter, frames free", 1, 2)} <= set(
        works
    )
    assert ("this converter, int8", 1, 2) in works or "no file in 8 bits: " in outcome.stderr
    assert document["limit"]["macs"] > 0
    assert {row["clips"]["people"] for row in document["by_people"]} == {0, 1, 2}
    assert {row["clips"]["frames"] for row in document["sweep"]} == {8, 16, 24, 32}
    assert outcome.stdout.rstrip().splitlines()[-1].startswith("| arithmetic limit")
    assert (tmp_path / "p.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
