"""check_library.py LIBRARY release|sanitized: exports are tests/abi/symbols.txt, exactly; nothing is needed but libc and libm;
the SONAME carries the minor version before 1.0. Exit 1 names every difference.
"""
import platform
import re
import subprocess
import sys

sys.path.insert(0, "tools")
import headers


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def exports(library):
    """Names of the defined dynamic symbols, with their version."""
    rows = [line.split() for line in run("nm", "-D", "--defined-only", library).splitlines()]
    return {row[2] for row in rows if row[1] != "A"}  # A: the version node itself


def listed():
    text = (headers.ROOT / "tests/abi/symbols.txt").read_text()
    return {line.split()[0]: line.split()[2] for line in text.splitlines() if line and line[0] != "#"}


def check(library, kind):
    found = []
    node = {"stable": "QZ_1", "experimental": "QZ_EXPERIMENTAL"}
    want = {f"{name}@@{node[promise]}" for name, promise in listed().items()}
    have = exports(library)
    found += [f"exported, but not in tests/abi/symbols.txt: {name}" for name in sorted(have - want)]
    found += [f"in tests/abi/symbols.txt, but not exported: {name}" for name in sorted(want - have)]

    dynamic = run("readelf", "-d", "-W", library)
    major, minor, _ = headers.version()
    soname = f"libqz.so.{major}" if major else f"libqz.so.0.{minor}"
    if f"soname: [{soname}]" not in dynamic:
        found.append(f"SONAME is not {soname}")
    if kind == "release":
        allowed = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
        found += [f"needs {name}" for name in sorted(set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)) - allowed)]
        if not re.search(r"BIND_NOW|FLAGS.*NOW", dynamic):
            found.append("not linked with -z now")
        if "TEXTREL" in dynamic:
            found.append("has text relocations")
        stack = re.search(r"GNU_STACK.*\n?.*?(RWE|RW )", run("readelf", "-l", "-W", library))
        if not stack or stack[1] != "RW ":
            found.append("has an executable stack")
    return found


if __name__ == "__main__":
    if platform.system() != "Linux":
        sys.exit("Linux only")
    problems = check(*sys.argv[1:])
    print("\n".join(problems) if problems else f"check_library: {len(listed())} symbols, exactly as listed")
    sys.exit(bool(problems))
