"""Arrays in and out, without a copy where there need not be one."""
import numpy as np
import pytest

import qz
from qz.tensor import Tensor, as_tensor, c_tensor, from_c, token_array


class Foreign:
    """Somebody else's array: only DLPack is known of it."""

    def __init__(self, tensor, device=(1, 0)):
        self._tensor, self._device = tensor, device

    def __dlpack__(self, **kwargs):
        return self._tensor.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self._device


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "int32", "int16", "int8", "uint8"])
def test_dlpack_in_shares_memory(kind):
    array = np.arange(12).reshape(3, 4).astype(kind)
    tensor = as_tensor(Foreign(array))
    assert np.shares_memory(tensor.array, array)
    assert tensor.shape == (3, 4) and tensor.array.dtype == array.dtype


def test_dlpack_out_shares_memory():
    tensor = as_tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert np.shares_memory(np.from_dlpack(tensor), tensor.array)


def test_dlpack_in_and_out_again_shares_memory():
    array = np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2]
    back = np.from_dlpack(as_tensor(Foreign(array)))
    assert np.shares_memory(back, array) and back.tolist() == array.tolist()


def test_bfloat16_through_dlpack_keeps_type_and_bits():
    bits = np.array([[0x3F80, 0xC000], [0x0001, 0x7F7F]], np.uint16)  # 1, -2, the smallest subnormal, the largest
    tensor = as_tensor(Foreign(Tensor(bits, "bf16")))
    assert tensor.dtype == "bf16" and np.shares_memory(tensor.array, bits)
    assert tensor.numpy().tolist() == [[1.0, -2.0], [2.0**-133, float.fromhex("0x1.fep127")]]
    with pytest.raises((RuntimeError, BufferError, TypeError)):  # the capsule says bfloat16, which NumPy does not have
        np.from_dlpack(tensor)


def test_torch_both_ways():
    torch = pytest.importorskip("torch")
    weight = torch.randn(4, 8).to(torch.bfloat16)
    tensor = as_tensor(weight)
    assert tensor.dtype == "bf16"
    back = torch.from_dlpack(tensor)
    assert back.dtype == torch.bfloat16 and torch.equal(back, weight) and back.data_ptr() == weight.data_ptr()


def test_another_device_is_refused():
    with pytest.raises(qz.InvalidArgument, match="move it to the CPU"):
        as_tensor(Foreign(np.zeros(3), device=(2, 0)))


def test_what_has_no_type_here_is_refused():
    with pytest.raises(qz.InvalidArgument, match="complex64"):
        as_tensor(np.zeros(3, np.complex64))
    with pytest.raises(qz.InvalidArgument, match="1 to 4 dimensions"):
        as_tensor(np.zeros((1, 1, 1, 1, 1), np.float32))


@pytest.mark.parametrize("view", [np.s_[:], np.s_[:, ::2], np.s_[::-1], np.s_[1:, 1:]])
def test_strides_survive_the_c_struct(view):
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[view]
    struct = c_tensor(Tensor(array))
    assert list(struct.shape)[:2] == list(array.shape)
    assert [s * 4 for s in list(struct.stride)[:2]] == list(array.strides)
    if min(array.strides) > 0:
        assert np.array_equal(from_c(struct).array, array)


def test_transposed_views_come_back_whole():
    array = np.arange(24, dtype=np.int32).reshape(4, 6).T
    assert np.array_equal(from_c(c_tensor(Tensor(array))).array, array)


@pytest.mark.parametrize("bad", [[-1], [2**31], [0.5], [[1, 2]], ["a"]])
def test_token_ids_are_whole_numbers_in_range(bad):
    with pytest.raises(qz.InvalidArgument):
        token_array(bad)


def test_token_ids_of_any_whole_type():
    for kind in (np.uint16, np.int64, np.uint64):
        assert token_array(np.array([1, 2, 3], kind)[::2]).tolist() == [1, 3]
