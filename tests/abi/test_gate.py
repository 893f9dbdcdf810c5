"""The gate itself: a library made from changed headers is held against one from today's. What breaks programs must fail, what grows must
pass. And no constant of the first release may ever mean something else, which abidiff cannot see (the enumerations are int32_t)."""
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import headers  # noqa: E402

needs_abidiff = pytest.mark.skipif(not shutil.which("abidiff"), reason="abidiff is not installed")


def library(directory, file=None, old=None, new=None):
    """A library that has every function of the headers, after replacing `old` by `new` in one of them; every body is empty."""
    (directory / "qz").mkdir(parents=True)
    texts = {path.name: path.read_text() for path in (ROOT / "include/qz").glob("*.h")}
    if file:
        assert texts[file].count(old) >= 1, f"{file} has no {old!r}"
        texts[file] = texts[file].replace(old, new, 1)
    for name, text in texts.items():
        (directory / "qz" / name).write_text(text)
    declared = re.sub(r"typedef[^;{]*;", "", "\n".join(headers.strip(texts[f"{name}.h"]) for name in headers.ORDER))
    bodies = [f"{prototype} {{ {'' if prototype.startswith('void ') and '*' not in prototype.split('(')[0] else 'return 0;'} }}"
              for prototype in re.findall(r"^(\w[\w \*]*\bqz_\w+\([^;{]*\));", declared, flags=re.M)]
    assert len(bodies) > 40
    (directory / "stub.c").write_text("#include <qz/qz.h>\n" + "\n".join(bodies) + "\n")
    subprocess.run(["cc", "-g", "-shared", "-fPIC", "-w", f"-I{directory}", directory / "stub.c", "-o", directory / "libqz.so"], check=True)
    return directory


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    return library(tmp_path_factory.mktemp("abi") / "today")


def compatible(old, new):
    return subprocess.run(["abidiff", "--headers-dir1", old / "qz", "--headers-dir2", new / "qz", "--no-added-syms", "--suppressions",
                           ROOT / "tests/abi/growth.suppr", old / "libqz.so", new / "libqz.so"], capture_output=True).returncode == 0


GROWS = [("append a field", "memory.h", "qz_device device;    /* QUANTIZE", "qz_device device; uint64_t more; /* QUANTIZE"),
         ("add a function", "calib.h", "QZ_API int64_t qz_calib_tokens", "QZ_API int64_t qz_calib_bytes(const qz_calib *calib);\nQZ_API int64_t qz_calib_tokens")]
BREAKS = [("insert a field", "memory.h", "  int64_t batch; ", "  int64_t more; int64_t batch; "),
          ("change a field's type", "eval.h", "double perplexity; ", "float perplexity, more; "),
          ("change a parameter", "calib.h", "const int32_t *ids, size_t count);", "const int64_t *ids, size_t count);"),
          ("add a parameter", "calib.h", "const int32_t *ids, size_t count);", "const int32_t *ids, size_t count, int32_t more);"),
          ("grow what is frozen", "base.h", "int32_t kind, index;", "int32_t kind, index, more;"),
          ("remove a function", "calib.h", "QZ_API qz_status qz_calib_save(const qz_calib *calib, const char *path);", "")]


@needs_abidiff
@pytest.mark.parametrize("change", GROWS, ids=[row[0] for row in GROWS])
def test_growth_passes(today, tmp_path, change):
    assert compatible(today, library(tmp_path / "new", *change[1:]))


@needs_abidiff
@pytest.mark.parametrize("change", BREAKS, ids=[row[0] for row in BREAKS])
def test_what_breaks_programs_fails(today, tmp_path, change):
    assert not compatible(today, library(tmp_path / "new", *change[1:]))


def constants(directory):
    text = "\n".join(path.read_text() for path in sorted(directory.glob("*.h")))
    return dict(re.findall(r"\b(QZ_[A-Z]+_[A-Z0-9_]+) = (-?\d+)", text))


def test_constants_of_the_first_release_mean_the_same():
    first, now = constants(ROOT / "tests/abi/first/qz"), constants(ROOT / "include/qz")
    assert len(first) > 40
    assert {name: now.get(name) for name in first} == first


def test_every_versioned_struct_is_one_that_may_grow():
    rule = re.search(r"name_regexp = \^qz_\((.*)\)\$", (ROOT / "tests/abi/growth.suppr").read_text())[1].split("|")
    versioned = [name[3:] for name, fields in headers.structs().items() if fields[0] == "struct_size"]
    assert sorted(rule) == sorted(versioned)
