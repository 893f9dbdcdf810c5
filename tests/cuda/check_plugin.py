"""check_plugin.py LIBRARY: libqz_cuda.so exports qz_backend_open and nothing else, needs nothing but libc and libm (no CUDA, no driver),
and is linked as libqz.so is. Exit 1 names every difference.
"""
import re
import subprocess
import sys


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def check(library):
    found = []
    exports = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    if exports != ["qz_backend_open"]:
        found.append(f"exports {', '.join(exports)}")
    dynamic = run("readelf", "-d", "-W", library)
    allowed = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
    found += [f"needs {name}" for name in sorted(set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)) - allowed)]
    if not re.search(r"BIND_NOW|FLAGS.*NOW", dynamic):
        found.append("not linked with -z now")
    if "TEXTREL" in dynamic:
        found.append("has text relocations")
    return found


if __name__ == "__main__":
    problems = check(sys.argv[1])
    print("\n".join(problems) if problems else "check_plugin: one symbol, no dependency")
    sys.exit(bool(problems))
