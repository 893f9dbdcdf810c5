"""How the words of the command line are read."""
import click
import pytest

import qz
from qz import names
from qz.cli import exit_codes
from qz.cli.words import Group, Size, Strength, parse_rule, scheme_from
from qz.plan import GptqOptions, Rule

BASE = Rule("gptq", qz.Scheme(4, 128), GptqOptions(damp=0.5))


@pytest.mark.parametrize("text, glob, rule", [
    ("lm_head=keep", "lm_head", Rule("keep", BASE.scheme, BASE.gptq)),
    ("*.layers.0.*=w8g128", "*.layers.0.*", Rule("gptq", qz.Scheme(8, 128), BASE.gptq)),
    ("*.down_proj=rtn:w8", "*.down_proj", Rule("rtn", qz.Scheme(8, qz.ROW), BASE.gptq)),
    ("a=b*=rtn", "a=b*", Rule("rtn", BASE.scheme, BASE.gptq))])
def test_rules(text, glob, rule):
    assert parse_rule(text, BASE) == (glob, rule)


@pytest.mark.parametrize("text", ["", "lm_head", "=keep", "lm_head=", "x=awq:w4", "x=keep:", "x=w99"])
def test_bad_rules(text):
    with pytest.raises(click.UsageError):
        parse_rule(text, BASE)


@pytest.mark.parametrize("text, bytes_", [("5GB", 5 * 10**9), ("512MiB", 512 * 2**20), ("100", 100), ("1.5 kb", 1500)])
def test_sizes(text, bytes_):
    assert Size().convert(text, None, None) == bytes_


@pytest.mark.parametrize("kind, text", [(Size(), "5 apples"), (Size(), "-1"), (Group(), "x"), (Strength(), "-0.5"),
                                        (Strength(), "nan"), (Strength(), "x")])
def test_bad_words(kind, text):
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


def test_scheme_words():
    assert scheme_from(None, None, None, None) == qz.Scheme(4, 128)
    assert scheme_from("w4g32a", 3, None, None) == qz.Scheme(3, 32, True)
    assert scheme_from("w4g32a", None, qz.ROW, False) == qz.Scheme(4, qz.ROW)
    for name in names.BLOCKS:
        assert str(qz.Scheme.preset(name)) == name
    for scheme in (qz.Scheme(4, 128), qz.Scheme(3, 64, True), qz.Scheme(8, qz.ROW), qz.Scheme(8, qz.TENSOR)):
        assert qz.Scheme.preset(str(scheme)) == scheme


def test_every_error_has_an_exit_status():
    for kind in qz.Error.__subclasses__():
        assert exit_codes.of(kind("")) in {1, 3, 4, 5, 6, 7, 8, 70, 130}
    assert exit_codes.of(FileNotFoundError()) == 5 and exit_codes.of(RuntimeError()) == 70 and exit_codes.of(MemoryError()) == 8
