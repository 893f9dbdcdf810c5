"""Puts libqz.so into the wheel and names the platform it runs on; everything else stands in pyproject.toml.

Nothing is compiled against Python (cffi's ABI mode), so one wheel, py3-none-<platform>, serves every Python.
"""
import pathlib
import re
import shutil
import sysconfig

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = pathlib.Path(__file__).resolve().parent
BUILT = HERE.parents[1] / "build" / "release" / "lib" / "libqz.so"


def version():
    """The library's version, from the generated declarations: package and library are released together."""
    numbers = re.search(r"^VERSION = \((\d+), (\d+), (\d+)\)", (HERE / "qz/_cdef.py").read_text(), flags=re.M)
    return ".".join(numbers.groups())


class BuildWithLibrary(build_py):
    """build_py that copies build/release/lib/libqz.so next to the modules; an editable install loads it where it is."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        if not BUILT.is_file():
            raise SystemExit(f"{BUILT} is missing: run ./dev build first")
        shutil.copyfile(BUILT, pathlib.Path(self.build_lib) / "qz" / "libqz.so")


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        platform = (self.plat_name or sysconfig.get_platform()).replace("-", "_").replace(".", "_")
        return "py3", "none", platform


class BinaryDistribution(Distribution):
    def has_ext_modules(self):
        return True


setup(version=version(), distclass=BinaryDistribution, cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel})
