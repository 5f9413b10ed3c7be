"""Checkpoints: every form that is read, every form that is refused, and that nothing in a file runs."""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import Tiny
from torch import Tensor, nn

from stgcn_onnx.checkpoint import Checkpoint, fit, read_checkpoint
from stgcn_onnx.config import load_config
from stgcn_onnx.errors import CheckpointError
from stgcn_onnx.model import build_network

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def weights(tiny_source: Tiny) -> Weights:
    return dict(torch.load(tiny_source.checkpoint, weights_only=True)["state_dict"])


@pytest.fixture
def network(tiny_source: Tiny) -> nn.Module:
    return build_network(load_config(tiny_source.config))


def save(path: Path, content: object, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def assert_same(found: Checkpoint, expected: Weights) -> None:
    assert found.weights.keys() == expected.keys()
    assert all(torch.equal(found.weights[key], value) for key, value in expected.items())


FORMS: dict[str, Callable[[Weights], object]] = {
    "meta and state_dict": lambda w: {"meta": {"epoch": 3}, "state_dict": w},
    "bare": lambda w: w,
    "ordered": collections.OrderedDict,
    "model": lambda w: {"model": w, "epoch": 3},
    "module.": lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
    "_orig_mod.": lambda w: {f"_orig_mod.{k}": v for k, v in w.items()},
    "module._orig_mod.": lambda w: {f"module._orig_mod.{k}": v for k, v in w.items()},
    "averaged model": lambda w: {"steps": torch.tensor(7), **{f"module.{k}": v for k, v in w.items()}},
    "swa": lambda w: {"n_averaged": torch.tensor(7), **{f"module.{k}": v for k, v in w.items()}},
    "ema_model.": lambda w: {"state_dict": {f"ema_model.{k}": v for k, v in w.items()}},
    "mirrors of MMCV 1": lambda w: {
        "state_dict": {**w, **{"ema_" + k.replace(".", "_"): torch.zeros_like(v) for k, v in w.items()}}
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_known_form_gives_the_same_weights(
    tmp_path: Path, weights: Weights, network: nn.Module, tiny_source: Tiny, form: str
) -> None:
    checkpoint = read_checkpoint(save(tmp_path / "a.pth", FORMS[form](weights)))
    assert_same(checkpoint, weights)
    fit(network, checkpoint, config=tiny_source.config)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in weights.items())
    assert not checkpoint.trusted


def test_the_old_serialisation_is_read_as_well(tmp_path: Path, weights: Weights) -> None:
    path = save(tmp_path / "a.pth", {"state_dict": weights}, _use_new_zipfile_serialization=False)
    assert_same(read_checkpoint(path), weights)


def test_a_runner_file_with_its_message_hub_is_read(shared_data: Path) -> None:
    path = shared_data / "runner_checkpoint.pth"
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    checkpoint = read_checkpoint(path)
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(checkpoint.meta["epoch"], int)
    fit(build_network(load_config(shared_data / "stgcnpp_fight.py")), checkpoint, config=path)


def test_checkpoints_from_before_the_batch_counter_are_read(
    tmp_path: Path, weights: Weights, network: nn.Module
) -> None:
    old = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(weights)
    fit(network, read_checkpoint(save(tmp_path / "a.pth", old)), config=tmp_path)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in old.items())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint .*none\.pth does not exist"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, weights: Weights, zipped: bool) -> None:
    whole = save(tmp_path / "a.pth", {"state_dict": weights}, _use_new_zipfile_serialization=zipped).read_bytes()
    path = tmp_path / "cut.pth"
    lengths = sorted({*range(0, 64, 7), *range(64, len(whole), len(whole) // 40), len(whole) - 1})
    for length in lengths:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=rf"cut\.pth \({length} bytes\) is truncated or not a PyTorch file"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"\x00" * 100, b"PK\x03\x04", b"hello", b"\x80\x02", b"\x80\x05N.", b"version https"]
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is truncated or not a PyTorch file") as caught:
        read_checkpoint(path)
    assert "sha256" in caught.value.hint


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.function, self.arguments


CALLS: dict[str, Callable[[str], object]] = {
    "os.system": lambda sentinel: Call(os.system, f"touch {sentinel}"),
    "eval": lambda sentinel: Call(eval, f"open({sentinel!r}, 'w')"),
    "exec": lambda sentinel: Call(exec, f"open({sentinel!r}, 'w')"),
    "open": lambda sentinel: Call(open, sentinel, "w"),
    "mkdir": lambda sentinel: Call(os.mkdir, sentinel),
    "a torch function": lambda sentinel: Call(torch.save, {}, sentinel),
}


@pytest.mark.parametrize("place", ["meta", "state_dict", "message_hub"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_in_a_malicious_checkpoint_runs(
    tmp_path: Path, weights: Weights, call: str, zipped: bool, place: str
) -> None:
    sentinel = tmp_path / "sentinel"
    content = {"state_dict": dict(weights), place: CALLS[call](str(sentinel))}
    path = save(tmp_path / "a.pth", content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"holds more than weights: it wants .*; nothing in it was run") as caught:
        read_checkpoint(path)
    assert "--trust-checkpoint" in caught.value.hint
    assert not sentinel.exists()


def test_a_bare_pickle_is_not_run_either(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = tmp_path / "a.pth"
    path.write_bytes(pickle.dumps(CALLS["open"](str(sentinel))))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not sentinel.exists()


def test_the_tar_format_of_old_is_not_run_either(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = tmp_path / "a.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            content = pickle.dumps(CALLS["open"](str(sentinel)))
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not sentinel.exists()


def gadget(sentinel: str) -> bytes:
    """A pickle that climbs from an admitted class to `eval`, with `builtins.getattr` and nothing else."""

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    def look_up(target: bytes, name: str) -> bytes:
        return b"cbuiltins\ngetattr\n(" + target + text(name) + b"tR"

    history = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
    names = look_up(look_up(history, "__init__"), "__globals__")
    builtins = look_up(names, "__getitem__") + b"(" + text("__builtins__") + b"tR"
    evaluate = look_up(builtins, "__getitem__") + b"(" + text("eval") + b"tR"
    call = evaluate + b"(" + text(f"open({sentinel!r}, 'w')") + b"tR"
    return b"\x80\x02}" + text("state_dict") + b"}s" + text("meta") + call + b"s."


def test_the_stand_in_for_getattr_leads_nowhere(tmp_path: Path, weights: Weights) -> None:
    sentinel, path = tmp_path / "sentinel", tmp_path / "a.pth"
    good = save(tmp_path / "good.pth", {"state_dict": weights})
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for item in source.infolist():
            evil = item.filename.endswith("/data.pkl")
            target.writestr(item, gadget(str(sentinel)) if evil else source.read(item))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not sentinel.exists()


def test_trust_runs_the_file_and_is_remembered(tmp_path: Path, weights: Weights) -> None:
    sentinel = tmp_path / "sentinel"
    path = save(tmp_path / "a.pth", {"state_dict": weights, "meta": {"made": CALLS["mkdir"](str(sentinel))}})
    checkpoint = read_checkpoint(path, trust=True)
    assert sentinel.exists()
    assert checkpoint.trusted
    assert_same(checkpoint, weights)


def test_trust_is_no_excuse_for_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"cno.such.module\nName\n.")
    with pytest.raises(CheckpointError, match="is truncated or not a PyTorch file"):
        read_checkpoint(path, trust=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "expected a state dict, found list"),
        ({}, "expected a state dict, found dict"),
        ({"state_dict": {}}, "expected a state dict, found dict"),
        ({"state_dict": {1: torch.zeros(1)}}, "expected a state dict, found dict"),
        ({"epoch": 3, "lr": 0.1}, "expected tensors only, found other values under epoch, lr"),
        (torch.zeros(3), "expected a state dict, found Tensor"),
    ],
)
def test_a_file_without_a_state_dict_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(save(tmp_path / "a.pth", content))


def test_the_digest_that_a_preset_expects_is_enforced(tmp_path: Path, weights: Weights) -> None:
    path = save(tmp_path / "a.pth", weights)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_checkpoint(path, expected_sha256=digest.upper()).sha256 == digest
    with pytest.raises(CheckpointError, match=rf"sha256 is {digest}, the preset expects {'0' * 64}") as caught:
        read_checkpoint(path, expected_sha256="0" * 64)
    assert "model.sha256" in caught.value.hint


def test_a_digest_is_looked_at_before_the_file_is_unpickled(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    path = save(tmp_path / "a.pth", {"x": CALLS["mkdir"](str(sentinel))})
    with pytest.raises(CheckpointError, match="the preset expects"):
        read_checkpoint(path, expected_sha256="0" * 64, trust=True)
    assert not sentinel.exists()


def test_every_key_that_does_not_fit_is_listed(tmp_path: Path, weights: Weights, network: nn.Module) -> None:
    wrong = dict(weights)
    gone = next(key for key in wrong if key.endswith("gcn.0.gcn.conv.weight"))
    head = next(key for key in wrong if key.startswith("cls_head") and key.endswith("weight"))
    bias = next(key for key in wrong if key.startswith("cls_head") and key.endswith("bias"))
    del wrong[gone]
    wrong["surplus.weight"] = torch.zeros(3)
    wrong[head] = torch.zeros(5, 5)
    wrong[bias] = torch.full_like(wrong[bias], float("nan"))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        fit(network, read_checkpoint(save(tmp_path / "a.pth", wrong)), config=Path("some.py"))
    message = caught.value.message
    assert "does not fit the model of some.py" in message
    assert f"1 missing: {gone};" in message
    assert "1 unexpected: surplus.weight;" in message
    assert f"1 mis-shaped: {head} (expected {tuple(weights[head].shape)}, found (5, 5))" in message
    assert f"1 not finite: {bias}" in message
    assert "the config that this checkpoint was trained with" in caught.value.hint
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items()), "nothing was loaded"


def test_a_long_list_is_cut_and_counted(tmp_path: Path, weights: Weights, network: nn.Module) -> None:
    surplus = {f"extra.{index}": torch.zeros(1) for index in range(25)}
    with pytest.raises(CheckpointError, match=r"25 unexpected: extra\.0, .*extra\.19 and 5 more"):
        fit(network, read_checkpoint(save(tmp_path / "a.pth", {**weights, **surplus})), config=tmp_path)


def test_an_argument_namespace_is_refused_by_name(tmp_path: Path, weights: Weights) -> None:
    path = save(tmp_path / "a.pth", {"state_dict": weights, "args": argparse.Namespace(lr=1)})
    with pytest.raises(CheckpointError, match=r"it wants argparse\.Namespace; nothing in it was run"):
        read_checkpoint(path)
