"""Packed: one quantized matrix. Made from weights, taken from a format's tensors, given back as tensors, dequantized,
multiplied."""
from __future__ import annotations

from typing import Any, Mapping, Optional

from . import names
from ._call import c_string, check, string
from ._handle import Handle
from ._library import ffi, lib
from ._numpy import np
from .context import Context, default_context
from .device import DevicePacked
from .errors import InvalidArgument
from .plan import GptqOptions, Rule
from .scheme import Scheme, SchemeLike, as_scheme
from .tensor import Tensor, as_tensor, c_tensor, from_c

_MOST_PARTS = 16  # of one module in one format; no format has more than six


class Packed(Handle):
    """A quantized matrix of shape (rows, cols) = (output features, input features).

    >>> weight = np.sin(np.arange(64 * 128, dtype=np.float32)).reshape(64, 128)
    >>> packed = qz.Packed.quantize(weight, qz.Scheme(4, 32, scale="f16"))
    >>> sorted((name, part.shape) for name, part in packed.export("gptq").items())
    [('g_idx', (128,)), ('qweight', (16, 64)), ('qzeros', (4, 8)), ('scales', (4, 64))]
    >>> bool(np.abs(packed.dequantize() - weight).max() < 0.1)
    True
    """

    _kind = "qz_packed"

    def __init__(self, pointer: Any, shape: tuple[int, int]) -> None:
        super().__init__(pointer)
        self.shape = shape

    @classmethod
    def quantize(cls, weight: Any, scheme: Optional[SchemeLike] = None, method: str = "rtn", *, hessian: Any = None,
                 gptq: Optional[GptqOptions] = None, context: Optional[Context] = None) -> Packed:
        """Quantizes a weight [rows, cols] of F32, F16 or BF16: NumPy, torch, anything with DLPack on the CPU.

        hessian: float32 [cols, cols], X^T X of the inputs, for "gptq". NumericError if weight or hessian are not finite.
        """
        weight = as_tensor(weight)
        if len(weight.shape) != 2:
            raise InvalidArgument(f"a weight is [rows, cols], not {list(weight.shape)}")
        hessian = None if hessian is None else as_tensor(hessian)
        out = ffi.new("qz_packed **")
        check(lib.qz_packed_quantize((context or default_context())._pointer, c_tensor(weight), Rule(method, scheme, gptq)._struct(),
                                     ffi.NULL if hessian is None else c_tensor(hessian), out))
        return cls(out[0], weight.shape)

    @classmethod
    def from_parts(cls, format: str, scheme: SchemeLike, rows: int, cols: int, parts: Mapping[str, Any],
                   context: Optional[Context] = None) -> Packed:
        """From the tensors of one module as a format stores them, {"qweight": ..., "scales": ...}; they are copied. BadFile or
        InvalidArgument if sizes, types or values do not belong together."""
        tensors = {name: as_tensor(values) for name, values in parts.items()}
        keys = [c_string(name) for name in tensors]
        array = ffi.new("qz_part[]", len(tensors))
        for part, key, tensor in zip(array, keys, tensors.values()):
            part.name, part.tensor = key, c_tensor(tensor)[0]
        out = ffi.new("qz_packed **")
        check(lib.qz_packed_import((context or default_context())._pointer, names.number(names.FORMATS, format, "format"),
                                   (as_scheme(scheme) or Scheme())._struct(), rows, cols, array, len(tensors), out))
        return cls(out[0], (rows, cols))

    def export(self, format: str) -> dict[str, Tensor]:
        """The tensors that a format stores for this matrix, by their local names; copies. Unsupported if it cannot hold it."""
        parts, count = ffi.new("qz_part[]", _MOST_PARTS), ffi.new("size_t *", _MOST_PARTS)
        check(lib.qz_packed_export(self._pointer, names.number(names.FORMATS, format, "format"), parts, count))
        return {string(parts[i].name): from_c(parts[i].tensor) for i in range(count[0])}

    def dequantize(self) -> np.ndarray:
        """float32 [rows, cols]."""
        out = Tensor(np.empty(self.shape, np.float32))
        check(lib.qz_packed_dequantize(self._pointer, c_tensor(out)))
        return out.array

    def to_device(self, index: int = 0, *, context: Optional[Context] = None) -> DevicePacked:
        """A copy in the memory of GPU `index`, laid out for it. DeviceError or Unsupported say why not: no plug-in, no driver, a scheme
        that it does not take."""
        device = ffi.new("qz_device *", {"kind": 2, "index": index})  # DLPack: CUDA
        out = ffi.new("qz_packed **")
        check(lib.qz_packed_to_device((context or default_context())._pointer, self._pointer, device[0], out))
        return DevicePacked(out[0], self.shape)

    def multiply(self, x: Any, *, product: str = "w4a16", bias: Any = None, allow_int8_activations: bool = False) -> Tensor:
        """x w^T (+ bias) from the codes as they are: x [m, cols] of F32, F16 or BF16, the result [m, rows] of the same type.

        product: "w4a16" for codes of up to 4 bits, "w8a16" for wider ones, "w8a8" for schemes that round their inputs to 8 bits;
        Unsupported says which of them a matrix needs. allow_int8_activations: let "w4a16" and "w8a16" round x to 8 bits.

        >>> packed = qz.Packed.quantize(np.eye(64, dtype=np.float32), qz.Scheme(4, 32))
        >>> packed.multiply(np.ones((2, 64), np.float32)).shape
        (2, 64)
        """
        tensor = as_tensor(x)
        if len(tensor.shape) != 2:
            raise InvalidArgument(f"x is [m, cols], not {list(tensor.shape)}")
        functions = {"w4a16": lib.qz_gemm_w4a16, "w8a16": lib.qz_gemm_w8a16, "w8a8": lib.qz_gemm_w8a8}
        if product not in functions:
            raise InvalidArgument(f"product: {product!r}, expected one of {', '.join(functions)}")
        out = Tensor(np.empty((tensor.shape[0], self.shape[0]), tensor.array.dtype), tensor.dtype)
        c_bias = ffi.NULL if bias is None else c_tensor(as_tensor(bias))
        options = ffi.new("qz_gemm_options *", {"struct_size": ffi.sizeof("qz_gemm_options"), "bias": c_bias,
                                                "allow_int8_activations": int(allow_int8_activations)})
        check(functions[product](c_tensor(tensor), self._pointer, c_tensor(out), options))
        return out
