"""How large the values inside a graph get."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import clips, graph

from stgcn_onnx.errors import ExportError
from stgcn_onnx.value_ranges import float_values, largest_magnitudes


def test_values_weights_and_input_over_all_clips() -> None:
    model = graph("a = Mul(input, k)\n output = Add(a, t)", k=-3.0, t=[100.0, -200.0])
    inputs = clips(3)
    done: list[tuple[int, int]] = []
    found = largest_magnitudes(model, inputs, on_clip=lambda *step: done.append(step))
    assert done == [(1, 3), (2, 3), (3, 3)]
    largest = max(float(np.abs(clip).max()) for clip in inputs)
    outputs = [np.float32(-3) * clip + np.array([100, -200], np.float32) for clip in inputs]
    assert found["input"] == pytest.approx(largest)
    assert found["a"] == pytest.approx(3 * largest, rel=1e-6)
    assert found["output"] == pytest.approx(max(float(np.abs(value).max()) for value in outputs), rel=1e-6)
    assert (found["k"], found["t"]) == (3.0, 200.0)


def test_only_floats_have_a_magnitude() -> None:
    model = graph("s = Shape(input)\n z = ConstantOfShape<value = float[1] {1.0}>(s)\n output = Add(z, input)")
    assert float_values(model) == ["z", "output"]
    assert set(largest_magnitudes(model, clips(1), on_clip=lambda *_: None)) == {"input", "z", "output"}


def test_a_value_of_unknown_type_is_an_error_and_no_guess() -> None:
    model = graph("s = Shape(input)\n z = ConstantOfShape<value = float {1.0}>(s)\n output = Add(z, input)")
    with pytest.raises(ExportError, match="cannot tell the type of 'z'"):
        float_values(model)
