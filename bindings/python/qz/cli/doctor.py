"""qz doctor: what is here, what qz will use, what is missing and how to get it."""
from __future__ import annotations

import importlib.metadata
import platform
import shutil
import sys
from typing import Any

import click
from rich.console import Console

from .. import __version__, _library
from .common import Common, pairs, with_common

# Python packages that a command needs beyond the required ones: (package, what for, how to get it).
_OPTIONAL = (("matplotlib", "qz estimate --plot", "pip install 'qz[plot]'"), ("torch", "tensors of PyTorch in and out", "pip install torch"))
_REQUIRED = ("cffi", "click", "numpy", "rich", "tokenizers")


@click.command(short_help="What is here, what qz will use, what is missing.")
@with_common
def doctor(common: Common) -> None:
    """Says what qz finds on this machine and what to do about what it does not find. Nothing is changed."""
    report = common.context.device_report()
    missing = list(report["missing"])
    packages = {name: _version(name) for name in (*_REQUIRED, *(name for name, _, _ in _OPTIONAL))}
    missing += [{"what": f"Python package {name}", "why": f"not installed; {use} needs it", "get": get}
                for name, use, get in _OPTIONAL if packages[name] is None]
    cpu = report["devices"][0]
    if cpu["arch"] == "ref":
        missing.append({"what": "AVX2", "why": "the processor does not have it, or QZ_CPU=ref is set: kernels are many times slower",
                        "get": "run on a processor of 2013 or later; unset QZ_CPU"})
    document = {"command": "doctor", "version": __version__, "library": str(_library.path), "python": platform.python_version(),
                "system": f"{platform.system()} {platform.release()} {platform.machine()}, {' '.join(platform.libc_ver())}",
                "packages": packages, "devices": report["devices"], "driver": report["driver"],
                "uses": f"cpu:0 ({cpu['arch']} kernels, {cpu['units']} threads)", "missing": missing,
                "disk_free": shutil.disk_usage(".").free}
    common.emit(document, lambda console: _show(console, document))


def _version(name: str) -> Any:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _show(console: Console, d: dict[str, Any]) -> None:
    cpu = d["devices"][0]
    console.print(pairs([
        ("qz", f"{d['version']}, {d['library']}"), ("python", f"{d['python']}, {sys.executable}"), ("system", d["system"]),
        ("packages", ", ".join(f"{name} {version}" for name, version in d["packages"].items() if version)),
        ("processor", cpu["name"]), ("memory", f"{cpu['memory_free'] / 2**30:.1f} of {cpu['memory_total'] / 2**30:.1f} GiB free"),
        ("disk here", f"{d['disk_free'] / 2**30:.1f} GiB free"),
        ("GPUs", ", ".join(gpu["name"] for gpu in d["devices"][1:]) or "none"), ("qz uses", d["uses"])]))
    for m in d["missing"]:
        console.print(f"\nmissing: {m['what']}: {m['why']}\n  {m['get']}")
