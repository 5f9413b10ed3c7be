"""Presets on disk: names, inheritance, overrides, origins, and everything that a YAML file can be wrong about."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stgcn_onnx.errors import UsageError
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import Override, load_preset, parse_set, preset_names, preset_path

LEAST = {"model": {"config": "c.py", "checkpoint": "c.pth"}, "output": "o.onnx"}
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

sizes = st.integers(1, 300)
ranges = st.tuples(sizes, sizes).map(sorted)
words = st.text(string.ascii_letters + string.digits + " _-.äß", max_size=12)


@st.composite
def presets(draw: st.DrawFn) -> dict[str, Any]:
    """Valid presets, as the nested values of a file; paths are absolute, so that loading leaves them alone."""
    batch, frames = draw(ranges), draw(ranges)
    return {
        "description": draw(words),
        "model": {
            "config": "/a/c.py",
            "checkpoint": "/a/c.pth",
            "sha256": draw(st.none() | st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)),
            "trust_checkpoint": draw(st.booleans()),
            "trust_config": draw(st.booleans()),
        },
        "input": {
            "batch_size": draw(st.integers(*batch)),
            "num_person": draw(st.none() | sizes),
            "num_frames": draw(st.integers(*frames)),
        },
        "axes": {
            "batch_size": {"dynamic": draw(st.booleans()), "min": batch[0], "max": batch[1]},
            "num_frames": {"dynamic": draw(st.booleans()), "min": frames[0], "max": frames[1]},
        },
        "export": {
            "opset": draw(st.integers(11, 30)),
            "exporter": draw(st.sampled_from(["torchscript", "dynamo"])),
            "deploy": draw(st.sampled_from(["all", "none"]) | st.lists(words, max_size=3)),
        },
        "verify": {
            "enabled": draw(st.booleans()),
            "rtol": draw(st.floats(0, 1)),
            "atol": draw(st.floats(0, 1)),
            "seed": draw(st.integers(0, 2**31)),
        },
        "device": draw(st.sampled_from(["cpu", "cuda", "cuda:0", "cuda:12"])),
        "output": "/a/o.onnx",
    }


def write(folder: Path, values: object, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(path)


@QUICK
@given(values=presets())
def test_a_valid_preset_survives_its_way_through_yaml(tmp_path: Path, values: dict[str, Any]) -> None:
    expected = Preset.model_validate({**values, "export": {**values["export"]}})
    resolved = load_preset(write(tmp_path, values))
    assert resolved.preset == expected
    again = load_preset(write(tmp_path, resolved.preset.model_dump(mode="json"), "again.yaml"))
    assert again.preset == expected


@QUICK
@given(
    section=st.sampled_from(["", "model", "input", "axes", "axes.num_frames", "export", "verify", "benchmark"]),
    key=st.text(string.ascii_lowercase + "_", min_size=1, max_size=12),
    value=st.none() | st.booleans() | st.integers() | words | st.lists(st.integers(), max_size=2),
)
def test_an_unknown_key_is_always_a_usage_error(tmp_path: Path, section: str, key: str, value: object) -> None:
    kind: Any = Preset
    for part in filter(None, section.split(".")):
        kind = kind.model_fields[part].annotation
    if key in kind.model_fields or key == "extends":
        return
    values: dict[str, Any] = {**LEAST, "model": dict(LEAST["model"])}
    level = values
    for part in filter(None, section.split(".")):
        level = level.setdefault(part, {})
    level[key] = value
    dotted = f"{section}.{key}".strip(".")
    with pytest.raises(UsageError) as caught:
        load_preset(write(tmp_path, values))
    assert caught.value.code == 2
    assert f"{dotted} is not a key" in caught.value.message
    assert "mine.yaml:" in caught.value.message
    assert caught.value.hint.startswith(("did you mean '", "known keys: "))
    with pytest.raises(UsageError, match=r"--set: .* is not a key"):
        load_preset(write(tmp_path, LEAST), [Override(dotted, value, "--set")])


@QUICK
@given(opset=st.integers(11, 30), frames=sizes, rtol=st.floats(0, 1), atol=st.floats(0, 1))
def test_an_override_wins_over_every_file(tmp_path: Path, opset: int, frames: int, rtol: float, atol: float) -> None:
    write(tmp_path, {**LEAST, "verify": {"rtol": 0.5, "atol": 0.5}}, "base.yaml")
    path = write(tmp_path, {"extends": "base", "export": {"opset": 17}, "input": {"num_frames": 7}})
    overrides = [
        Override("export.opset", opset, "--opset"),
        Override("input.num_frames", frames, "--num-frames"),
        Override("verify.rtol", rtol, "--set"),
        Override("verify.atol", 0.25, "--set"),
        Override("verify.atol", atol, "--atol"),
    ]
    resolved = load_preset(path, overrides)
    preset = resolved.preset
    assert (preset.export.opset, preset.input.num_frames) == (opset, frames)
    assert (preset.verify.rtol, preset.verify.atol) == (rtol, atol)
    assert resolved.origins["export.opset"] == "--opset"
    assert resolved.origins["verify.atol"] == "--atol"
    assert resolved.origins["verify.rtol"] == "--set"


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300) | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Preset.model_fields, "extends", "min", "opset", "rtol", "x"]), inner)
    ),
    max_leaves=8,
)


@QUICK
@given(content=junk)
def test_no_yaml_at_all_makes_anything_but_a_usage_error(tmp_path: Path, content: object) -> None:
    path = write(tmp_path, content)
    try:
        resolved = load_preset(path)
    except UsageError as error:
        assert error.message
        assert error.hint
    else:
        assert isinstance(resolved.preset, Preset)


@QUICK
@given(text=st.text(max_size=60))
def test_no_text_at_all_makes_anything_but_a_usage_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "replace"))
    with pytest.raises(UsageError):
        load_preset(str(path))


def test_origins_name_file_and_line_default_and_option(tmp_path: Path) -> None:
    base = tmp_path / "base.yaml"
    base.write_text("# the base\nmodel:\n  config: c.py\n  checkpoint: c.pth\noutput: o.onnx\nexport: {opset: 13}\n")
    path = tmp_path / "mine.yaml"
    path.write_text("extends: base.yaml\nverify:\n  rtol: 0.1\n")
    resolved = load_preset(str(path), [Override("device", "cuda:0", "--device")])
    origins = resolved.origins
    assert origins["model.config"].endswith("base.yaml:3")
    assert origins["export.opset"].endswith("base.yaml:6")
    assert origins["verify.rtol"].endswith("mine.yaml:3")
    assert origins["verify.atol"] == "default"
    assert origins["device"] == "--device"
    assert [file.name for file in resolved.files] == ["mine.yaml", "base.yaml"]
    assert resolved.name == "mine"


def test_paths_are_relative_to_the_file_that_names_them_and_to_the_shell_for_options(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    write(tmp_path / "far", {**LEAST, "verify": {"data": "../clips.pkl"}}, "base.yaml")
    path = write(tmp_path, {"extends": "far/base", "model": {"checkpoint": "near.pth"}})
    preset = load_preset(path, [Override("output", "x/o.onnx", "--output")]).preset
    assert preset.model.config == str(tmp_path / "far" / "c.py")
    assert preset.model.checkpoint == str(tmp_path / "near.pth")
    assert preset.verify.data == str(tmp_path / "clips.pkl")
    assert preset.output == "x/o.onnx"
    official = load_preset(path, [Override("model.config", "mmaction::skeleton/x.py", "--config")]).preset
    assert official.model.config == "mmaction::skeleton/x.py"


def test_a_section_given_anew_replaces_only_what_it_names(tmp_path: Path) -> None:
    write(tmp_path, {**LEAST, "export": {"opset": 13, "deploy": ["einsum_free"]}}, "base.yaml")
    preset = load_preset(write(tmp_path, {"extends": "base", "export": {"deploy": "none"}})).preset
    assert (preset.export.opset, preset.export.deploy) == (13, "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", r"mine\.yaml:2: not YAML"),
        ("a:\n\tb: 1\n", r"mine\.yaml:2: not YAML"),
        ("- a\n- b\n", r"mine\.yaml: expected keys and values"),
        ("device: cpu\ndevice: cpu\n", r"mine\.yaml:2: device is given twice"),
        ("export: {opset: 12}\nexport: {opset: 13}\n", r"mine\.yaml:2: export\.opset is given twice"),
        ("device: !!python/object/apply:os.system [id]\n", r"mine\.yaml:1: device: not plain YAML"),
        ("extends: mine\n", r"mine\.yaml: extends itself in a circle"),
        ("extends: nowhere\n", r"mine\.yaml:1: extends 'nowhere', which does not exist"),
        ("extends: realtme\n", r"mine\.yaml:1: extends 'realtme', which does not exist; did you mean 'realtime'"),
        ("extends: [a, b]\n", r"mine\.yaml:1: extends '\['a', 'b'\]', which does not exist"),
        ("export: &a {deeper: *a}\n", r"mine\.yaml:1: .*is nested too deeply"),
        ("output: ~nobody-of-that-name/o.onnx\n", r"mine\.yaml:1: output: .*nobody-of-that-name"),
        ("", r"mine\.yaml: model: is missing; also .*output: is missing"),
        ("extends: custom\noutput: ''\n", r"mine\.yaml:2: output: expected a name that ends in \.onnx"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        load_preset(str(path))


def test_a_file_that_is_no_text_and_one_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"mine\.yaml: cannot be read|not YAML"):
        load_preset(str(path))
    path.write_bytes(b"#" * (1 << 20) + b"##")
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        load_preset(str(path))


def test_an_unknown_preset_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match="preset 'realtme' is unknown") as caught:
        preset_path("realtme")
    assert caught.value.hint == "did you mean 'realtime'?"
    with pytest.raises(UsageError, match=r"preset nowhere/x\.yaml does not exist"):
        preset_path("nowhere/x.yaml")


@pytest.mark.parametrize("name", preset_names())
def test_the_shipped_presets_are_valid_and_described(name: str) -> None:
    preset = load_preset(name).preset
    assert preset.description


def test_the_shipped_presets_are_those_of_the_contract() -> None:
    assert set(preset_names()) == {"realtime", "batch", "development", "custom", "gpu", "edge", "openvino"}
    realtime, batch, development = (load_preset(name).preset for name in ("realtime", "batch", "development"))
    shapes = [(p.input.batch_size, p.input.num_person, p.input.num_frames) for p in (realtime, batch, development)]
    assert shapes == [(1, 4, 100), (8, 4, 100), (1, 4, 100)]
    assert realtime.axes.batch_size.dynamic
    assert (realtime.axes.num_frames.dynamic, realtime.axes.num_frames.min, realtime.axes.num_frames.max) == (
        True,
        50,
        200,
    )
    for static in (batch, development):
        assert not static.axes.batch_size.dynamic
        assert not static.axes.num_frames.dynamic
    assert development.export.deploy == "none"
    assert development.verify.rtol < realtime.verify.rtol
    names = [Path(load_preset(name).preset.output).name for name in ("realtime", "batch", "development", "custom")]
    assert names == [
        "stgcn_fight_realtime.onnx",
        "stgcn_fight_batch.onnx",
        "stgcn_fight_dev.onnx",
        "my_custom_model.onnx",
    ]


def test_the_presets_of_lower_precision_are_those_of_issue_4() -> None:
    gpu, edge = load_preset("gpu").preset, load_preset("edge").preset
    assert (gpu.export.precision, gpu.input.batch_size, gpu.device) == ("fp16", 8, "cpu")
    assert not gpu.axes.batch_size.dynamic
    assert not gpu.axes.num_frames.dynamic
    assert "absent_people" not in gpu.export.deploy
    assert (edge.export.precision, edge.export.deploy) == ("int8", "all")
    assert (edge.axes.num_frames.dynamic, edge.axes.num_frames.min, edge.axes.num_frames.max) == (True, 50, 200)
    assert [Path(p.output).name for p in (gpu, edge)] == ["stgcn_fight_gpu.onnx", "stgcn_fight_edge.onnx"]


def test_calibration_data_is_relative_to_the_preset(tmp_path: Path) -> None:
    folder = tmp_path / "presets"
    folder.mkdir()
    own = folder / "own.yaml"
    own.write_text("extends: edge\ncalibration: {data: ../clips.pkl}\n", encoding="utf-8")
    assert Path(load_preset(str(own)).preset.calibration.data or "") == tmp_path / "clips.pkl"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=13", 13),
        ("a.b=1.5", 1.5),
        ("a.b=true", True),
        ("a.b=null", None),
        ("a.b=", None),
        ("a.b=[x, y]", ["x", "y"]),
        ("a.b=text=with=signs", "text=with=signs"),
    ],
)
def test_set_takes_yaml_values(text: str, value: object) -> None:
    assert parse_set(text) == Override("a.b", value, "--set")


@pytest.mark.parametrize("text", ["opset", "=13", "a.b=[1", "a.b={x", "a.b=!!python/name:os.system"])
def test_a_set_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--set '") as caught:
        parse_set(text)
    assert caught.value.hint


def test_a_checkpoint_of_ones_own_does_not_inherit_the_digest_of_another(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("extends: realtime\nmodel: {checkpoint: mine.pth}\n", encoding="utf-8")
    assert load_preset("realtime").preset.model.sha256 is not None
    assert load_preset(str(own)).preset.model.sha256 is None
    own.write_text(f"extends: realtime\nmodel: {{sha256: {'a' * 64}, checkpoint: mine.pth}}\n", encoding="utf-8")
    assert load_preset(str(own)).preset.model.sha256 == "a" * 64
