"""Every status is an exception of its own."""
import copy
import pickle
import re

import pytest
from sample import ROOT

import qz
from qz import _call, errors
from qz._library import lib

STATUSES = {name: int(value) for name, value in re.findall(r"(QZ_STATUS_\w+) = (\d+)", (ROOT / "include/qz/base.h").read_text())}
BUILTIN = {"INVALID_ARGUMENT": ValueError, "OUT_OF_MEMORY": MemoryError, "IO": OSError, "BAD_FILE": ValueError, "NUMERIC": ArithmeticError}


@pytest.mark.parametrize("name", [name for name in STATUSES if name != "QZ_STATUS_OK"])
def test_status_has_its_exception(name):
    with pytest.raises(qz.Error) as caught:
        _call.check(STATUSES[name])
    assert type(caught.value) is errors.BY_STATUS[STATUSES[name]]
    assert caught.value.status == STATUSES[name]
    assert caught.value.name == name
    assert isinstance(caught.value, BUILTIN.get(name.removeprefix("QZ_STATUS_"), qz.Error))


def test_a_status_of_a_later_library_is_a_plain_error():
    with pytest.raises(qz.Error) as caught:
        _call.check(4711)
    assert type(caught.value) is qz.Error and caught.value.status == 4711


def test_ok_raises_nothing():
    _call.check(lib.QZ_STATUS_OK)


def test_a_missing_directory_in_words(tmp_path):
    with pytest.raises(qz.Error, match="nowhere") as caught:
        qz.Model.open(tmp_path / "nowhere")
    assert isinstance(caught.value, OSError) and "\n" not in str(caught.value)


def test_a_zero_byte_in_a_path_is_an_error_not_another_file(tmp_path):
    with pytest.raises(qz.InvalidArgument, match="zero byte"):
        qz.Model.open(f"{tmp_path}\0/x")


def test_a_closed_handle_says_so():
    context = qz.Context()
    context.close()
    context.close()
    with pytest.raises(ValueError, match="Context is closed"):
        context.devices


def test_handles_are_not_pickled_or_copied(model, calibration):
    for handle in (model, calibration, qz.Plan(model), qz.Context(1)):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=rf"a {type(handle).__name__} cannot be pickled or copied: .* make it again there"):
                attempt(handle)
    assert pickle.loads(pickle.dumps(qz.Scheme(3))) == qz.Scheme(3)
