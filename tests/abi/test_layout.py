"""cffi's ABI mode trusts the offsets that it computes itself: they must be those of the C compiler (tests/abi/layout.json)."""
import importlib.util
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load_ffi():
    spec = importlib.util.spec_from_file_location("cdef", ROOT / "bindings/python/qz/_cdef.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ffi


def test_cffi_lays_structs_out_like_the_compiler():
    ffi = load_ffi()
    expected = json.loads((ROOT / "tests/abi/layout.json").read_text())
    computed = {}
    for name in expected:
        struct = ffi.typeof(name)
        computed[name] = {"": [0, ffi.sizeof(struct)]}
        for field, description in struct.fields:
            computed[name][field] = [description.offset, ffi.sizeof(description.type)]
    assert computed == expected


def test_every_versioned_struct_starts_with_its_size():
    expected = json.loads((ROOT / "tests/abi/layout.json").read_text())
    frozen = {"qz_device", "qz_tensor", "qz_part"}  # these travel in arrays and never change
    for name, fields in expected.items():
        assert name in frozen or fields["struct_size"] == [0, 4], name
