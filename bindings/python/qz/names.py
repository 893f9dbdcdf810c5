"""The words of the command line and of Python for the numbers of the C API."""
from __future__ import annotations

from ._library import lib
from .errors import InvalidArgument

FORMATS = {"compressed-tensors": lib.QZ_FORMAT_COMPRESSED, "gptq": lib.QZ_FORMAT_GPTQ, "gptq_v2": lib.QZ_FORMAT_GPTQ_V2,
           "gptq_p": lib.QZ_FORMAT_GPTQ_PLANAR, "awq": lib.QZ_FORMAT_AWQ, "bitsandbytes": lib.QZ_FORMAT_BITSANDBYTES,
           "hqq": lib.QZ_FORMAT_HQQ, "gguf": lib.QZ_FORMAT_GGUF, "eetq": lib.QZ_FORMAT_EETQ, "plain": lib.QZ_FORMAT_PLAIN}
METHODS = {"default": lib.QZ_METHOD_DEFAULT, "keep": lib.QZ_METHOD_KEEP, "rtn": lib.QZ_METHOD_RTN, "gptq": lib.QZ_METHOD_GPTQ,
           "hqq": lib.QZ_METHOD_HQQ, "mse": lib.QZ_METHOD_MSE}
TRANSFORMS = {"none": lib.QZ_TRANSFORM_NONE, "awq": lib.QZ_TRANSFORM_AWQ, "smoothquant": lib.QZ_TRANSFORM_SMOOTHQUANT}
#: GGUF's block codes: 100 + the number that ggml gives the type.
BLOCKS = {"q4_0": 102, "q4_1": 103, "q5_0": 106, "q5_1": 107, "q8_0": 108, "q2_k": 110, "q3_k": 111, "q4_k": 112, "q5_k": 113,
          "q6_k": 114, "iq4_nl": 120, "iq4_xs": 123}
CODES = {"int": lib.QZ_CODE_INT, "nf4": lib.QZ_CODE_NF4, "fp4": lib.QZ_CODE_FP4, "fp8": lib.QZ_CODE_FP8,
         "llm-int8": lib.QZ_CODE_LLM_INT8, **BLOCKS}
GROUPINGS = {"row": lib.QZ_GROUPING_ROW, "flat": lib.QZ_GROUPING_FLAT, "strided": lib.QZ_GROUPING_STRIDED, "tile": lib.QZ_GROUPING_TILE}
ACTIVATIONS = {"token": lib.QZ_ACTIVATIONS_TOKEN, "tensor": lib.QZ_ACTIVATIONS_TENSOR, "outliers": lib.QZ_ACTIVATIONS_OUTLIERS}
PRODUCTS = {"exact": lib.QZ_PRODUCTS_EXACT, "bf16": lib.QZ_PRODUCTS_BF16, "int8": lib.QZ_PRODUCTS_INT8}
ORDERS = {"none": lib.QZ_ORDER_NONE, "static": lib.QZ_ORDER_STATIC, "g_idx": lib.QZ_ORDER_GIDX}
DTYPES = {"f32": lib.QZ_DTYPE_F32, "f16": lib.QZ_DTYPE_F16, "bf16": lib.QZ_DTYPE_BF16, "i64": lib.QZ_DTYPE_I64,
          "i32": lib.QZ_DTYPE_I32, "i16": lib.QZ_DTYPE_I16, "i8": lib.QZ_DTYPE_I8, "u8": lib.QZ_DTYPE_U8, "bool": lib.QZ_DTYPE_BOOL}


def number(table: dict[str, int], word: str | None, what: str) -> int:
    """The constant for a word; 0, the default, for None. InvalidArgument lists the words that there are."""
    if word is None:
        return 0
    if word not in table:
        raise InvalidArgument(f"{what} {word!r} is not one of {', '.join(table)}")
    return table[word]


def word(table: dict[str, int], value: int) -> str:
    """The word for a constant; the number itself if it is newer than this package."""
    return next((name for name, known in table.items() if known == value), str(value))
