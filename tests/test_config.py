"""Configs: what is read, what is refused, and that nothing in a refused one ran."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from stgcn_onnx.config import load_config, resolve_config_path
from stgcn_onnx.errors import UsageError
from stgcn_onnx.mmaction import packaged_config
from stgcn_onnx.model import build_network

OFFICIAL = "skeleton/stgcnpp/stgcnpp_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d.py"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_config_is_read_with_its_whole_base_chain(tmp_path: Path) -> None:
    write(tmp_path, "grandparent.py", "a = 1\nb = dict(x=1, y=[1, 2])\n")
    write(tmp_path, "parent.py", "_base_ = 'grandparent.py'\nb = dict(x=2)\n")
    path = write(tmp_path, "own.py", "_base_ = ['./parent.py']\nc = [i * 2 for i in range(3)]\nd = _base_.b.y\n")
    config = load_config(path)
    assert config.values["a"] == 1
    assert config.values["b"] == {"x": 2, "y": [1, 2]}
    assert config.values["c"] == [0, 2, 4]
    assert config.values["d"] == [1, 2]
    assert [file.path.name for file in config.files] == ["own.py", "parent.py", "grandparent.py"]
    assert config.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert config.path == path
    assert not config.trusted


def test_a_base_can_be_one_of_mmaction2s_own(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "own.py", f"_base_ = 'mmaction::{OFFICIAL}'\n"))
    assert config.values["model"]["backbone"]["type"] == "STGCN"
    assert [file.path.name for file in config.files][1] == Path(OFFICIAL).name
    assert len(config.files) == 3, "the official config has a _base_ of its own"


def test_a_config_can_be_one_of_mmaction2s_own() -> None:
    path = resolve_config_path(f"mmaction::{OFFICIAL}", Path())
    assert path == packaged_config(OFFICIAL)
    assert load_config(path).values["model"]["type"] == "RecognizerGCN"


def test_an_unknown_official_config_is_answered_with_the_closest() -> None:
    with pytest.raises(UsageError, match=r"mmaction::skeleton/stgcnpp/stgcnp.* is not a config") as caught:
        resolve_config_path(f"mmaction::{OFFICIAL.replace('stgcnpp_8xb16', 'stgcnp_8xb16')}", Path())
    assert caught.value.hint == f"did you mean mmaction::{OFFICIAL}?"


def test_a_missing_base_names_the_config_that_wants_it(tmp_path: Path) -> None:
    write(tmp_path, "parent.py", "_base_ = 'gone.py'\n")
    path = write(tmp_path, "own.py", "_base_ = 'parent.py'\n")
    with pytest.raises(UsageError, match=r"parent\.py: its _base_ '.*gone\.py' does not exist") as caught:
        load_config(path)
    assert "relative to the config that names it" in caught.value.hint


def test_a_longer_circle_is_said_and_two_ways_to_one_base_are_none(tmp_path: Path) -> None:
    write(tmp_path, "one.py", "_base_ = 'two.py'\n")
    write(tmp_path, "two.py", "_base_ = 'one.py'\n")
    with pytest.raises(UsageError, match=r"two\.py: its _base_ '.*one\.py' leads back to it"):
        load_config(tmp_path / "one.py")
    write(tmp_path, "root.py", "_base_ = []\n")
    write(tmp_path, "left.py", "_base_ = 'root.py'\na = 1\n")
    write(tmp_path, "right.py", "_base_ = 'root.py'\nb = 2\n")
    config = load_config(write(tmp_path, "own.py", "_base_ = ['left.py', 'right.py']\n"))
    assert (config.values["a"], config.values["b"]) == (1, 2)
    assert len(config.files) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = (\n", r"own\.py:1: not valid Python"),
        ("_base_ = 5\n", r"own\.py:1: _base_ is not a string or a list of strings"),
        ("_base_ = [1]\n", r"own\.py:1: _base_ is not a string"),
        ("_base_ = ['x'] * 2\n", r"own\.py:1: _base_ is not a string"),
        ("_base_ = 'own.py'\n", r"own\.py: its _base_ '.*own\.py' leads back to it"),
        ("a = b\n", r"own\.py: MMEngine cannot read it: name 'b' is not defined"),
    ],
)
def test_what_is_wrong_with_a_config_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(write(tmp_path, "own.py", text))


def test_a_missing_config_and_one_of_another_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config .*none\.py does not exist"):
        load_config(tmp_path / "none.py")
    with pytest.raises(UsageError, match=r"config .*own\.json: expected an MMEngine \.py config"):
        load_config(write(tmp_path, "own.json", "{}"))


CODE = {
    "import": "import os\nos.system('touch SENTINEL')\n",
    "from-import": "from os import system\nsystem('touch SENTINEL')\n",
    "dunder import": "x = __import__('os').system('touch SENTINEL')\n",
    "eval": "x = eval(\"open('SENTINEL', 'w')\")\n",
    "open": "x = open('SENTINEL', 'w')\n",
    "key of max": "x = max([\"open('SENTINEL', 'w')\"], key=eval)\n",
    "eval by another name": "len = eval\nx = len(\"open('SENTINEL', 'w')\")\n",
    "frame of a generator": (
        "match (i for i in []).gi_frame.f_builtins['eval']:\n"
        "    case len:\n"
        "        x = len(\"open('SENTINEL', 'w')\")\n"
    ),
    "subclasses": "x = ().__class__.__base__.__subclasses__()\n",
    "class body": "class A:\n    open('SENTINEL', 'w')\n",
    "decorator": "@print\ndef f():\n    pass\n",
    "lambda": "x = (lambda: open('SENTINEL', 'w'))()\n",
    "method": "x = 'a'.join(['b'])\n",
    "environment template": ('x = {{\'$NOT_SET:__import__("pathlib").Path("SENTINEL").touch()#|.*\'}}\n'),
    "template that ends a string": "a = '''{{_base_.x}}'''; b = \"+open('SENTINEL', 'w')#\"\n",
    "second base": "a = _base_ = 'plain.py'\n_base_ = 'evil.py'\n",
    "base in a branch": "if True:\n    _base_ = 'evil.py'\n",
    "base in a loop": "for _base_ in [(i for i in [])]:\n    x = _base_.gi_frame\n",
    "code in a base": "_base_ = 'evil.py'\n",
    "custom imports": "custom_imports = dict(imports=['evil'])\n",
}


@pytest.mark.parametrize("name", CODE)
def test_code_in_a_config_is_refused_and_does_not_run(tmp_path: Path, name: str) -> None:
    sentinel = tmp_path / "sentinel"
    write(tmp_path, "plain.py", "x = 1\n")
    write(tmp_path, "evil.py", f"open({str(sentinel)!r}, 'w')\n")
    path = write(tmp_path, "own.py", CODE[name].replace("SENTINEL", str(sentinel)))
    with pytest.raises(UsageError, match=r"(own|evil)\.py:\d+: found .*configs are read as plain data") as caught:
        load_config(path)
    assert "--trust-config" in caught.value.hint
    assert not sentinel.exists()


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("os.system", "--trust-config"),
        ("mmengine.load", "--trust-config"),
        ("subprocess.Popen", "--trust-config"),
        ("STGCNN", "did you mean 'STGCN'?"),
        ("antigravity", "--trust-config"),
    ],
)
def test_a_type_that_no_registry_knows_is_refused(tmp_path: Path, kind: str, hint: str) -> None:
    path = write(tmp_path, "own.py", f"model = dict(type='RecognizerGCN', backbone=[dict(type={kind!r})])\n")
    with pytest.raises(UsageError, match=rf"own\.py: model: type='{kind}' is not a name") as caught:
        load_config(path)
    assert hint in caught.value.hint


def test_a_dotted_type_is_refused_anywhere_and_a_plain_one_only_where_it_is_built(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "own.py", "optimiser = dict(type='MyOwn')\n")).values
    with pytest.raises(UsageError, match=r"optimiser: type='my\.Own' is not a name"):
        load_config(write(tmp_path, "own.py", "optimiser = dict(type='my.Own')\n"))


def test_trust_runs_the_config_and_is_remembered(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = write(tmp_path, "own.py", f"_base_ = []\nimport os\nos.mkdir({str(sentinel)!r})\na = 1\n")
    config = load_config(path, trust=True)
    assert sentinel.exists()
    assert config.values["a"] == 1
    assert config.trusted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\n", r"expected a skeleton recogniser .* found no `model`"),
        ("model = dict(type='Recognizer3D')\n", r"found model.type 'Recognizer3D'"),
        ("model = dict(type='RecognizerGCN')\n", r"MMAction2 cannot build its model"),
        (
            "model = dict(type='RecognizerGCN', backbone=dict(type='STGCN', graph_cfg=dict(layout='coco'), depth=3))\n",
            r"MMAction2 cannot build its model: .*depth",
        ),
    ],
)
def test_a_config_of_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    config = load_config(write(tmp_path, "own.py", text))
    with pytest.raises(UsageError, match=message):
        build_network(config)


def test_every_official_skeleton_config_is_plain_data() -> None:
    folder = packaged_config(OFFICIAL).parent
    for path in sorted(folder.glob("*.py"))[:4]:
        assert load_config(path).values["model"]["type"] == "RecognizerGCN"
