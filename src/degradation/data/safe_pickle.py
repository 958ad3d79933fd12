"""Read a pickle that nobody vouches for: plain values and numpy arrays, and no code at all."""

import io
import pickle
from typing import Any

import numpy as np


class _Named:
    """Stands for whatever the pickle names: keeps what it is given and does nothing with it."""

    def __init__(self, *arguments):
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state


class _DType(_Named):
    pass


class _Array(_Named):
    pass


class _Buffer(_Named):
    pass


class _Scalar(_Named):
    pass


class _Bytes(_Named):
    pass


_KNOWN = {
    ("numpy", "ndarray"): _Named,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Bytes,  # how Python 3 writes bytes in protocol 2
}
for _core in ("numpy.core", "numpy._core"):  # before and since numpy 2
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _Array
    _KNOWN[f"{_core}.multiarray", "scalar"] = _Scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _Buffer  # protocol 5


# The unpickler written in Python, for in the one written in C a flipped bit in a memo index
# allocates gigabytes. And no numpy class is named: their `__setstate__` trusts what it is given.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module, name):
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {f'{module}.{name}'[:80]!r}, not an array")
        return _KNOWN[module, name]


def read_pickle(raw: bytes) -> dict[str, Any]:
    """Return the dictionary that a pickle holds, its keys as text, its arrays as numpy arrays.

    Reads what Python 2 (whose strings come as bytes) and 3 write, in every protocol. Raises
    ValueError with the reason where the pickle is damaged, holds no dictionary, or names anything
    but the pieces of a numpy array of integers; nothing that it names is ever called.
    """
    try:
        content = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError("it holds no dictionary")
        return {_text(key): _value(value) for key, value in content.items()}
    except pickle.UnpicklingError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # damage can make unpickling fail in any way that Python knows
        raise ValueError(f"it is truncated or damaged ({type(error).__name__})") from error


def _text(item: Any) -> str:
    item = _value(item)
    return item.decode("latin-1") if isinstance(item, bytes) else str(item)


def _value(item: Any) -> Any:
    """Replace the placeholders in a value by what they stand for."""
    match item:
        case _Array():
            _, shape, dtype, is_fortran, data = item.state
            return _array(data, dtype, shape, "F" if is_fortran else "C")
        case _Buffer():
            data, dtype, shape, order = item.arguments
            return _array(data, dtype, shape, _text(order))
        case _Scalar():
            dtype, data = item.arguments
            return _array(data, dtype, (), "C")[()]
        case _Bytes():
            text, _ = item.arguments  # the second is always "latin1"
            return text.encode("latin-1")
        case _Named():
            raise pickle.UnpicklingError("it holds a bare numpy class")
        case list() | tuple():
            return type(item)(_value(entry) for entry in item)
    return item


def _array(data: Any, dtype: _DType, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Build an array of integers from its bytes; numpy sees to it that they are enough."""
    kind = np.dtype(_text(dtype.arguments[0]).lstrip("|<>="))
    if kind.kind not in "ui":
        raise pickle.UnpicklingError(f"it holds an array of type {kind}")
    return np.frombuffer(_value(data), kind.newbyteorder(_text(dtype.state[1]))).reshape(
        shape, order=order
    )
