"""Reading body-model files of strangers: npz without pickle, and pickles that may build plain arrays and nothing else.

Licensed FLAME and SMPL files come as Python 2 pickles that hold numpy arrays, a scipy csc_matrix (the joint regressor)
and chumpy objects. Unpickling runs whatever the file names, so `find_class` here answers with stand-ins of this module
alone; neither numpy's own reconstruction nor chumpy ever sees the file's bytes.
"""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

MAX_BYTES = 4 << 30  # of arrays in one file; SMPL-X with 400 shape directions in float64 is .2 GB


class BodyModelError(ValueError):
    """A body-model file that cannot be used; the message names the file, what was found and what is wanted."""


def read(path: Path, names: Iterable[str]) -> dict[str, Any]:
    """The entries of `names` that the file holds: arrays, or plain values of a pickle. Others are not even decoded.

    Raises BodyModelError when the file is absent, is neither npz nor pickle, or asks for more than arrays.
    """
    try:
        head = path.open("rb").read(2)
    except OSError as e:
        raise BodyModelError(f"{path}: cannot be read ({e.strerror})") from e
    if head == b"PK":
        return _read_npz(path, set(names))
    if path.suffix == ".npz":
        raise BodyModelError(f"{path}: not an npz file (no zip signature); it may be truncated or a saved web page")
    return _read_pickle(path, set(names))


def _read_npz(path: Path, names: set[str]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as z:
            members = [m for m in z.infolist() if m.filename.removesuffix(".npy") in names]
            if sum(m.file_size for m in members) > MAX_BYTES:
                raise BodyModelError(f"{path}: unpacks to more than {MAX_BYTES >> 30} GiB; not a body model")
            found = {}
            for m in members:
                with z.open(m) as f:
                    found[m.filename.removesuffix(".npy")] = np.lib.format.read_array(f, allow_pickle=False)
            return found
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, MemoryError) as e:
        if isinstance(e, BodyModelError):
            raise
        raise BodyModelError(f"{path}: a broken npz file, or one whose model arrays are Python objects ({e})") from e


def _read_pickle(path: Path, names: set[str]) -> dict[str, Any]:
    try:
        tree = _Restricted(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except BodyModelError as e:
        raise BodyModelError(f"{path}: {e}") from e
    except Exception as e:  # a hostile or truncated stream can raise anything; nothing of it has run
        raise BodyModelError(f"{path}: not a body-model pickle ({type(e).__name__}: {e})") from e
    if not isinstance(tree, dict):
        raise BodyModelError(f"{path}: holds a {type(tree).__name__}, expected a dictionary of arrays")
    try:
        return {k: _plain(v) for k, v in tree.items() if k in names}
    except (BodyModelError, ValueError, TypeError) as e:
        raise BodyModelError(f"{path}: {e}") from e


# ---- stand-ins ----------------------------------------------------------------------------------------------------


class _Dtype:
    """numpy.dtype: numeric kinds alone."""

    def __init__(self, code: Any, *_: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(code, str) or not re.fullmatch(r"[<>|=]?[?biuf][0-9]{0,2}", code):
            raise BodyModelError(f"refuses an array of {code!r}: only numbers are read")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """numpy.ndarray, filled from raw bytes."""

    value: NDArray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype):
            raise BodyModelError("refuses an array without a numeric type")
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(raw, bytes):
            raise BodyModelError("refuses an array of Python objects")
        self.value = np.frombuffer(raw, dtype.dtype).reshape(shape, order="F" if fortran else "C")


class _Sparse:
    """scipy.sparse.csc_matrix."""

    def __setstate__(self, state: Any) -> None:
        part = {k.removeprefix("_"): _plain(v) for k, v in dict(state).items()}
        m = scipy.sparse.csc_matrix((part["data"], part["indices"], part["indptr"]), shape=part["shape"])
        m.check_format(full_check=True)
        self.value = m.toarray()


class _Chumpy:
    """chumpy.ch.Ch: its array `x`, without its differentiation."""

    def __setstate__(self, state: Any) -> None:
        self.value = _plain(dict(state)["x"])


def _scalar(dtype: _Dtype, raw: bytes | str) -> Any:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, dtype.dtype)[0]


def _reconstruct_array(*_: Any) -> _Array:
    return _Array()


def _from_buffer(raw: bytes, dtype: _Dtype, shape: Any, order: str) -> _Array:
    """Protocol 5 arrays."""
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(raw)))
    return array


def _reconstruct_object(cls: Any, *_: Any) -> Any:
    if cls not in (_Sparse, _Chumpy):
        raise BodyModelError(f"refuses to build {cls!r}")
    return cls.__new__(cls)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if not isinstance(text, str):
        raise BodyModelError("refuses to encode what is not text")
    return text.encode("latin1")


def _plain(value: Any) -> Any:
    if isinstance(value, (_Array, _Sparse, _Chumpy)):
        inner = getattr(value, "value", None)
        if inner is None:
            raise BodyModelError("holds an array without content")
        return inner
    return value


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("chumpy.ch", "Ch"): _Chumpy,
    ("__builtin__", "object"): object,
    ("builtins", "object"): object,
    ("copy_reg", "_reconstructor"): _reconstruct_object,
    ("copyreg", "_reconstructor"): _reconstruct_object,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    **{(f"scipy.sparse.{name}", "csc_matrix"): _Sparse for name in ("csc", "_csc")},
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise BodyModelError(f"refuses to load {module}.{name}: a body model holds arrays only") from None
