"""libqz's sides: the C functions of its Python package, called with pointers that are ready."""
import itertools

import numpy as np

from qz import Packed, Tensor
from qz._call import check, struct
from qz._library import lib
from qz.tensor import c_tensor

from floors import native
from race import Side


def to_bf16(x):
    """float32 to the bits of bfloat16, rounded to nearest even."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class Product(Side):
    """qz_gemm_w4a16 or qz_gemm_w8a8, x and y bfloat16, copies of the weight taking turns."""

    def __init__(self, function, scheme, w, copies, context):
        self.name = f"libqz {scheme}"
        self._call = getattr(lib, function)
        self._packed = [Packed.quantize(to_tensor(w), scheme, context=context) for _ in range(copies)]
        self._turn = itertools.cycle(p._pointer for p in self._packed)
        self._options = struct("qz_gemm_options")

    def prepare(self, x):
        self._x, self._y = Tensor(to_bf16(x), "bf16"), Tensor(np.zeros((x.shape[0], self._packed[0].shape[0]), np.uint16), "bf16")
        self._c = c_tensor(self._x), c_tensor(self._y)
        self.run(len(self._packed))  # the first product with each lays its weights out

    def result(self):
        self.run(1)
        return self._y.numpy()

    def run(self, times):
        x, y = self._c
        for pointer in itertools.islice(self._turn, times):
            check(self._call(x, pointer, y, self._options))
        return times


def to_tensor(w):
    return Tensor(to_bf16(w), "bf16")


class Inner(Side):
    """X^T X as the Hessian is made, one triangle."""

    name = "libqz"

    def __init__(self, x, threads):
        self._x, self._h, self._threads = x, np.zeros((x.shape[1], x.shape[1]), np.float32), threads

    def result(self):
        self._h[:] = 0
        self.run(1)
        lower = np.tril(self._h)
        return lower + np.tril(lower, -1).T

    def run(self, times):
        for _ in range(times):
            if native.bench_xtx(self._threads, self._x.ctypes.data, *self._x.shape, self._h.ctypes.data) != 0:
                raise RuntimeError("X^T X failed")
        return times
