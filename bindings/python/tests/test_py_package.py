"""The package fits the library that it loads."""
import json
import re
import subprocess
import sys

import pytest
from sample import ENVIRONMENT, ROOT

import qz
from qz import _cdef, _library


def test_layout_is_what_the_compiler_says():
    expected = json.loads((ROOT / "tests/abi/layout.json").read_text())
    for name, fields in expected.items():
        struct = _library.ffi.typeof(name)
        computed = {"": [0, _library.ffi.sizeof(struct)]}
        computed.update({field: [d.offset, _library.ffi.sizeof(d.type)] for field, d in struct.fields})
        assert computed == fields, name


def test_every_function_of_the_headers_is_in_the_library():
    for line in (ROOT / "tests/abi/symbols.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert getattr(_library.lib, line.split()[0])


def test_an_older_library_is_refused():
    major, minor, patch = _cdef.VERSION
    number = major * 1_000_000 + minor * 1000 + patch
    assert _library.check_version(number) == _cdef.VERSION
    assert _library.check_version(number + 1) == (major, minor, patch + 1)
    for other in (number - 1, number + 1000 if major == 0 else number + 1_000_000, 0):
        with pytest.raises(ImportError, match=re.escape(f"needs {major}.{minor}.{patch}")):
            _library.check_version(other)


def test_version_is_the_headers():
    header = (ROOT / "include/qz/base.h").read_text()
    assert qz.__version__ == ".".join(re.search(rf"QZ_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def test_every_public_name_exists_and_is_documented():
    for name in qz.__all__:
        thing = getattr(qz, name)
        assert isinstance(thing, (int, tuple)) or thing.__doc__, name


def test_importing_does_not_load_what_only_some_need():
    code = "import sys, qz; print([m for m in ('numpy', 'tokenizers', 'click', 'rich', 'torch', 'transformers', 'matplotlib', 'cffi', 'pycparser') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]"
