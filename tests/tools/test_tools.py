"""The house's own tools find what they are there to find."""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import headers  # noqa: E402


def run(tool, folder):
    """(exit status, output) of a tool on a folder."""
    done = subprocess.run([sys.executable, "-B", ROOT / "tools" / tool, folder], capture_output=True, text=True)
    return done.returncode, done.stdout


def put(folder, path, text):
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("path, include, good", [
    ("lib/model/a.cc", '"base/status.h"', True),
    ("lib/model/a.cc", '"model/model.h"', True),
    ("lib/model/a.cc", "<vector>", True),
    ("lib/kernels/a.cc", '"tensor/dtype.h"', True),
    ("lib/api/a.cc", "<qz/qz.h>", True),
    ("lib/base/a.cc", '"model/model.h"', False),      # up
    ("lib/tensor/a.cc", '"kernels/ops.h"', False),    # sideways
    ("lib/format/a.cc", '"method/gptq.h"', False),    # sideways
    ("lib/model/a.cc", '"qz/qz.h"', False),           # the public header
    ("lib/model/a.cc", '"model.h"', False),           # without its folder
    ("lib/model/a.cc", '"base/nothing.h"', False),    # not there
    ("lib/strange/a.cc", "<vector>", False),          # a folder without a floor
])
def test_floors(tmp_path, path, include, good):
    for header in ("base/status.h", "tensor/dtype.h", "kernels/ops.h", "method/gptq.h", "model/model.h"):
        put(tmp_path, f"lib/{header}", "")
    put(tmp_path, path, f"#include {include}\n")
    status, output = run("floors", tmp_path)
    assert (status == 0) == good, output
    if not good:
        assert f"{path}:1:" in output


@pytest.mark.parametrize("path, text, good", [
    ("lib/io/a.cc", 'snprintf(b, n, "exit(1)");  // abort()\n', True),
    ("lib/base/env.cc", 'getenv("QZ_CPU");\n', True),
    ("include/qz/a.h", "QZ_API int32_t qz_model_count(const qz_model *model);\n", True),
    ("lib/io/a.cc", "abort();\n", False),
    ("lib/io/a.cc", "exit(1);\n", False),
    ("lib/io/a.cc", 'printf("x");\n', False),
    ("lib/io/a.cc", 'fprintf(stderr, "x");\n', False),
    ("lib/io/a.cc", 'getenv("HOME");\n', False),
    ("lib/io/a.cc", "atof(text);\n", False),
    ("lib/io/a.cc", "throw 1;\n", False),
    ("lib/io/a.cc", "int x;\n" * 501, False),
    ("include/qz/a.h", "QZ_API int32_t model_count(void);\n", False),
    ("include/qz/a.h", "  QZ_OK = 0,\n", False),
    ("include/qz/a.h", "bool on;\n", False),
    ("docs/a.md", "see /ho" + "me/me/notes\n", False),
])
def test_names(tmp_path, path, text, good):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    put(tmp_path, path, text)
    status, output = run("names", tmp_path)
    assert (status == 0) == good, output
    if not good:
        assert path in output


CTEST = """<testsuite>
<testcase name="good_test" status="run"/>
<testcase name="died_test" status="fail"><failure message=""/></testcase>
<testcase name="leaks_test" status="fail"><failure message=""/></testcase>
<testcase name="plain_c_test" status="run"/>
</testsuite>"""
GTEST = """<testsuites><testsuite><testcase name="A" classname="S" status="run" result="completed"/>{}</testsuite></testsuites>"""
FAILED = """<testcase name="B" classname="S" status="run" result="completed"><failure message="no"/></testcase>"""
SKIPPED = """<testcase name="C" classname="S" status="run" result="skipped"><skipped message=""/></testcase>"""


def test_tally_counts_cases_and_programs_that_died(tmp_path):
    put(tmp_path, "release/ctest.xml", CTEST)
    put(tmp_path, "release/gtest/good_test.xml", GTEST.format(SKIPPED))
    put(tmp_path, "release/gtest/leaks_test.xml", GTEST.format(""))  # all cases good, but the sanitizer complained at exit
    put(tmp_path, "pytest.xml", GTEST.format(FAILED))
    put(tmp_path, "checks.txt", "pass lint\nfail ABI\n")
    status, output = run("tally", tmp_path)
    # passed: good_test A, leaks_test A, plain_c_test, pytest A, lint. failed: died_test, leaks_test, pytest B, ABI.
    assert output.splitlines()[-2:] == ["1 skipped", "5 passed, 4 failed"]
    assert status == 1


def test_tally_of_nothing_is_a_failure(tmp_path):
    assert run("tally", tmp_path) == (1, "0 passed, 0 failed\n")


def test_every_exported_declaration_is_understood():
    marked = sum(text.count("\nQZ_API ") for text in (path.read_text() for path in (ROOT / "include/qz").glob("*.h")))
    assert len(headers.functions()) == len(set(headers.functions())) == marked


def test_strip_leaves_only_what_c_sees():
    text = '/* a\n b */\n#ifdef __cplusplus\nextern "C" {\n#else\nint c; /* x */\n#endif\n#define QZ_INIT(T) x\nQZ_API int f(void);\n'
    assert headers.strip(text) == "int c;\nint f(void);"
