"""Reads include/qz: the strict dialect of the public headers (qz/base.h) is what keeps this short. Used by the gen_* tools."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Declaration order: each header comes after those that it includes.
ORDER = ["base", "context", "device", "model", "calib", "quantize", "memory", "loading", "packed", "eval"]
APART = ["backend"]  # for those who write backends, who write C: neither exported nor bound


def strip(text):
    """A header without comments, preprocessor lines and what only C++ sees: declarations, as a C parser wants them."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    kept, branches = [], []  # branches: True where the enclosing #if branch is not for C
    for line in text.splitlines():
        word = re.match(r"\s*#\s*(\w+)\s*(\w*)", line)
        if not word:
            if not any(branches):
                kept.append(line.replace("QZ_API ", "").rstrip())
        elif word[1] in {"if", "ifdef", "ifndef"}:
            branches.append(word[1] == "ifdef" and word[2] == "__cplusplus")
        elif word[1] in {"else", "elif"}:
            branches[-1] = not branches[-1]
        elif word[1] == "endif":
            branches.pop()
    return re.sub(r"\n\s*\n+", "\n", "\n".join(kept)).strip()


def declarations():
    """All of the contract as one C text."""
    missing = {p.stem for p in (ROOT / "include/qz").glob("*.h")} - set(ORDER) - {"qz", *APART}
    if missing:
        raise SystemExit(f"tools/headers.py: ORDER does not name {', '.join(sorted(missing))}")
    return "\n".join(strip((ROOT / f"include/qz/{name}.h").read_text()) for name in ORDER) + "\n"


def functions():
    """Names of all functions, in declaration order."""
    return re.findall(r"^[\w\s*]*?\b(qz_\w+)\([^;]*?\)\s*;", re.sub(r"typedef[^;{]*;", "", declarations()), flags=re.M)


def structs():
    """{struct: [field, ...]} for every struct whose layout is public."""
    found = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\}\s*\w+;", declarations(), flags=re.S):
        found[name] = []
        for field in filter(str.strip, body.split(";")):
            pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)\s*\(", field)  # a function pointer has commas of its own
            parts = [f"{pointer[1]}"] if pointer else field.split(",")
            found[name] += [re.search(r"(\w+)\s*(\[\d+\])?\s*$", part.strip())[1] for part in parts]
    return found


def version():
    """(major, minor, patch) as base.h says."""
    text = (ROOT / "include/qz/base.h").read_text()
    return tuple(int(re.search(rf"#define QZ_VERSION_{part} (\d+)", text)[1]) for part in ("MAJOR", "MINOR", "PATCH"))


def write(path, text):
    """Writes a generated file if it differs; with --check on the command line, says so and fails instead."""
    file = ROOT / path
    if file.exists() and file.read_text() == text:
        return
    if "--check" in sys.argv:
        raise SystemExit(f"{path} is not what include/qz says: run ./dev gen")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    print(f"wrote {path}")


def compile_and_run(source, build, compiler="cc"):
    """Standard output of a small C program that includes qz/qz.h."""
    build.mkdir(parents=True, exist_ok=True)
    program = build / "layout"
    subprocess.run([compiler, "-std=c99", "-Wall", "-Werror", f"-I{ROOT / 'include'}", "-xc", "-", "-o", program], input=source,
                   text=True, check=True)
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout
