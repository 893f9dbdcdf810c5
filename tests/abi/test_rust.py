"""The committed Rust declarations are those of the headers: every function, every constant, every size. Needs neither bindgen nor cargo."""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINDINGS = (ROOT / "bindings/rust/qz-sys/src/bindings.rs").read_text()
sys.path.insert(0, str(ROOT / "tools"))
import headers  # noqa: E402


def test_every_function_is_declared():
    assert set(re.findall(r"pub fn (qz_\w+)\(", BINDINGS)) == set(headers.functions())


def test_every_struct_has_the_compilers_size():
    sizes = dict(re.findall(r"size_of::<(qz_\w+)>\(\),\s*(\d+)usize", BINDINGS))
    for name, fields in json.loads((ROOT / "tests/abi/layout.json").read_text()).items():
        assert int(sizes[name]) == fields[""][1], name


def test_every_field_has_the_compilers_offset():
    for name, fields in json.loads((ROOT / "tests/abi/layout.json").read_text()).items():
        test = re.search(rf"fn bindgen_test_layout_{name}\(\) \{{(.*?)\n\}}", BINDINGS, flags=re.S)[1]
        offsets = dict(re.findall(r"\(\*ptr\)\.(\w+)\) as usize - ptr as usize\s*\},\s*(\d+)usize", test))
        for field, (offset, _) in fields.items():
            if field:
                assert int(offsets[field]) == offset, f"{name}.{field}"


def test_every_constant_has_its_value():
    text = "\n".join((ROOT / f"include/qz/{name}.h").read_text() for name in headers.ORDER)
    constants = dict(re.findall(r"\b(QZ_[A-Z]+_[A-Z0-9_]+) = (-?\d+)", text))
    declared = dict(re.findall(r"pub const (QZ_\w+): _bindgen_ty_\d+ = (-?\d+);", BINDINGS))
    assert len(constants) > 40 and declared == constants
