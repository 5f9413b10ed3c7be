"""`scripts/verify.py`: files of ours and of others against a model, with their own shapes and ranges."""

from __future__ import annotations

import json
import pickle
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from test_clips import people_clip
from test_verify import nudged
from tiny import ROOT, Outcome, Tiny, run_script

Verify = Callable[..., Outcome]


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verify:
    """Run the script's own main in this process, which is quicker than starting another."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["verify.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(ROOT / "scripts" / "verify.py"), run_name="__main__")
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def model(tiny: Tiny, dynamic_content: bytes) -> Path:
    path = tiny.folder / "m.onnx"
    path.write_bytes(dynamic_content)
    return path


def test_the_real_command_prints_a_table_of_all_shapes(tiny: Tiny, model: Path) -> None:
    outcome = run_script("verify.py", "--model", model, "--preset", tiny.preset, "--json", tiny.folder / "r.json")
    assert outcome.code == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert lines[0].startswith("verdict  clip")
    assert {line.split()[2] for line in lines[1:]} == {
        *("1x2x20x17x3", "1x2x8x17x3", "1x2x21x17x3", "1x2x32x17x3", "3x2x20x17x3", "3x2x8x17x3"),
    }
    assert all(line.startswith("ok ") for line in lines[1:])
    report = json.loads((tiny.folder / "r.json").read_text())
    assert report["passed"] is True
    assert report["tolerance"] == {"rtol": 1e-3, "atol": 1e-5}
    assert not (tiny.folder / "r.npz").exists()


def test_what_the_file_says_wins_over_the_preset_and_options_win_over_both(
    tiny: Tiny, static_content: bytes, verify: Verify
) -> None:
    model = tiny.folder / "m.onnx"
    model.write_bytes(static_content)
    tiny.preset.write_text(tiny.preset.read_text().replace("num_frames: 20", "num_frames: 12"))
    outcome = verify("--model", model, "--preset", tiny.preset, "--atol", "0.5", "--json", tiny.folder / "r.json")
    assert outcome.code == 0, outcome.stderr
    assert {line.split()[2] for line in outcome.stdout.splitlines()[1:]} == {"1x2x20x17x3"}
    assert json.loads((tiny.folder / "r.json").read_text())["tolerance"]["atol"] == 0.5


def test_config_and_checkpoint_can_be_given_without_a_preset(tiny: Tiny, model: Path, verify: Verify) -> None:
    outcome = verify("--model", model, "--config", tiny.config, "--checkpoint", tiny.checkpoint)
    assert outcome.code == 0, outcome.stderr


def test_a_nudged_weight_is_code_6_with_a_reproducer(tiny: Tiny, plain_content: bytes, verify: Verify) -> None:
    model = tiny.folder / "m.onnx"
    model.write_bytes(nudged(plain_content, "backbone.gcn.1/tcn"))
    # What was nudged is the file and not its metadata, so it still claims to be of this checkpoint.
    outcome = verify("--model", model, "--preset", tiny.preset, "--json", tiny.folder / "r.json")
    assert outcome.code == 6
    assert "first module that diverges: backbone.gcn.1.tcn" in outcome.last_line
    assert "r.json and " in outcome.last_line
    assert "DIFFERS" in outcome.stdout
    assert (tiny.folder / "r.npz").is_file()
    without = verify("--model", model, "--preset", tiny.preset)
    assert without.code == 6
    assert "give --json FILE" in without.last_line


def test_another_checkpoint_is_code_8(tiny: Tiny, model: Path, verify: Verify) -> None:
    content = torch.load(tiny.checkpoint, weights_only=True)
    torch.save({**content, "meta": {"epoch": 2}}, tiny.checkpoint)
    outcome = verify("--model", model, "--preset", tiny.preset)
    outcome.expect_error(8, "m.onnx was made from tiny.pth (sha256 ", "not from ", "--checkpoint")


def test_a_missing_checkpoint_is_code_4(tiny: Tiny, model: Path, verify: Verify) -> None:
    tiny.checkpoint.unlink()
    verify("--model", model, "--preset", tiny.preset).expect_error(4, "tiny.pth does not exist")


def test_metadata_that_does_not_fit_the_graph_is_code_6(tiny: Tiny, static_content: bytes, verify: Verify) -> None:
    proto = onnx.load_from_string(static_content)
    for prop in proto.metadata_props:
        if prop.key == "axes":
            prop.value = prop.value.replace('"dynamic": false', '"dynamic": true')
    model = tiny.folder / "m.onnx"
    model.write_bytes(proto.SerializeToString())
    outcome = verify("--model", model, "--preset", tiny.preset)
    outcome.expect_error(6, "the axes of 'input' came out as [1, 2, 20, 17, 3]", "'batch_size'")


def test_real_clips_are_compared_as_well(tiny: Tiny, model: Path, verify: Verify) -> None:
    clips = tiny.folder / "clips.pkl"
    clips.write_bytes(pickle.dumps([people_clip("one", 2)]))
    outcome = verify("--model", model, "--preset", tiny.preset, "--data", clips)
    assert outcome.code == 0, outcome.stderr
    assert "clip one" in outcome.stdout


def foreign(content: bytes, name: str = "input") -> bytes:
    """The file as another exporter might have written it: no metadata, another producer, other names of axes."""
    proto = onnx.load_from_string(content)
    proto.producer_name = "somebody"
    del proto.metadata_props[:]
    for node in proto.graph.node:
        for index, value in enumerate(node.input):
            if value == "input":
                node.input[index] = name
    proto.graph.input[0].name = name
    return proto.SerializeToString()


def test_a_file_of_another_origin_is_held_to_its_own_axes(
    tiny: Tiny, static_content: bytes, dynamic_content: bytes, verify: Verify
) -> None:
    model = tiny.folder / "m.onnx"
    for content, shapes in ((static_content, 1), (dynamic_content, 6)):
        model.write_bytes(foreign(content))
        outcome = verify("--model", model, "--preset", tiny.preset)
        assert outcome.code == 0, outcome.stderr
        assert len({line.split()[2] for line in outcome.stdout.splitlines()[1:]}) == shapes


def test_a_wrong_file_of_another_origin_is_code_6(tiny: Tiny, plain_content: bytes, verify: Verify) -> None:
    proto = onnx.load_from_string(foreign(plain_content))
    tensor = max(proto.graph.initializer, key=lambda item: len(item.raw_data))
    array = numpy_helper.to_array(tensor) * np.float32(1.1)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    model = tiny.folder / "m.onnx"
    model.write_bytes(proto.SerializeToString())
    outcome = verify("--model", model, "--preset", tiny.preset)
    assert outcome.code == 6
    assert "none that can be compared" in outcome.last_line


def test_what_is_no_file_for_clips_is_code_2(tiny: Tiny, static_content: bytes, verify: Verify) -> None:
    model = tiny.folder / "m.onnx"
    verify("--model", model).expect_error(2, "m.onnx does not exist")
    model.write_bytes(b"no model")
    verify("--model", model).expect_error(2, "m.onnx: not an ONNX file")
    model.write_bytes(foreign(static_content, name="x"))
    verify("--model", model, "--preset", tiny.preset).expect_error(2, "expected one input 'input'", "x with 5 axes")
    proto = onnx.load_from_string(foreign(static_content))
    proto.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "people"
    model.write_bytes(proto.SerializeToString())
    verify("--model", model, "--preset", tiny.preset).expect_error(2, "M, V or C of 'input' is free")


def test_the_model_has_to_be_named() -> None:
    run_script("verify.py").expect_error(2, "the following arguments are required: --model", "verify.py --help")
