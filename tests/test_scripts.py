"""The other thin scripts, as a user runs them: convert, export, the direct converter, the list of presets."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import onnx
import pytest
import yaml
from tiny import Tiny, run_script

from stgcn_onnx.artefact import read_metadata
from stgcn_onnx.direct import direct_preset
from stgcn_onnx.preset_file import preset_names


def dims(path: Path) -> list[int | str]:
    (clip,) = onnx.load(path).graph.input
    return [d.dim_param or d.dim_value for d in clip.type.tensor_type.shape.dim]


def opset(path: Path) -> int:
    return int(onnx.load(path).opset_import[0].version)


def test_convert_names_the_file_on_stdout_and_the_rest_on_stderr(tiny: Tiny) -> None:
    depfile = tiny.folder / "m.d"
    outcome = run_script(
        "convert.py", "--preset", "tiny.yaml", "-v", "--opset", 13, "--depfile", depfile, cwd=tiny.folder
    )
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout == "out/tiny.onnx\n"
    log = outcome.stderr.splitlines()
    for word in ("loading", "exporting", "verifying"):
        assert any(line.startswith(word) and " s" in line for line in log), "each stage with its time"
    assert any("nodes" in line for line in log)
    assert any("[1, 2, 20, 17, 3]" in line and "max abs" in line for line in log)
    assert log[-2].startswith("done       out/tiny.onnx, 0.")
    assert log[-2].endswith("verified against PyTorch")
    assert log[-1] == "next       invoke benchmark --model out/tiny.onnx --preset tiny.yaml"
    assert "\x1b" not in outcome.stderr
    assert depfile.read_text().startswith("out/tiny.onnx: tiny.yaml ")
    assert opset(tiny.output) == 13


def test_a_dry_run_prints_the_preset_and_makes_nothing(tiny: Tiny) -> None:
    before = sorted(tiny.folder.iterdir())
    outcome = run_script("convert.py", "--preset", tiny.preset, "--dry-run", "--dynamic", "--atol", "0.5")
    assert outcome.code == 0
    values = yaml.safe_load(outcome.stdout)
    assert values["axes"]["batch_size"]["dynamic"] is True
    assert values["axes"]["num_frames"]["dynamic"] is False
    assert values["verify"]["atol"] == 0.5
    assert "# --atol" in outcome.stdout
    assert sorted(tiny.folder.iterdir()) == before


def test_export_says_clearly_that_nothing_was_compared(tiny: Tiny) -> None:
    outcome = run_script("export.py", "--preset", tiny.preset)
    assert outcome.code == 0, outcome.stderr
    assert "verify     skipped, as asked: nothing is known of this file's results" in outcome.stderr
    assert "NOT verified" in outcome.stderr
    assert outcome.stderr.splitlines()[-1].startswith("next       invoke verify --model ")
    assert [path.name for path in tiny.output.parent.iterdir()] == ["tiny.onnx"]
    assert read_metadata(onnx.load(tiny.output))["verification"] == "skipped"


def test_export_has_no_options_for_comparing() -> None:
    run_script("export.py", "--rtol", "1").expect_error(2, "--rtol is not an option")


def test_the_direct_script_exports_and_verifies(tiny: Tiny) -> None:
    output = tiny.folder / "m.onnx"
    common = ["--config", tiny.config, "--checkpoint", tiny.checkpoint, "--output", output]
    outcome = run_script("pytorch_to_onnx_converter.py", *common, "--num-frames", 20, "--dynamic", "--dynamic-frames")
    assert outcome.code == 0, outcome.stderr
    assert outcome.stdout == f"{output}\n"
    assert dims(output) == ["batch_size", 2, "num_frames", 17, 3]
    assert opset(output) == 11, "the default of this script"
    report = json.loads((tiny.folder / "m.verify.json").read_text())
    frames = {row["shape"][2] for row in report["rows"]}
    assert (min(frames), max(frames)) == (20, 200), "the default range, widened to the traced size"
    assert {row["shape"][0] for row in report["rows"]} >= {1, 8}


@pytest.mark.slow
def test_the_direct_scripts_defaults_and_its_way_round_verification(tiny: Tiny) -> None:
    output = tiny.folder / "m.onnx"
    common = ["--config", tiny.config, "--checkpoint", tiny.checkpoint, "--output", output]
    outcome = run_script("pytorch_to_onnx_converter.py", *common, "--no-verify", "--opset-version", 13)
    assert outcome.code == 0, outcome.stderr
    assert dims(output) == [1, 2, 100, 17, 3]
    assert opset(output) == 13
    assert not (tiny.folder / "m.verify.json").exists()
    assert "NOT verified" in outcome.stderr


@pytest.mark.parametrize(
    ("options", "code", "fragment"),
    [
        ([], 2, "the following arguments are required: --config, --checkpoint"),
        (["--config", "none.py", "--checkpoint", "none.pth", "-o", "m.onnx"], 2, "none.py does not exist"),
        (["--config", "a", "--checkpoint", "b", "-o", "m.onnx", "--num-frames", "0"], 2, "--num-frames: input.num_fra"),
        (["--config", "a", "--checkpoint", "b", "-o", "m.onnx", "--opset-version", "9"], 2, "found 9"),
        (["--config", "a", "--checkpoint", "b", "-o", "m.txt"], 2, "--output: output: expected a name that ends in"),
    ],
)
def test_the_direct_scripts_mistakes(tmp_path: Path, options: list[str], code: int, fragment: str) -> None:
    outcome = run_script("pytorch_to_onnx_converter.py", *options, cwd=tmp_path)
    outcome.expect_error(code, fragment, nothing_in=tmp_path)


@pytest.mark.parametrize(
    ("batch", "frames", "ranges"),
    [(1, 100, (1, 8, 50, 200)), (16, 100, (1, 16, 50, 200)), (1, 20, (1, 8, 20, 200)), (1, 300, (1, 8, 50, 300))],
)
def test_the_direct_scripts_ranges_hold_the_traced_size(batch: int, frames: int, ranges: tuple[int, ...]) -> None:
    options = Namespace(
        config="c.py", checkpoint="c.pth", output="m.onnx", dynamic=True, dynamic_frames=True,
        batch_size=batch, num_frames=frames, opset=11,
    )  # fmt: skip
    preset = direct_preset(options).preset
    axes = preset.axes
    assert (axes.batch_size.min, axes.batch_size.max, axes.num_frames.min, axes.num_frames.max) == ranges
    assert (preset.input.batch_size, preset.input.num_frames, preset.export.opset) == (batch, frames, 11)


def test_presets_are_listed_explained_and_described_for_editors() -> None:
    listed = run_script("presets.py")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == preset_names()
    assert "export.opset" in run_script("presets.py", "--keys").stdout
    assert json.loads(run_script("presets.py", "--schema").stdout)["title"] == "stgcn-onnx preset"
