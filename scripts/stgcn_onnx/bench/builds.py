"""The files that are compared: variants of one preset, each converted and verified like any other artefact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stgcn_onnx.bench.subject import Subject, read_subject
from stgcn_onnx.console import Log
from stgcn_onnx.pipeline import convert
from stgcn_onnx.preset import Preset
from stgcn_onnx.preset_file import Override, ResolvedPreset, load_preset

FIXED = {
    "axes.batch_size.dynamic": False,
    "axes.num_frames.dynamic": False,
    "export.runtime": "onnxruntime",
}
FREE_FRAMES = {**FIXED, "axes.num_frames.dynamic": True}


@dataclass(frozen=True)
class Source:
    """A preset with the user's overrides, from which variants are derived."""

    name: str
    overrides: tuple[Override, ...] = ()

    def preset(self) -> Preset:
        return self.resolve({}).preset

    def resolve(self, values: Mapping[str, object]) -> ResolvedPreset:
        """The preset with the user's overrides and then `values`, by dotted key.

        Raises:
            UsageError: unknown keys or values that do not go together.
        """
        own = [Override(key, value, "the benchmark") for key, value in values.items()]
        return load_preset(self.name, [*self.overrides, *own])


def build(variants: Mapping[str, Mapping[str, object]], source: Source, folder: Path, log: Log) -> dict[str, Subject]:
    """Convert each variant into `folder`; verification is always on, whatever the preset says.

    Args:
        variants: overrides by the variant's name, which is also its file's.

    Raises:
        ConverterError: a conversion fails.
    """
    subjects = {}
    always = {"verify.enabled": True, "benchmark.enabled": False, "benchmark.max_regression": None}
    for number, (name, values) in enumerate(variants.items(), start=1):
        output = folder / f"{name}.onnx"
        log.line("build", f"{number} of {len(variants)}: {name}")
        convert(source.resolve({**values, **always, "output": str(output)}), log)
        subjects[name] = read_subject(output)
    return subjects
