"""The stored results are what gptq_reference.py computes."""
import pathlib

import pytest

np = pytest.importorskip("numpy")
import gptq_reference as reference  # noqa: E402

STORED = pathlib.Path(__file__).parents[1] / "data" / "numeric" / "gptq.safetensors"


def read(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"U8": np.uint8, "F32": np.float32}
    return {name: np.frombuffer(data[start + t["data_offsets"][0]:start + t["data_offsets"][1]], types[t["dtype"]]).reshape(t["shape"])
            for name, t in reference.json.loads(data[8:start]).items()}


@pytest.mark.parametrize("name", reference.CASES)
def test_stored_results_are_reproduced(name):
    stored = read(STORED)
    made = reference.solve(*reference.CASES[name])
    assert (made["codes"] == stored[name + ".codes"]).mean() > 0.999  # the BLAS in use may decide a tie otherwise
    assert np.array_equal(made["zeros"], stored[name + ".zeros"])
    assert np.allclose(made["scales"], stored[name + ".scales"], rtol=1e-2)
