"""Arrays on a GPU as DLPack shows them, without one: what is handed on, and what is refused in words."""
import ctypes

import numpy as np
import pytest
from sample import SAMPLE

import qz
from qz.device import _DLTensor, _View


class Shown:
    """An array that says that it is on GPU 3."""

    def __init__(self, array, kind=2):
        self.array, self.kind, self.stream = array, kind, None

    def __dlpack__(self, stream=None):
        self.stream = stream
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        t = _DLTensor.from_address(pointer(capsule, b"dltensor"))
        t.kind, t.index = self.kind, 3
        return capsule

    def __dlpack_device__(self):
        return (self.kind, 3)


def test_a_view_is_the_array():
    array = np.arange(60, dtype=np.float16).reshape(6, 10)[1:4, :8]
    shown = Shown(array)
    tensor = _View(shown, "x").tensor
    assert shown.stream == -1, "the array's library is not asked to wait"
    assert (tensor.ndim, list(tensor.shape)[:2], list(tensor.stride)[:2]) == (2, [3, 8], [10, 1])
    assert (tensor.device.kind, tensor.device.index) == (2, 3)
    assert int(qz._library.ffi.cast("uintptr_t", tensor.data)) == array.ctypes.data


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.complex64), np.zeros((1, 1, 1, 1, 1), np.float32)])
def test_what_is_not_an_element_type_is_refused(array):
    with pytest.raises(qz.InvalidArgument, match="x: an element type"):
        _View(Shown(array), "x")


def test_an_array_of_the_host_is_refused():
    with pytest.raises(qz.InvalidArgument, match="y is not an array on a GPU"):
        _View(np.zeros((2, 2), np.float16), "y")


def test_without_a_gpu_to_device_says_why():
    packed = qz.Packed.quantize(np.eye(64, dtype=np.float32), qz.Scheme(4, 32, scale="f16"))
    try:
        packed.to_device(0)
    except qz.Error as problem:
        assert len(str(problem).split()) > 3


def test_a_run_on_a_gpu_that_no_backend_has_is_refused(model, calibration):
    with pytest.raises(qz.Unsupported, match=r"no backend computes on device \(2, 99\)"):
        qz.Plan(model).run(calibration, gpu=99)


def test_a_gpu_that_is_not_there_is_refused_before_any_work(cli, tmp_path):
    status, out, err = cli("quantize", SAMPLE, tmp_path / "out", "--gpu", "99")
    assert status == 4 and out == "" and "--gpu 99" in err and "sample" not in err
    assert not (tmp_path / "out").exists()
