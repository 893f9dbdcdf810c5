"""torch's sides: its int4 product, and oneDNN's dense products of bfloat16 and int8 through it."""
import itertools

import torch

from race import Side


class _Torch(Side):
    """Copies of what _weight() makes take turns in _product(x, weight)."""

    def __init__(self, name, weight, copies, clone):
        self.name = name
        self._weights = [weight] + [clone(weight) for _ in range(copies - 1)]
        self._turn = itertools.cycle(self._weights)

    def prepare(self, x):
        self._x = self._input(torch.from_numpy(x))

    def _input(self, x):
        return x.to(torch.bfloat16)

    def result(self):
        return self._product(self._x, self._weights[0]).float().numpy()

    def run(self, times):
        for weight in itertools.islice(self._turn, times):
            self._product(self._x, weight)
        return times


class Int4(_Torch):
    """_weight_int4pack_mm_for_cpu, groups of 128."""

    GROUP = 128

    def __init__(self, w, copies):
        w = torch.from_numpy(w)
        rows, cols = w.shape
        groups = w.reshape(rows, cols // self.GROUP, self.GROUP)
        scale = (groups.amax(2) - groups.amin(2)) / 15
        zero = groups.amin(2) + 8 * scale
        codes = torch.clamp(torch.round((groups - groups.amin(2, keepdim=True)) / scale[..., None]), 0, 15).to(torch.int32)
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.reshape(rows, cols), 1)
        scales = torch.stack([scale.t(), zero.t()], 2).to(torch.bfloat16).contiguous()
        super().__init__("torch int4", (packed, scales), copies, lambda pair: (pair[0].clone(), pair[1].clone()))

    def _product(self, x, weight):
        return torch.ops.aten._weight_int4pack_mm_for_cpu(x, weight[0], self.GROUP, weight[1])


class Bf16(_Torch):
    """oneDNN's dense product as torch.mm calls it, into memory that is there."""

    def __init__(self, w, copies):
        super().__init__("oneDNN bf16", torch.from_numpy(w).to(torch.bfloat16), copies, torch.clone)
        self._rows = w.shape[0]

    def prepare(self, x):
        super().prepare(x)
        self._y = torch.zeros(x.shape[0], self._rows, dtype=torch.bfloat16)

    def _product(self, x, weight):
        return torch.mm(x, weight.t(), out=self._y)


class Bf16Packed(_Torch):
    """The same with the weight in the order that oneDNN likes best."""

    def __init__(self, w, copies, rows_of_x):
        weight = torch.from_numpy(w).to(torch.bfloat16)
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows_of_x)
        super().__init__("oneDNN bf16", packed, copies, lambda one: torch.ops.mkldnn._reorder_linear_weight(weight, rows_of_x))

    def _product(self, x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


class Int8Mm(_Torch):
    """torch._int_mm: int8 by int8 to int32, nothing rounded or scaled."""

    def __init__(self, w, copies):
        self._scale = abs(w).max() / 127
        super().__init__("oneDNN int8", torch.from_numpy(w / self._scale).round().to(torch.int8), copies, torch.clone)
        self._rows = w.shape[0]

    def _input(self, x):
        self._x_scale = x.abs().max() / 127
        self._y = torch.zeros(x.shape[0], self._rows, dtype=torch.int32)
        return (x / self._x_scale).round().to(torch.int8)

    def result(self):
        return super().result() * float(self._scale) * float(self._x_scale)

    def _product(self, x, weight):
        return torch._int_mm(x, weight.t(), out=self._y)


class Int8Linear(_Torch):
    """oneDNN's linear layer of uint8 by int8 with a scale a row of the weight, to bfloat16; x is rounded before."""

    def __init__(self, w, copies, rows_of_x):
        w = torch.from_numpy(w)
        self._scales = w.abs().amax(1) / 127
        self._zeros = torch.zeros(w.shape[0], dtype=torch.int64)
        codes = (w / self._scales[:, None]).round().to(torch.int8)
        pack = lambda _: torch.ops.onednn.qlinear_prepack(codes, [rows_of_x, w.shape[1]])
        super().__init__("oneDNN int8", pack(None), copies, pack)

    def _input(self, x):
        self._x_scale = float(x.abs().max() / 127)
        return ((x / self._x_scale).round() + 128).clamp(0, 255).to(torch.uint8)

    def _product(self, x, weight):
        return torch.ops.onednn.qlinear_pointwise(x, self._x_scale, 128, weight, self._scales, self._zeros, None, 1.0, 0, torch.bfloat16,
                                                  "none", [], "")


class Inner(Side):
    """x^T x, the whole square."""

    def __init__(self, x, dtype):
        self.name = "torch f32" if dtype == torch.float32 else "torch bf16"
        self._x = torch.from_numpy(x).to(dtype)
        self._h = torch.zeros(x.shape[1], x.shape[1], dtype=dtype)

    def result(self):
        self.run(1)
        return self._h.float().numpy()

    def run(self, times):
        for _ in range(times):
            torch.mm(self._x.t(), self._x, out=self._h)
        return times
