"""Products on a GPU: arrays of torch, CuPy or JAX that are there, seen through DLPack and left where they are."""
from __future__ import annotations

import ctypes
from typing import Any, Optional

from ._call import check
from ._handle import Handle
from ._library import ffi, lib
from .errors import InvalidArgument
from .names import DTYPES

_CUDA = 2
_NAMES = {(0, 32): "i32", (0, 64): "i64", (1, 8): "u8", (2, 16): "f16", (2, 32): "f32", (4, 16): "bf16"}  # DLPack's code, bits


class _DLTensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("index", ctypes.c_int32), ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)), ("offset", ctypes.c_uint64)]


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _View:
    """A qz_tensor over an array on a GPU. The array's library waits for nothing: the product runs in the caller's stream."""

    def __init__(self, array: Any, what: str) -> None:
        if not hasattr(array, "__dlpack__") or array.__dlpack_device__()[0] != _CUDA:
            raise InvalidArgument(f"{what} is not an array on a GPU with __dlpack__")
        self._capsule = array.__dlpack__(stream=-1)  # keeps the memory
        t = _DLTensor.from_address(_pointer_of(self._capsule, b"dltensor"))
        name = _NAMES.get((t.code, t.bits)) if t.lanes == 1 else None
        if name is None or not 1 <= t.ndim <= 4:
            raise InvalidArgument(f"{what}: an element type or a number of dimensions that the library does not have")
        self.tensor = ffi.new("qz_tensor *")
        self.tensor.data = ffi.cast("void *", (t.data or 0) + t.offset)
        self.tensor.ndim, self.tensor.dtype = t.ndim, DTYPES[name]
        self.tensor.device.kind, self.tensor.device.index = t.kind, t.index
        step = 1
        for i in reversed(range(t.ndim)):
            self.tensor.shape[i] = t.shape[i]
            self.tensor.stride[i] = t.strides[i] if t.strides else step
            step *= t.shape[i]


class DevicePacked(Handle):
    """A quantized matrix in the memory of a GPU: `Packed.to_device`."""

    _kind = "qz_packed"

    def __init__(self, pointer: Any, shape: tuple[int, int]) -> None:
        super().__init__(pointer)
        self.shape = shape

    def workspace_bytes(self, x: Any, y: Any, bias: Any = None) -> int:
        """Bytes of scratch that multiply_into() needs for arrays of these shapes and types."""
        views, options = self._request(x, y, bias)
        out = ffi.new("uint64_t *")
        check(lib.qz_gemm_workspace(views[0].tensor, self._pointer, views[1].tensor, options, out))
        return out[0]

    def multiply_into(self, x: Any, y: Any, *, stream: int = 0, workspace: Any = None, bias: Any = None) -> None:
        """y = x w^T (+ bias), enqueued in a stream of the GPU (a cudaStream_t as a number; torch: current_stream().cuda_stream).

        x [m, cols] F16 or BF16, y [m, rows] of its type or F32, bias [rows] F32. workspace: an array of at least workspace_bytes()
        bytes, zeros before its first use, for products in one stream: nothing is allocated or waited for then, so that a captured
        graph takes it.
        """
        views, options = self._request(x, y, bias)
        options.stream = ffi.cast("void *", stream)
        if workspace is not None:
            scratch = _View(workspace, "workspace").tensor
            if scratch.dtype != DTYPES["u8"] or scratch.ndim != 1:
                raise InvalidArgument("workspace is not one row of bytes")
            options.workspace, options.workspace_bytes = scratch.data, scratch.shape[0]
        check(lib.qz_gemm_w4a16(views[0].tensor, self._pointer, views[1].tensor, options))

    def _request(self, x: Any, y: Any, bias: Optional[Any]) -> tuple[list[_View], Any]:
        views = [_View(x, "x"), _View(y, "y")]
        options = ffi.new("qz_gemm_options *", {"struct_size": ffi.sizeof("qz_gemm_options")})
        if bias is not None:
            views.append(_View(bias, "bias"))
            options.bias = views[2].tensor
        return views, options
