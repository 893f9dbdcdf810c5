"""Arrays in and out: NumPy and DLPack on one side, qz_tensor on the other. bfloat16, which NumPy lacks, included."""
from __future__ import annotations

import ctypes
from typing import Any, Optional

from ._library import ffi
from ._numpy import np
from .errors import InvalidArgument
from .names import DTYPES, number, word

_NUMPY = {"f32": "float32", "f16": "float16", "bf16": "uint16", "i64": "int64", "i32": "int32", "i16": "int16", "i8": "int8", "u8": "uint8",
          "bool": "bool"}

# Where DLManagedTensor.dl_tensor.dtype.code lies: void *data, DLDevice (two int32), int32 ndim, then the code (dlpack.h).
_CODE_OFFSET, _CODE_UINT, _CODE_BFLOAT = 20, 1, 4
_CPU = (1, 0)
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _type_code(capsule: Any) -> ctypes.c_uint8:
    return ctypes.c_uint8.from_address(_capsule_pointer(capsule, b"dltensor") + _CODE_OFFSET)


class _Capsule:
    """A DLPack capsule that is already made, for np.from_dlpack()."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


class _Writable:
    """The same memory as NumPy may hand it on: it takes what comes in a capsule without a version for read-only, and exports no such
    array."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


class Tensor:
    """An array with one of the library's element types. Exchanged without a copy: `torch.from_dlpack(t)`, `np.asarray(t)`.

    array: NumPy storage, any strides; bfloat16 is stored as its bits in uint16.
    dtype: "f32" "f16" "bf16" "i64" "i32" "i16" "i8" "u8" "bool".
    """

    def __init__(self, array: np.ndarray, dtype: Optional[str] = None) -> None:
        self.dtype = dtype or next((name for name, kind in _NUMPY.items() if name != "bf16" and array.dtype == kind), "")
        number(DTYPES, self.dtype, f"element type {array.dtype}: dtype")
        if array.dtype != _NUMPY[self.dtype]:
            raise InvalidArgument(f"{self.dtype} is stored as {_NUMPY[self.dtype]}, not as {array.dtype}")
        if not 1 <= array.ndim <= 4:
            raise InvalidArgument(f"a tensor has 1 to 4 dimensions, not {array.ndim}")
        self.array = array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def numpy(self) -> np.ndarray:
        """The values as NumPy has them: the storage itself, or, of bfloat16, a float32 copy (exact)."""
        if self.dtype != "bf16":
            return self.array
        return (self.array.astype(np.uint32) << 16).view(np.float32)

    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> np.ndarray:
        values = self.numpy()
        if copy and values is self.array:
            values = values.copy()
        return values if dtype is None else values.astype(dtype, copy=False)

    def __dlpack__(self, **_: Any) -> Any:
        capsule = self.array.__dlpack__()
        if self.dtype == "bf16":
            _type_code(capsule).value = _CODE_BFLOAT  # NumPy wrote "uint"
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU

    def __repr__(self) -> str:
        return f"qz.Tensor(shape={list(self.shape)}, dtype={self.dtype})"


def as_tensor(values: Any, dtype: Optional[str] = None) -> Tensor:
    """A Tensor over values without a copy where possible: Tensor, NumPy array, anything with __dlpack__ on the CPU (torch, JAX,
    CuPy's host arrays), or nested lists. dtype: only to say that uint16 holds "bf16". InvalidArgument says what does not fit.

    >>> ones = np.ones((2, 3), np.float32)
    >>> tensor = qz.as_tensor(ones)
    >>> tensor
    qz.Tensor(shape=[2, 3], dtype=f32)
    >>> tensor.array is ones, np.shares_memory(np.from_dlpack(tensor), ones)
    (True, True)
    """
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ndarray):
        if values.dtype.name == "bfloat16":  # the ml_dtypes package
            return Tensor(values.view(np.uint16), "bf16")
        return Tensor(values, dtype)
    if not hasattr(values, "__dlpack__"):
        return Tensor(np.asarray(values), dtype)
    if tuple(values.__dlpack_device__()) != _CPU:
        raise InvalidArgument(f"the array is on DLPack device {tuple(values.__dlpack_device__())}: move it to the CPU first")
    capsule = values.__dlpack__()
    code = _type_code(capsule)
    if code.value == _CODE_BFLOAT:
        code.value, dtype = _CODE_UINT, "bf16"  # the capsule is ours alone until NumPy takes it
    array = np.from_dlpack(_Capsule(capsule))
    return Tensor(array if array.flags.writeable else np.asarray(_Writable(array)), dtype)


def c_tensor(tensor: Tensor) -> Any:
    """A `qz_tensor *` that borrows tensor's memory: keep `tensor` alive as long as it is used."""
    view, array = ffi.new("qz_tensor *"), tensor.array
    if any(stride % array.itemsize for stride in array.strides):
        raise InvalidArgument(f"strides of {array.strides} bytes are not whole elements of {array.itemsize} bytes")
    view.data = ffi.cast("void *", array.ctypes.data)
    view.ndim, view.dtype = array.ndim, DTYPES[tensor.dtype]
    view.device.kind, view.device.index = _CPU
    for i in range(array.ndim):
        view.shape[i], view.stride[i] = array.shape[i], array.strides[i] // array.itemsize
    return view


def from_c(view: Any) -> Tensor:
    """A Tensor with a copy of what a qz_tensor on the CPU shows, C-contiguous."""
    dtype = word(DTYPES, view.dtype)
    kind = np.dtype(_NUMPY[dtype])
    shape = [view.shape[i] for i in range(view.ndim)]
    strides = [view.stride[i] * kind.itemsize for i in range(view.ndim)]
    if 0 in shape:
        return Tensor(np.empty(shape, kind), dtype)
    span = sum((n - 1) * s for n, s in zip(shape, strides)) + kind.itemsize
    memory = np.frombuffer(ffi.buffer(ffi.cast("char *", view.data), span), np.uint8)
    array = np.lib.stride_tricks.as_strided(memory.view(kind) if span % kind.itemsize == 0 else memory[:0], shape, strides)
    return Tensor(np.ascontiguousarray(array).copy(), dtype)


def token_array(ids: Any) -> np.ndarray:
    """Token ids as a contiguous 1-D int32 array. InvalidArgument if they are not whole numbers or do not fit."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise InvalidArgument(f"token ids are one sequence, not {array.ndim} dimensions")
    if array.size and array.dtype.kind not in "iu":
        raise InvalidArgument(f"token ids are whole numbers, not {array.dtype}")
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int32).max):
        raise InvalidArgument(f"token ids from {array.min()} to {array.max()} are not all between 0 and {np.iinfo(np.int32).max}")
    return np.ascontiguousarray(array, dtype=np.int32)


def c_tokens(array: np.ndarray) -> Any:
    """A `const int32_t *` that borrows the memory of token_array()'s result."""
    return ffi.cast("const int32_t *", array.ctypes.data)
