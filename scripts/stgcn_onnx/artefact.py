"""The ONNX file as it is shipped: clean, self-contained, self-describing, and the same bytes each time.

What exporters leave behind is removed: doc strings, source locations (dynamo writes over a thousand local paths into
node metadata, pytorch/pytorch#108179), producer details. What a receiver needs is written in: see `metadata.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, TensorProto, checker, shape_inference

from stgcn_onnx.errors import ExportError, VerificationError
from stgcn_onnx.export import INPUT_NAME, OUTPUT_NAME, FreeAxes
from stgcn_onnx.model import ClipShape

_PRODUCER = "stgcn-onnx"
_STANDARD_DOMAINS = frozenset({"", "ai.onnx"})


def seal(model: ModelProto, metadata: Mapping[str, Any]) -> bytes:
    """Clean the model, write its metadata, check it and serialise it.

    Args:
        model: changed in place.
        metadata: JSON values by key.

    Raises:
        ExportError: external data, a foreign operator domain, a local path, or a file that onnx's checker refuses.
    """
    _clean(model)
    model.producer_name = _PRODUCER
    model.producer_version = ""
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=json.dumps(metadata[key], sort_keys=True, ensure_ascii=False))
    _check_self_contained(model)
    content: bytes = model.SerializeToString(deterministic=True)
    _check_no_local_path(content)
    try:
        checker.check_model(content, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise ExportError(f"onnx's checker refuses the file: {error}", hint="try another opset or exporter") from error
    return content


def read_metadata(model: ModelProto) -> dict[str, Any]:
    """The metadata that `seal` wrote; empty for a file of another origin."""
    if model.producer_name != _PRODUCER:
        return {}
    return {prop.key: json.loads(prop.value) for prop in model.metadata_props}


def check_axes(model: ModelProto, shape: ClipShape, free: FreeAxes, num_classes: int) -> None:
    """Read the input and output axes back from the file and hold them against what was asked for.

    Exporters bake a "dynamic" axis in without a word (pytorch/pytorch#165748).

    Raises:
        VerificationError: an axis came out fixed, free, or of another size; or input and output differ from the
            contract.
    """
    inputs = [value.name for value in model.graph.input]
    outputs = [value.name for value in model.graph.output]
    if inputs != [INPUT_NAME] or outputs[:1] != [OUTPUT_NAME]:
        raise VerificationError(
            f"the file takes {inputs} and gives {outputs}, expected ['{INPUT_NAME}'] and ['{OUTPUT_NAME}']",
            hint="report this, with the preset and the config",
        )
    names = free.by_position()
    wanted = [names.get(position, size) for position, size in enumerate(shape.sizes())]
    logits = [wanted[0], num_classes]
    for value, expected in ((model.graph.input[0], wanted), (model.graph.output[0], logits)):
        found = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if found != expected:
            raise VerificationError(
                f"the axes of '{value.name}' came out as {found}, expected {expected}",
                hint="try the other exporter, or make the axis static",
            )


def _clean(model: ModelProto) -> None:
    model.doc_string = ""
    model.domain = ""
    del model.metadata_props[:]
    del model.functions[:]
    for graph in _graphs(model.graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            item.doc_string = ""
            del item.metadata_props[:]
    model.graph.name = "recogniser"


def _graphs(graph: GraphProto) -> Iterable[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)


def _check_self_contained(model: ModelProto) -> None:
    foreign = sorted({node.domain for graph in _graphs(model.graph) for node in graph.node} - _STANDARD_DOMAINS)
    if foreign:
        raise ExportError(
            f"the graph uses operators outside the standard domain: {', '.join(foreign)}",
            hint="try the other exporter; an artefact has to run in any runtime",
        )
    external = [t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if external:
        raise ExportError(f"{len(external)} weights are in a second file", hint="report this, with the preset")
    used = {node.domain for node in model.graph.node} | {""}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _check_no_local_path(content: bytes) -> None:
    for folder in {str(Path.cwd()), str(Path.home()), str(Path(__file__).resolve().parents[2])}:
        if len(folder) > len("/root") and folder.encode() in content:
            raise ExportError(
                f"the file would hold the local path {folder}", hint="report this, with the preset and the config"
            )
