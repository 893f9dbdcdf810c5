"""One matrix: quantized, exported, decoded by NumPy, imported again."""
import numpy as np
import pytest

import qz

ROWS, COLS, GROUP = 32, 256, 128


@pytest.fixture
def weight():
    return np.random.default_rng(7).normal(size=(ROWS, COLS)).astype(np.float32)


def unpack(words, bits, axis):
    """int32 words -> codes, the low bits first, along axis."""
    per_word = 32 // bits
    shifts = np.arange(per_word, dtype=np.uint32) * bits
    words = np.moveaxis(words.view(np.uint32), axis, -1)
    codes = (words[..., None] >> shifts) & ((1 << bits) - 1)
    return np.moveaxis(codes.reshape(*words.shape[:-1], -1), -1, axis).astype(np.int64)


@pytest.mark.parametrize("bits, low, high", [(3, 0.02, 0.08), (4, 0.004, 0.02), (8, 1e-5, 1e-4)])
def test_rounding_error_is_that_of_the_bits(weight, bits, low, high):
    """For normal weights in groups of 128 the grid spans about +-2.7 sigma: error step^2 / 12."""
    decoded = qz.Packed.quantize(weight, qz.Scheme(bits, GROUP)).dequantize()
    assert low < np.sum((decoded - weight)**2) / np.sum(weight**2) < high


def test_compressed_tensors_decoded_by_numpy(weight):
    """pack-quantized: codes + 8 in nibbles along the columns, one scale a group."""
    packed = qz.Packed.quantize(weight, "w4g128")
    parts = packed.export("compressed-tensors")
    codes = unpack(parts["weight_packed"].array, 4, axis=1)
    scales = np.repeat(parts["weight_scale"].numpy().astype(np.float32), GROUP, axis=1)
    assert codes.shape == (ROWS, COLS)
    assert np.array_equal((codes - 8).astype(np.float32) * scales, packed.dequantize())


@pytest.mark.parametrize("format, stored_offset", [("gptq", 1), ("gptq_v2", 0)])
@pytest.mark.parametrize("asymmetric", [False, True])
def test_gptq_decoded_by_numpy(weight, format, stored_offset, asymmetric):
    """qweight: codes along the columns; qzeros: zero points, minus one in version 1; scales float16."""
    packed = qz.Packed.quantize(weight, qz.Scheme(4, GROUP, asymmetric, scale="f16"))
    parts = packed.export(format)
    codes = unpack(parts["qweight"].array, 4, axis=0).T
    zeros = np.repeat((unpack(parts["qzeros"].array, 4, axis=1).T + stored_offset) & 15, GROUP, axis=1)
    scales = np.repeat(parts["scales"].array.T.astype(np.float32), GROUP, axis=1)
    assert np.array_equal((codes - zeros).astype(np.float32) * scales, packed.dequantize())


@pytest.mark.parametrize("format", ["compressed-tensors", "gptq", "gptq_v2"])
def test_import_is_the_inverse_of_export(weight, format):
    scheme = qz.Scheme(4, GROUP, scale="f16")
    packed = qz.Packed.quantize(weight, scheme)
    again = qz.Packed.from_parts(format, scheme, ROWS, COLS, packed.export(format))
    assert np.array_equal(again.dequantize(), packed.dequantize())


def test_gptq_beats_rounding_where_it_counts(weight):
    rng = np.random.default_rng(8)
    x = (rng.normal(size=(1024, 32)) @ rng.normal(size=(32, COLS)) + 0.3 * rng.normal(size=(1024, COLS))).astype(np.float32)

    def error(packed):
        return np.sum((x @ (packed.dequantize() - weight).T)**2)

    rounded = qz.Packed.quantize(weight, "w4g128")
    solved = qz.Packed.quantize(weight, "w4g128", "gptq", hessian=x.T @ x)
    assert error(solved) < 0.6 * error(rounded)


def test_input_types_and_strides(weight):
    expected = qz.Packed.quantize(weight.astype(np.float16).astype(np.float32), "w4g128").dequantize()
    assert np.array_equal(qz.Packed.quantize(weight.astype(np.float16), "w4g128").dequantize(), expected)
    bits = (weight.view(np.uint32) >> 16).astype(np.uint16)
    as_float = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(qz.Packed.quantize(qz.Tensor(bits, "bf16"), "w4g128").dequantize(),
                          qz.Packed.quantize(as_float, "w4g128").dequantize())
    assert np.array_equal(qz.Packed.quantize(np.asfortranarray(weight), "w4g128").dequantize(),
                          qz.Packed.quantize(weight, "w4g128").dequantize())


def test_bad_input(weight):
    with pytest.raises(qz.InvalidArgument, match="rows, cols"):
        qz.Packed.quantize(weight[0])
    with pytest.raises(qz.InvalidArgument):
        qz.Packed.quantize(weight, qz.Scheme(5))
    with pytest.raises(qz.Error):
        qz.Packed.quantize(weight, method="gptq")  # no hessian
    broken = weight.copy()
    broken[3, 5] = np.nan
    with pytest.raises(qz.Error):
        qz.Packed.quantize(broken)
    with pytest.raises(qz.Error, match="scales|qweight|qzeros"):
        qz.Packed.from_parts("gptq", "w4g128", ROWS, COLS, {"qweight": np.zeros((32, 32), np.int32)})


@pytest.mark.parametrize("scheme, product", [("w4g32", "w4a16"), ("nf4", "w4a16"), ("w8g128a", "w8a16"), ("fp8", "w8a16")])
def test_products_are_those_of_the_dequantized_matrix(weight, scheme, product):
    packed = qz.Packed.quantize(weight, scheme)
    x = np.random.default_rng(8).normal(size=(5, COLS)).astype(np.float32)
    bias = np.arange(ROWS, dtype=np.float32)
    want = x.astype(np.float64) @ packed.dequantize().T.astype(np.float64) + bias
    got = packed.multiply(x, product=product, bias=bias)
    np.testing.assert_allclose(got.array, want, rtol=0, atol=2e-5)
    half = packed.multiply(x.astype(np.float16), product=product)
    assert half.dtype == "f16"


def test_a_product_of_integers_rounds_its_inputs(weight):
    """w8a8: a scale a token, 255 steps."""
    packed = qz.Packed.quantize(weight, "w8a8")
    x = np.random.default_rng(9).normal(size=(3, COLS)).astype(np.float32)
    scale = np.abs(x).max(axis=1, keepdims=True) / np.float32(127.5)
    want = (np.clip(np.rint(x / scale), -128, 127) * scale).astype(np.float64) @ packed.dequantize().T.astype(np.float64)
    np.testing.assert_allclose(packed.multiply(x, product="w8a8").array, want, rtol=0, atol=2e-5)
    rounded = packed.multiply(x, product="w8a16", allow_int8_activations=True)
    np.testing.assert_allclose(rounded.array, want, rtol=0, atol=2e-5)


def test_what_cannot_be_multiplied(weight):
    packed = qz.Packed.quantize(weight, "w4g32")
    with pytest.raises(qz.InvalidArgument, match="has 128 columns, the matrix needs 256"):
        packed.multiply(np.zeros((2, 128), np.float32))
    with pytest.raises(qz.InvalidArgument, match="expected one of w4a16"):
        packed.multiply(np.zeros((2, COLS), np.float32), product="w4a4")
    with pytest.raises(qz.Unsupported, match="use qz_gemm_w4a16"):
        packed.multiply(np.zeros((2, COLS), np.float32), product="w8a16")
