"""The promises of include/qz that only compilers can check. Run by ctest from the source root; exit 1 names every failure.

Each header compiles alone as C and C++, without a warning and without hidden padding; QZ_INIT sets struct_size and nothing else;
the headers live beside programs that define QZ_OK and other one-word macros, as intel/QATzip does.
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, "tools")
import headers

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wpadded", "-Wstrict-prototypes", "-Wundef", "-Werror"]
DIALECTS = {"c": ["c99", "c11", "c17"], "c++": ["c++11", "c++17", "c++20"]}
COMPILERS = {"c": ["gcc", "clang", "clang-14"], "c++": ["g++", "clang++", "clang++-14"]}
# Macros of intel/QATzip's qatzip.h and other short words that a program may have defined before it includes us.
FOREIGN = ["QZ_OK", "QZ_FAIL", "QZ_PARAMS", "QZ_NONE", "QZ_DUPLICATE", "QZ_FORCE_SW", "QZ_LOW_MEM", "QZ_TIMEOUT", "QZ_INTEG"]


def init_program():
    """A program that checks QZ_INIT of every versioned struct byte by byte."""
    lines = ["#include <qz/qz.h>", "#include <string.h>", "static int bad;",
             "static void look(const void *p, size_t n, uint32_t said) {", "  const unsigned char *b = (const unsigned char *)p;",
             "  size_t i;", "  if (said != n) bad = 1;", "  for (i = sizeof(uint32_t); i < n; ++i) if (b[i]) bad = 1;", "}",
             "int main(void) {"]
    for name, fields in headers.structs().items():
        if fields[0] == "struct_size":
            lines.append(f"  {{ {name} v = QZ_INIT({name}); look(&v, sizeof v, v.struct_size); }}")
    return "\n".join(lines + ["  return bad;", "}", ""])


def compile_text(compiler, language, dialect, text, output=None, warnings=True):
    """None, or the compiler's words."""
    flags = [w for w in WARNINGS if language == "c" or w != "-Wstrict-prototypes"] if warnings else ["-Wall", "-Wextra", "-Werror"]
    target = ["-o", output] if output else ["-fsyntax-only"]
    done = subprocess.run([compiler, f"-std={dialect}", *flags, "-Iinclude", f"-x{language}", "-", *target], input=text, text=True,
                          capture_output=True)
    return done.stderr if done.returncode else None


def main():
    failures, count, used = [], 0, []
    public = sorted(p.name for p in pathlib.Path("include/qz").glob("*.h"))
    programs = {f"qz/{name} alone": f"#include <qz/{name}>\n#include <qz/{name}>\n" for name in public}
    programs["beside foreign macros"] = "".join(f"#define {m} 1\n" for m in FOREIGN) + "#include <qz/qz.h>\n"
    for language, candidates in COMPILERS.items():
        for compiler in filter(shutil.which, candidates):
            used.append(compiler)
            for dialect in DIALECTS[language]:
                for what, text in programs.items():
                    count += 1
                    words = compile_text(compiler, language, dialect, text)
                    if words:
                        failures.append(f"{compiler} -std={dialect}: {what}:\n{words}")
                count += 1
                with tempfile.TemporaryDirectory() as folder:
                    program = f"{folder}/init"
                    words = compile_text(compiler, language, dialect, init_program(), program)
                    if words or subprocess.run([program]).returncode:
                        failures.append(f"{compiler} -std={dialect}: QZ_INIT:\n{words or 'a field is not zero or struct_size is wrong'}")
    print("\n".join(failures))
    print(f"check_headers: {count - len(failures)} of {count} compilations good, with {', '.join(used)}")
    return bool(failures) or not used


if __name__ == "__main__":
    sys.exit(main())
