"""The names that NumPy's arrays, scalars and dtypes pickle as: all that an unpickler of ours admits besides containers.

NumPy moved them from `numpy.core` to `numpy._core` in version 2; files of both kinds are about. The functions are asked
of NumPy itself, so that no private module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_array = np.zeros(1)
_FUNCTIONS: Mapping[str, Any] = {
    "multiarray._reconstruct": _array.__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": _array.__reduce_ex__(5)[0],
}
ADMITTED: Mapping[str, Callable[..., Any]] = {
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    **{f"numpy.{core}.{name}": function for core in ("core", "_core") for name, function in _FUNCTIONS.items()},
}
"""What may be named in a pickle, by its full name."""

DTYPE_CLASSES: tuple[type, ...] = tuple(
    sorted({type(np.dtype(code)) for code in np.typecodes["AllInteger"] + "?efd"}, key=lambda kind: kind.__name__)
)
"""The classes of numeric dtypes, which `torch.load` wants to be told one by one."""
