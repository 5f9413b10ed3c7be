"""A figure as the text of an SVG file."""

from __future__ import annotations

import io
from typing import Any


def svg_text(figure: Any) -> str:
    """The text of an SVG file with this matplotlib figure; the same figure gives the same text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)
    with matplotlib.rc_context({"svg.hashsalt": "stgcn-onnx", "svg.fonttype": "none"}):
        canvas.print_svg(stream, metadata={"Date": None})
    return stream.getvalue()
