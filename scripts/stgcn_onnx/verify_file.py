"""An ONNX file that exists already, against a PyTorch model: what `invoke verify` does.

A file of ours says in its metadata which shape it was traced at, which ranges it declares, how close it has to be and
which checkpoint it was made from; all of that is held to. A file of another origin says only what its input looks
like: `input`, `[N, M, T, V, C]`, where N and T may be free. Ranges and tolerances are then the preset's.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from stgcn_onnx.artefact import check_axes, read_metadata
from stgcn_onnx.bench.subject import read_subject, require_same_checkpoint
from stgcn_onnx.calibration import calibrated_on
from stgcn_onnx.cli import preset_overrides
from stgcn_onnx.console import Log
from stgcn_onnx.errors import UsageError
from stgcn_onnx.export import INPUT_NAME
from stgcn_onnx.model import LoadedModel, load_model
from stgcn_onnx.pipeline import check, free_axes
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import Override, load_preset, preset_names
from stgcn_onnx.report import AnyReport
from stgcn_onnx.runtime import require_device

_AXES = (("input.batch_size", "axes.batch_size.dynamic"), None, ("input.num_frames", "axes.num_frames.dynamic"))
_NUM_AXES = 5


@dataclass(frozen=True)
class GivenFile:
    """An ONNX file, its content and its metadata, which is empty for a file of another origin."""

    path: Path
    content: bytes
    proto: ModelProto
    metadata: dict[str, Any]


def read_file(path: Path) -> GivenFile:
    """Open an ONNX file of any origin.

    Raises:
        UsageError: it is missing or no ONNX file.
    """
    if not path.is_file():
        raise UsageError(f"model {path} does not exist", hint="build it with `make` or `invoke convert`")
    content = path.read_bytes()
    try:
        proto = onnx.load_from_string(content)
    except Exception as error:  # protobuf raises classes of its own
        raise UsageError(f"model {path}: not an ONNX file: {error}", hint="give an .onnx file") from error
    return GivenFile(path, content, proto, read_metadata(proto))


def verify_file(file: GivenFile, arguments: argparse.Namespace, log: Log) -> AnyReport:
    """Verify a file at the shapes it declares.

    Args:
        arguments: with the options of `cli.add_model_options` and `cli.add_tolerance_options`.

    Raises:
        IntegrityError: the file was made from another checkpoint.
        VerificationError: nothing to compare, or axes other than the metadata says.
        ConverterError: what loading the model raises.
    """
    preset, model = load_original(file, arguments, log)
    data = preset.verify.data
    calibrated = frozenset() if data is None else calibrated_on(file.metadata, Path(data))
    return check(file.content, model, preset, log, calibrated=calibrated)


def load_original(file: GivenFile, arguments: argparse.Namespace, log: Log) -> tuple[Preset, LoadedModel]:
    """The preset that a file belongs to, with what the file and the options say put in, and the PyTorch model.

    Args:
        arguments: with the options of `cli.add_model_options`.

    Raises:
        IntegrityError: the file was made from another checkpoint.
        VerificationError: axes other than the metadata says.
        ConverterError: what loading the model raises.
    """
    name = arguments.preset or _own_preset(file.metadata)
    preset = load_preset(name, [*recorded_values(file), *preset_overrides(arguments)]).preset
    require_device(preset.device)
    if file.metadata and Path(preset.model.checkpoint).is_file():
        require_same_checkpoint(read_subject(file.path), Path(preset.model.checkpoint))
    with log.stage("loading"):
        model = load_model(preset.model, preset.input)
    log.line("model", f"{model.config.path.name} with {model.checkpoint.path.name}, {model.shape} [N, M, T, V, C]")
    if file.metadata:
        check_axes(file.proto, model.shape, free_axes(preset), model.num_classes)
    return preset, model


def recorded_values(file: GivenFile) -> list[Override]:
    """The preset values that the file itself decides: shape, free axes; in a file of ours ranges, precision, limits.

    Raises:
        UsageError: a file of another origin that takes anything else than `input` `[N, M, T, V, C]`.
    """
    if not file.metadata:
        return _values_of_input(file)
    subject = read_subject(file.path)
    values: dict[str, object] = {
        "input.batch_size": subject.traced.batch,
        "input.num_person": subject.traced.person,
        "input.num_frames": subject.traced.frames,
        "export.opset": file.metadata["opset"],
        "export.precision": file.metadata["precision"],
        "export.runtime": subject.runtime,
    }
    for axis, settings in file.metadata["axes"].items():
        values |= {f"axes.{axis}.{key}": value for key, value in settings.items()}
    verification = file.metadata["verification"]
    if isinstance(verification, dict):
        values |= {f"verify.{key}": value for key, value in verification.items()}
    return [Override(key, value, f"metadata of {file.path.name}") for key, value in values.items()]


def _own_preset(metadata: dict[str, Any]) -> str:
    name = metadata.get("preset")
    return name if name in preset_names() else "custom"


def _values_of_input(file: GivenFile) -> list[Override]:
    inputs = file.proto.graph.input
    shapes = {value.name: value.type.tensor_type.shape.dim for value in inputs}
    dims = shapes.get(INPUT_NAME, [])
    if len(shapes) != 1 or len(dims) != _NUM_AXES:
        found = ", ".join(f"{name} with {len(shape)} axes" for name, shape in shapes.items()) or "none"
        raise UsageError(
            f"model {file.path}: expected one input '{INPUT_NAME}' [N, M, T, V, C], found {found}",
            hint="give a file that takes clips of skeletons",
        )
    sizes = [dim.dim_value for dim in dims]
    if not all((sizes[1], sizes[3], sizes[4])):
        raise UsageError(
            f"model {file.path}: M, V or C of '{INPUT_NAME}' is free, only N and T may be", hint="fix these axes"
        )
    values: dict[str, object] = {"input.num_person": sizes[1]}
    for size, keys in zip(sizes, _AXES, strict=False):
        if keys is not None:
            values[keys[1]] = size == 0
            if size:
                values[keys[0]] = size
    return [Override(key, value, f"input of {file.path.name}") for key, value in values.items()]
