"""The last lines of a conversion: the file, its size, the verdict, and the next command."""

from __future__ import annotations

from stgcn_onnx.cli import shown
from stgcn_onnx.console import Log
from stgcn_onnx.pipeline import Conversion
from stgcn_onnx.preset_file import ResolvedPreset


def summarise(conversion: Conversion, resolved: ResolvedPreset, log: Log) -> None:
    """Name the artefact on stdout, and say on stderr how good it is and what to do next."""
    output = shown(conversion.output)
    verdict = "verified against PyTorch" if conversion.report else "NOT verified"
    log.line("done", f"{output}, {conversion.size_bytes / 1e6:.2f} MB, {verdict}", style="bold")
    if not resolved.preset.benchmark.enabled:
        log.line("next", f"invoke benchmark --model {output} --preset {resolved.name}")
    print(output)
