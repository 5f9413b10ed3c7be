"""Half on a CPU: rounded after every node, which the file itself is not."""

from __future__ import annotations

import numpy as np
from graphs import clips, graph, run
from onnx import TensorProto

from stgcn_onnx.half import to_half
from stgcn_onnx.half_emulation import rounding_session, with_rounding


def test_every_value_is_rounded_as_numpy_rounds_it() -> None:
    model = graph("a = Mul(input, k)\n b = Add(a, t)\n output = Mul(b, b)", k=1.1, t=7.3)
    lowered = to_half(model, clips(), exclude=(), on_progress=lambda *_: None).proto
    session = rounding_session(lowered)
    for clip in clips():
        x = clip.astype(np.float16) * np.float16(1.1)
        x = x + np.float16(7.3)
        np.testing.assert_array_equal(session.run(clip), (x * x).astype(np.float32))
        assert not np.array_equal(run(lowered, clip), session.run(clip)), "then the emulation would not be needed"


def test_what_is_float32_is_not_rounded() -> None:
    model = graph("a = Mul(input, k)\n output = Add(a, t)", k=1.1, t=7.3)
    lowered = to_half(model, clips(), exclude=("/a", "/output"), on_progress=lambda *_: None).proto
    for clip in clips():
        np.testing.assert_array_equal(rounding_session(lowered).run(clip), run(model, clip))


def test_weights_become_float32_again() -> None:
    lowered = to_half(graph("output = Mul(input, k)", k=1.1), clips(), exclude=(), on_progress=lambda *_: None).proto
    (weight,) = with_rounding(lowered).graph.initializer
    assert weight.data_type == TensorProto.FLOAT
    assert lowered.graph.initializer[0].data_type == TensorProto.FLOAT16, "the given model is not changed"
