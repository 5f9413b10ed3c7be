"""What the Makefile makes of its variables: options, a reason to build again, or an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from make_project import ROOT, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project in which nothing is installed or built."""
    return Project(tmp_path)


@pytest.fixture
def ready(project: Project) -> Project:
    """Return a project in which three presets are built."""
    assert sorted(project.built("realtime", "batch", "development")) == ["batch", "development", "realtime"]
    return project


def test_an_option_rebuilds_and_so_does_its_absence(ready: Project) -> None:
    assert ready.built("realtime", "OPSET=13") == ["realtime"]
    assert ready.built("realtime", "OPSET=13") == []
    assert ready.built("realtime") == ["realtime"]
    assert ready.built("batch", "development") == []


def test_verbose_and_runner_never_rebuild(ready: Project) -> None:
    assert ready.built("realtime", "VERBOSE=1", "RUNNER=local") == []


@pytest.mark.parametrize(
    ("variable", "option"),
    [
        ("CONFIG=it's mine.py", "--config it's mine.py"),
        ("CHECKPOINT=a b.pth", "--checkpoint a b.pth"),
        ("DEVICE=cuda:0", "--device cuda:0"),
        ("OPSET=13", "--opset 13"),
        ("BATCH_SIZE=2", "--batch-size 2"),
        ("NUM_FRAMES=64", "--num-frames 64"),
        ("DYNAMIC=1", "--dynamic"),
        ("DYNAMIC=0", "--no-dynamic"),
        ("PRECISION=fp32", "--precision fp32"),
        ("PRECISION=int8", "--precision int8"),
        ("RUNNER=local", "--runner local"),
        ("MEMORY=4g", "--memory 4g"),
        ("VERIFY=0", "--no-verify"),
        ("VERIFY=1", "--verify"),
        ("BENCHMARK=1", "--benchmark"),
        ("BENCHMARK=0", "--no-benchmark"),
        ("VERBOSE=1", "--verbose"),
        ("OUTPUT=out/x.onnx", "--output out/x.onnx"),
    ],
)
def test_each_variable_is_an_option(project: Project, variable: str, option: str) -> None:
    project.make("batch", variable)
    (call,) = [line for line in project.calls() if line.startswith("convert")]
    assert f" {option} " in f"{call} "


def test_the_paths_are_handed_over_with_the_preset(project: Project) -> None:
    project.built("development")
    project.make("realtime")
    assert project.calls() == [
        "convert --preset realtime --output checkpoints/stgcn_fight_realtime.onnx"
        " --depfile checkpoints/.build/stgcn_fight_realtime.onnx.d"
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("realtime", "OPEST=13"), "OPEST is not a variable of this Makefile; there are: CONFIG CHECKPOINT"),
        (("realtime", "DYNAMIC=yes"), "DYNAMIC=yes must be 0 or 1"),
        (("realtime", "VERIFY=0 1"), "VERIFY=0 1 must be 0 or 1"),
        (("realtime", "BENCHMARK="), "BENCHMARK= is empty"),
        (("realtime", "OPSET="), "OPSET= is empty"),
        (("realtime", "CONFIG=a  b.py"), "CONFIG=a  b.py: make cannot keep several blanks in a row"),
        (("realtime", "VARIANT=tpu"), "VARIANT=tpu must be cpu or gpu"),
        (("realtime", "batch", "OUTPUT=x.onnx"), "needs exactly one target of: realtime batch development custom"),
        (("all", "OUTPUT=x.onnx"), "needs exactly one target"),
        (("realtime", "OUTPUT=x"), "must end in .onnx"),
        (("realtime", "OUTPUT=a b.onnx"), "must end in .onnx and hold no blank"),
        (("realtime", "OUTPUT=checkpoints/stgcn_fight_batch.onnx"), "is the file of the preset batch"),
    ],
)
def test_bad_variables_are_refused_by_name(project: Project, arguments: tuple[str, ...], message: str) -> None:
    done = project.make(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert project.calls() == []


def test_the_environment_changes_no_artefact(project: Project) -> None:
    done = project.make("batch", OPSET="13")
    assert "OPSET=13 in the environment is ignored; to use it, write: make batch OPSET=13" in done.stderr
    assert "--opset" not in project.calls()[-1]


def test_output_has_its_own_record(ready: Project) -> None:
    assert ready.built("batch", "OUTPUT=out/mine.onnx") == ["batch"]
    assert ready.built("batch", "OUTPUT=out/mine.onnx") == []
    assert ready.built("development", "OUTPUT=out/mine.onnx") == ["development"]
    assert ready.built("batch") == []


@pytest.mark.parametrize("spelling", ["./out/mine.onnx", "out/../out/mine.onnx", "{root}/out/mine.onnx"])
def test_output_is_one_file_however_it_is_spelt(ready: Project, spelling: str) -> None:
    assert ready.built("batch", f"OUTPUT={spelling.format(root=ready.root)}") == ["batch"]
    ready.touch("presets/_demo.yaml")
    assert ready.built("batch", "OUTPUT=out/mine.onnx") == ["batch"]
    assert ready.built("batch", f"OUTPUT={spelling.format(root=ready.root)}") == []


def test_an_invoke_of_the_users_own_needs_no_set_up(project: Project) -> None:
    assert project.built("batch", "INVOKE=./fake-invoke") == ["batch"]
    assert not (project.root / ".venv").exists()


def test_help_is_the_default_and_complete(project: Project) -> None:
    text = project.make().stdout
    assert text == project.make("help").stdout
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    names = targets.replace("$(PRESETS)", "realtime batch development custom gpu edge openvino").split()
    names += " ".join(re.findall(r"^(?:OPTIONS|OTHERS) +:= (.*)$", makefile, flags=re.MULTILINE)).split()
    missing = [name for name in names if name != "FORCE" and not re.search(rf"\b{name}\b", text)]
    assert missing == []


def test_the_makefile_ignores_no_error() -> None:
    recipes = [line[1:] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\t")]
    assert recipes
    assert not [line for line in recipes if line.lstrip("@").startswith("-") or "|| true" in line]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "image --variant cpu"),
        (("VARIANT=gpu", "ENGINE=docker"), "image --variant gpu --engine docker"),
        (("BASE_IMAGE=mine:1", "WHEELS=my wheels"), "image --variant cpu --base-image mine:1 --wheels my wheels"),
    ],
)
def test_an_image_is_built_as_asked_and_sets_nothing_up(
    project: Project, arguments: tuple[str, ...], expected: str
) -> None:
    invoke = project.root / "my-invoke"
    invoke.write_text('#!/bin/sh\necho "$*" >>calls.log\n')
    invoke.chmod(0o755)
    done = project.make("image", "INVOKE=./my-invoke", *arguments)
    assert done.returncode == 0, done.stderr
    assert project.calls() == [expected]
    assert not (project.root / ".venv").exists()
