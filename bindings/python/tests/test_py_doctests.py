"""What the docstrings show is what happens."""
import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import qz

MODULES = ["qz", *(f"qz.{module.name}" for module in pkgutil.iter_modules(qz.__path__) if not module.ispkg and module.name != "__main__")]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, model):
    failed, tried = doctest.testmod(importlib.import_module(name), globs={"qz": qz, "np": np, "model": model}, optionflags=FLAGS)
    assert failed == 0


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    shown = [test.name for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(set(shown)) >= 5, shown
