"""What README and docs/ say must be true as far as a machine can tell: code blocks compile, links lead somewhere, commands exist,
environment variables and files that are named exist.
"""
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.M | re.S)


def blocks(*languages):
    """(id, code) of every fenced block in one of the languages."""
    return [pytest.param(code, id=f"{page.name}:{page.read_text()[:match.start()].count(chr(10)) + 1}")
            for page in PAGES for match in FENCE.finditer(page.read_text())
            for language, code in [match.groups()] if language in languages]


def compile_c(code, compiler, dialect, language):
    """Statements are put into a function that has a context; a block with #include is taken as it is."""
    if "#include" not in code:
        code = f"#include <qz/qz.h>\n#include <stdio.h>\nvoid block(qz_context *);\n" \
            f"void block(qz_context *context) {{\n(void)context;\n{{\n{code}\n}}\n}}\n"
    return subprocess.run([compiler, f"-std={dialect}", "-Wall", "-Wextra", "-Wno-unused", "-Werror", f"-I{ROOT / 'include'}",
                           f"-I{ROOT / 'lib'}", "-fsyntax-only", f"-x{language}", "-"], input=code, capture_output=True, text=True)


@pytest.mark.parametrize("code", blocks("c"))
def test_c_block_compiles(code):
    done = compile_c(code, "cc", "c99", "c")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", blocks("cpp"))
def test_cpp_block_compiles(code):
    done = compile_c(code, "c++", "c++20", "c++")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", blocks("python"))
def test_python_block_compiles_and_uses_what_exists(code):
    compile(code, "block", "exec")
    qz = pytest.importorskip("qz")
    for name in re.findall(r"\bqz\.([A-Za-z_]\w*)", code):
        assert hasattr(qz, name), f"qz.{name} does not exist"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dev_verbs_exist(page):
    verbs = set(re.findall(r"^do_(\w+)\(\)", (ROOT / "dev").read_text(), flags=re.M))
    named = set(re.findall(r"\./dev ([a-z]+)", page.read_text()))
    assert named <= verbs, f"./dev has no {', '.join(sorted(named - verbs))}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_named_files_exist(page):
    for name in re.findall(r"`((?:lib|cuda|include|tests|tools|docs|cmake|examples|bindings|bench)/[\w./-]+\.\w+)`", page.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_c_functions_that_are_named_exist(page):
    symbols = {line.split()[0] for line in (ROOT / "tests/abi/symbols.txt").read_text().splitlines() if line[:1] not in {"", "#"}}
    headers = "".join(path.read_text() for path in (ROOT / "include/qz").glob("*.h"))
    for name in set(re.findall(r"\b(qz_[a-z0-9_]+)\(", page.read_text())):
        assert name in symbols or name in headers, f"{name}() does not exist"


def readme_part(title):
    """A section of the README in small letters and digits alone."""
    text = (ROOT / "README.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    return re.sub(r"[^a-z0-9]", "", text.lower())


@pytest.mark.parametrize("kind", ["FORMAT", "METHOD", "TRANSFORM", "CODE"])
def test_readme_names_what_there_is_and_no_limit_denies_it(kind):
    headers = "".join(path.read_text() for path in (ROOT / "include/qz").glob("*.h"))
    names = set(re.findall(rf"\bQZ_{kind}_(\w+) = \d", headers)) - {"DEFAULT", "NONE"}
    words = {name: {"INT": "integers"}.get(name, name.replace("_", "").lower()) for name in names}
    assert len(names) > 1 and all(word in readme_part("What works today") for word in words.values()), words
    assert not [name for name in names - {"KEEP", "PLAIN", "INT"} if words[name] in readme_part("Limits")]


def test_changelog_speaks_of_this_version():
    version = re.search(r"project\(qz VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    header = (ROOT / "include/qz/base.h").read_text()
    assert version == ".".join(re.search(rf"QZ_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
