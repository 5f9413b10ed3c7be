"""`convert()`: the only file that knows the order of the steps.

preset -> model -> deploy -> export -> precision -> seal -> verify -> benchmark -> publish
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import nn

from stgcn_onnx import deploy
from stgcn_onnx.artefact import check_axes, read_metadata, seal
from stgcn_onnx.bench.conversion import measure_conversion
from stgcn_onnx.blocks import comparable_modules, value_names
from stgcn_onnx.clips import real_cases
from stgcn_onnx.compare import Comparison, Tolerance
from stgcn_onnx.console import Log
from stgcn_onnx.export import FreeAxes, check_opset, export
from stgcn_onnx.metadata import describe
from stgcn_onnx.model import LoadedModel, load_model
from stgcn_onnx.openvino_runtime import OpenVinoSession, openvino_is_installed
from stgcn_onnx.precision import available_rewrites, chosen_rewrites, lower
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import ResolvedPreset
from stgcn_onnx.publish import publish, sidecar, staging
from stgcn_onnx.reference import Reference
from stgcn_onnx.report import AnyReport, report_json, require_pass, row_text
from stgcn_onnx.residual_axes import name_residual_axes
from stgcn_onnx.runtime import require_device
from stgcn_onnx.verify import VerifyReport, verify
from stgcn_onnx.verify_cases import Case, generated_cases
from stgcn_onnx.verify_lower import verify_lower

_EINSUM_OPSET = 12


@dataclass(frozen=True)
class Conversion:
    """What a conversion left: the artefact, its size, its verdict, and the files it was made from."""

    output: Path
    size_bytes: int
    report: AnyReport | None
    sources: tuple[Path, ...]


@dataclass(frozen=True)
class Built:
    """An ONNX file that is not yet verified.

    Attributes:
        content: its bytes.
        calibrated_on: names of the clips that its calibration used.
        suggest: finds layers to leave in float where its accuracy is not enough, the worst first.
    """

    content: bytes
    calibrated_on: frozenset[str]
    suggest: Callable[[], Sequence[str]]


def convert(resolved: ResolvedPreset, log: Log) -> Conversion:
    """Build the artefact of a preset; it appears complete and verified, or not at all.

    Raises:
        ConverterError: the class says what failed, see `errors.py`.
    """
    preset = resolved.preset
    output = Path(preset.output)
    require_device(preset.device)
    check_opset(preset.export.opset, preset.export.exporter)
    with staging(output) as stage:
        with log.stage("loading"):
            model = load_model(preset.model, preset.input)
        log.line("model", f"{model.config.path.name} with {model.checkpoint.path.name}, {model.shape} [N, M, T, V, C]")
        built = build(model, resolved, log)
        content = built.content
        log.line("export", f"opset {preset.export.opset}, {preset.export.exporter}, {len(content) / 1e6:.2f} MB")
        (stage / output.name).write_bytes(content)
        names, report = [output.name], None
        if preset.verify.enabled:
            report = check(content, model, preset, log, calibrated=built.calibrated_on, suggest=built.suggest)
            _refuse_failure(report, content, output)
            text = report_json(report, content, output.name)
            names.append(_write(stage / sidecar(output, "verify.json").name, text))
        else:
            log.line("verify", "skipped, as asked: nothing is known of this file's results", style="yellow")
        if preset.benchmark.enabled:
            with log.stage("measuring"):
                text = measure_conversion(stage / output.name, resolved, log)
            names.append(_write(stage / sidecar(output, "benchmark.json").name, text))
        publish(stage, output, names, obsolete=_obsolete(output, names))
    sources = (*resolved.files, *(file.path for file in model.config.files), model.checkpoint.path)
    if preset.export.precision != "fp32" and preset.calibration.data is not None:
        sources += (Path(preset.calibration.data),)
    return Conversion(output, len(content), report, sources)


def build(model: LoadedModel, resolved: ResolvedPreset, log: Log) -> Built:
    """Deploy, export, lower the precision and seal: the ONNX file, not yet verified.

    Raises:
        UsageError: an unknown rewrite, an opset out of range, or clips that nothing can be calibrated on.
        ExportError: the exporter fails or its file breaks the contract.
        VerificationError: a free axis came out fixed.
    """
    preset = resolved.preset
    free = free_axes(preset)
    with log.stage("exporting"):
        module, applied = _deployed(model, preset, log)
        proto = export(module, model.shape, free, opset=preset.export.opset, exporter=preset.export.exporter)
        if preset.export.precision == "fp32":
            name_residual_axes(proto, applied)
    check_axes(proto, model.shape, free, model.num_classes)
    blocks = value_names(proto, comparable_modules(model.recogniser, module))
    lowered = lower(proto, model, preset, free, log)
    log.detail("graph", f"{len(lowered.proto.graph.node)} nodes")
    metadata = describe(
        model, preset, preset_name=resolved.name, applied=applied, blocks=blocks, precision=lowered.metadata
    )
    return Built(seal(lowered.proto, metadata), lowered.calibrated_on, lowered.suggest)


def check(
    content: bytes,
    model: LoadedModel,
    preset: Preset,
    log: Log,
    *,
    calibrated: Collection[str] = (),
    suggest: Callable[[], Sequence[str]] = tuple,
) -> AnyReport:
    """Verify an ONNX file of ours against the model it was made from: fp32 by its logits, others by their accuracy.

    Args:
        calibrated: names of the clips that its calibration used.
        suggest: finds the layers to name where its accuracy is not enough.

    Raises:
        VerificationError: nothing to compare, or a declared shape that does not run.
        UsageError: the real clips cannot be read.
    """
    if preset.export.precision == "fp32":
        return check_logits(content, model, preset, log)
    free = free_axes(preset)
    return verify_lower(content, model, preset, free, log, calibrated=calibrated, suggest=suggest)


def check_logits(content: bytes, model: LoadedModel, preset: Preset, log: Log) -> VerifyReport:
    """Verify a float32 file, also one of another origin, by its logits.

    Raises:
        VerificationError: nothing to compare, or a declared shape that does not run.
        UsageError: the real clips cannot be read.
    """
    blocks = read_metadata(onnx.load_from_string(content)).get("blocks", {})
    reference = Reference(model.recogniser, preset.device)
    tolerance = Tolerance(preset.verify.rtol, preset.verify.atol)

    def show(row: Comparison) -> None:
        log.progress(f"verifying {list(row.shape)} …")
        log.detail("verify", row_text(row))

    with log.stage("verifying"):
        cases = itertools.chain(
            generated_cases(model.shape, free_axes(preset), preset.verify.seed), _given_clips(model, preset)
        )
        others = _named_runtime(content, preset, log)
        report = verify(
            content, reference, cases, tolerance, device=preset.device, blocks=blocks, others=others, on_row=show
        )
    shapes = len({row.shape for row in report.rows})
    worst = max(row.max_abs for row in report.rows)
    rounding = max(row.rounding_abs for row in report.rows)
    log.line(
        "verify",
        f"{sum(row.passed for row in report.rows)} of {len(report.rows)} comparisons over {shapes} shape(s) agree with "
        f"PyTorch; max abs difference {worst:.1e} (PyTorch's own rounding: {rounding:.1e})",
        style="green" if report.passed else "red",
    )
    return report


def _named_runtime(content: bytes, preset: Preset, log: Log) -> dict[str, OpenVinoSession]:
    """The file in the runtime that the preset names, besides onnxruntime, where that is installed."""
    if preset.export.runtime == "onnxruntime":
        return {}
    if openvino_is_installed():
        return {"OpenVINO": OpenVinoSession(content)}
    log.line("verify", "openvino is not installed: the file is verified in onnxruntime alone", style="yellow")
    return {}


def free_axes(preset: Preset) -> FreeAxes:
    """The ranges of the preset's dynamic axes."""
    batch, frames = preset.axes.batch_size, preset.axes.num_frames
    return FreeAxes(
        (batch.min, batch.max) if batch.dynamic else None, (frames.min, frames.max) if frames.dynamic else None
    )


def _deployed(model: LoadedModel, preset: Preset, log: Log) -> tuple[nn.Module, tuple[deploy.Applied, ...]]:
    chosen = chosen_rewrites(preset)
    if preset.export.opset < _EINSUM_OPSET and not chosen:
        chosen = deploy.REQUIRED_BELOW_OPSET_12
        log.line("deploy", f"{', '.join(chosen)}: opset {preset.export.opset} has no Einsum")
    free = free_axes(preset)
    module, applied = deploy.deploy(
        model.recogniser,
        chosen,
        num_frames=None if free.frames else model.shape.frames,
        frame_range=free.frames,
        traced_people=model.shape.person * model.shape.batch,
        scripting=preset.export.exporter == "torchscript",
        rewrites=available_rewrites(preset),
    )
    for item in applied:
        log.detail("deploy", f"{item.name}: {item.count}")
        for refusal in item.refusals:
            log.line("deploy", f"{item.name}: left as it is: {refusal}", style="yellow")
    return module, applied


def _given_clips(model: LoadedModel, preset: Preset) -> Iterator[Case]:
    if preset.verify.data is not None:
        yield from real_cases(Path(preset.verify.data), model.config, model.shape, limit=preset.verify.clips)


def _refuse_failure(report: AnyReport, content: bytes, output: Path) -> None:
    """Keep the report and a reproducer of a failure beside the output, under names of their own."""
    if not report.passed:
        require_pass(report, content, output, sidecar(output, "verify.failed.json"))


def _obsolete(output: Path, names: list[str]) -> list[Path]:
    """Sidecars of an earlier build that speak of other bytes, and the remains of an earlier failure."""
    kinds = ("verify.json", "benchmark.json", "verify.failed.json", "verify.failed.npz")
    return [path for path in (sidecar(output, kind) for kind in kinds) if path.name not in names]


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return path.name
