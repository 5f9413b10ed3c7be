"""What a preset may say: frozen, validated objects. Reading the YAML is `preset_file.py`'s work.

Unknown keys are errors, nothing is repaired, and every key has a default that is written here and nowhere else. The
JSON schema for editors is generated from these classes (`scripts/presets.py --schema`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

OLDEST_OPSET = 11
OLDEST_INT8_OPSET = 13
PositiveInt = Annotated[int, Field(ge=1, strict=True)]


def _no_truth_value(value: object) -> object:
    """Python counts `true` as 1; YAML's `1e-3`, which is text there, does become a number."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def _onnx_name(value: str) -> str:
    if Path(value).suffix != ".onnx":
        raise ValueError("expected a name that ends in .onnx")
    return value


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(_no_truth_value)]
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_no_truth_value)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), use_attribute_docstrings=True)


class ModelSource(_Section):
    """Which network, and which weights."""

    config: str
    """MMAction2 config: a path relative to the preset, or `mmaction::skeleton/...`."""
    checkpoint: str
    """Checkpoint (.pth), relative to the preset."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """SHA-256 that the checkpoint must have."""
    trust_checkpoint: Annotated[bool, Field(strict=True)] = False
    """Unpickle the checkpoint without restriction; recorded in the artefact."""
    trust_config: Annotated[bool, Field(strict=True)] = False
    """Run the config as Python code instead of reading it as data; recorded in the artefact."""


class InputShape(_Section):
    """The shape that is traced: [batch_size, num_person, num_frames, joints, channels]."""

    batch_size: PositiveInt = 1
    """Clips in a batch, N."""
    num_person: PositiveInt | None = None
    """People in a clip, M; by default what the config's test pipeline says."""
    num_frames: PositiveInt = 100
    """Frames in a clip, T."""


class Axis(_Section):
    """One axis of the input: fixed at the traced size, or free within a range."""

    dynamic: Annotated[bool, Field(strict=True)] = False
    """Whether the axis is free in the ONNX file."""
    min: PositiveInt
    """Smallest size that is declared and verified."""
    max: PositiveInt
    """Largest size that is declared and verified."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is greater than max {self.max}")
        return self


class BatchAxis(Axis):
    """How many clips a batch may hold."""

    min: PositiveInt = 1
    """Fewest clips that are declared and verified."""
    max: PositiveInt = 8
    """Most clips that are declared and verified."""


class FramesAxis(Axis):
    """How many frames a clip may hold."""

    min: PositiveInt = 50
    """Fewest frames that are declared and verified."""
    max: PositiveInt = 200
    """Most frames that are declared and verified."""


class Axes(_Section):
    """The axes that may be free, by their names in the ONNX file."""

    batch_size: BatchAxis = BatchAxis()
    num_frames: FramesAxis = FramesAxis()


class ExportOptions(_Section):
    """How the ONNX file is written."""

    opset: Annotated[int, Field(ge=OLDEST_OPSET, strict=True)] = 17
    """Opset of the standard ONNX domain, 11 or later."""
    exporter: Literal["torchscript", "dynamo"] = "torchscript"
    """PyTorch's exporter: `torchscript` (opset 11 and up), or `dynamo` (opset 18 and up, slower)."""
    deploy: Literal["all", "none"] | tuple[str, ...] = "all"
    """Exact rewrites applied before export: all, none, or a list of their names."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """Arithmetic of the file: `fp32`, `fp16` (half the size, for GPUs and NPUs) or `int8` (opset 13 and up)."""
    runtime: Literal["onnxruntime", "openvino"] = "onnxruntime"
    """What the graph is arranged for; `openvino` takes fixed axes and fp32. The file runs in either."""

    @model_validator(mode="after")
    def _opset_has_scales_per_channel(self) -> Self:
        if self.precision == "int8" and self.opset < OLDEST_INT8_OPSET:
            raise ValueError(
                f"precision int8 needs opset {OLDEST_INT8_OPSET} or later, the first with a scale per channel, "
                f"and the opset is {self.opset}"
            )
        return self

    @model_validator(mode="after")
    def _openvino_lowers_by_itself(self) -> Self:
        if self.runtime == "openvino" and self.precision != "fp32":
            raise ValueError(
                f"runtime openvino takes precision fp32, and the precision is {self.precision}; OpenVINO computes in "
                "bf16 or f16 where it is asked to (INFERENCE_PRECISION_HINT)"
            )
        return self


class CalibrationOptions(_Section):
    """The clips on which a lower precision looks at the network's values: int8 for scales, fp16 for overflows."""

    data: str | None = None
    """MMAction2 annotation pickle to calibrate on, relative to the preset; by default clips are generated."""
    clips: PositiveInt = 128
    """How many clips, at most those of `data`."""
    method: Literal["min-max", "entropy", "percentile"] = "percentile"
    """How int8 finds a value's range: all of it, by entropy, or all but the outermost values."""
    exclude: tuple[str, ...] = ()
    """Layers that stay in float: paths of modules (`backbone.gcn.0`) or names of nodes."""


class VerifyOptions(_Section):
    """How the ONNX file is compared with the PyTorch model."""

    enabled: Annotated[bool, Field(strict=True)] = True
    """Whether to verify; an unverified file says so in its metadata."""
    rtol: Tolerance = 1e-3
    """fp32: relative tolerance of the logits."""
    atol: Tolerance = 1e-5
    """fp32: absolute tolerance of the logits."""
    seed: Annotated[int, Field(ge=0, strict=True)] = 0
    """Seed of the generated inputs."""
    data: str | None = None
    """MMAction2 annotation pickle of real clips, relative to the preset."""
    clips: PositiveInt = 16
    """fp32: how many clips of `data` are compared, at most."""
    min_agreement: Share = 0.99
    """fp16, int8: least share of clips to which the file and PyTorch give the same class."""
    max_probability_difference: Share = 0.01
    """fp16, int8: largest mean absolute difference of the probabilities from PyTorch's."""
    max_top1_drop: Share = 0.005
    """fp16, int8: how much of PyTorch's top-1 accuracy may be lost, as a share."""


class BenchmarkOptions(_Section):
    """How speed is measured."""

    enabled: Annotated[bool, Field(strict=True)] = False
    """Whether to measure after the conversion."""
    rounds: PositiveInt = 5
    """Processes per candidate, taking turns."""
    iterations: PositiveInt = 30
    """Timed runs per process."""
    warmup: Annotated[int, Field(ge=0, strict=True)] = 5
    """Runs per process before the timed ones."""
    max_regression: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """How many times slower than in `baseline`, by its ratio to PyTorch, a file may be; slower ones are refused."""
    baseline: str | None = None
    """An earlier X.benchmark.json of the same kind of machine, relative to the preset."""

    @model_validator(mode="after")
    def _gate_is_complete(self) -> Self:
        if self.max_regression is not None and self.baseline is None:
            raise ValueError("max_regression needs a baseline to compare with; set benchmark.baseline")
        if self.max_regression is not None and "enabled" not in self.model_fields_set:
            raise ValueError("max_regression needs a measurement; set benchmark.enabled to true")
        return self


class Preset(_Section):
    """A whole conversion."""

    description: str = ""
    """One line for `invoke presets`."""
    model: ModelSource
    input: InputShape = InputShape()
    axes: Axes = Axes()
    export: ExportOptions = ExportOptions()
    calibration: CalibrationOptions = CalibrationOptions()
    verify: VerifyOptions = VerifyOptions()
    benchmark: BenchmarkOptions = BenchmarkOptions()
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = "cpu"
    """Where verification and benchmark run: cpu, cuda or cuda:N."""
    output: Annotated[str, AfterValidator(_onnx_name)]
    """The ONNX file, relative to the preset."""

    @model_validator(mode="after")
    def _openvino_has_fixed_axes(self) -> Self:
        free = [name for name in ("batch_size", "num_frames") if getattr(self.axes, name).dynamic]
        if self.export.runtime == "openvino" and free:
            raise ValueError(
                f"export.runtime openvino takes fixed axes, and axes.{free[0]} is dynamic; "
                f"set axes.{free[0]}.dynamic to false"
            )
        return self

    @model_validator(mode="after")
    def _traced_within_ranges(self) -> Self:
        for name, size in (("batch_size", self.input.batch_size), ("num_frames", self.input.num_frames)):
            axis: Axis = getattr(self.axes, name)
            if axis.dynamic and not axis.min <= size <= axis.max:
                raise ValueError(
                    f"input.{name} is {size}, outside axes.{name} {axis.min} to {axis.max}; "
                    f"set axes.{name}.min and axes.{name}.max"
                )
        return self
