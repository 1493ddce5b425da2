from __future__ import annotations

from decimal import Decimal

import pytest

from shared.errors import DecodeError
from shared.tws import fields as f


def read(wire, text: str):
    return wire.read(f.Reader(text.encode() + b"\0", 176))


def shown(wire, value) -> str:
    out = f.Writer(176)
    wire.write(out, value)
    return out.payload().decode()[:-1]


@pytest.mark.parametrize("text, value", [("", 0), ("7", 7), ("-1", -1), ("+3", 3), ("9223372036854775807", 2**63 - 1)])
def test_whole_numbers(text, value):
    assert read(f.INT, text) == value


@pytest.mark.parametrize("text", ["1.0", "x", " 1", "1_0", "٣", "9223372036854775808", "1" * 30])
def test_what_is_no_whole_number(text):
    with pytest.raises(DecodeError, match="whole number"):
        read(f.INT, text)


@pytest.mark.parametrize(
    "text", ["", "1.7976931348623157E308", "1.7976931348623157e+308", "2147483647", str(2**127 - 1)]
)
def test_every_spelling_of_an_unset_number_reads_as_none(text):
    assert read(f.OPT_DECIMAL, text) is None
    assert read(f.OPT_FLOAT, text) is None


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1e999", "1e-999", "0x10", "1e", ".", "--1"])
def test_what_is_no_number(text):
    for wire in (f.DECIMAL, f.OPT_DECIMAL):
        with pytest.raises(DecodeError):
            read(wire, text)


def test_an_offset_may_be_infinite_in_either_spelling():
    assert read(f.OFFSET, "Infinity") == read(f.OFFSET, "Infinite") == f.INFINITE
    assert shown(f.OFFSET, f.INFINITE) == "Infinity"


@pytest.mark.parametrize(
    "wire, value, text",
    [
        (f.OPT_INT, None, ""),
        (f.MAX_INT, None, "2147483647"),
        (f.MAX_LONG, None, "9223372036854775807"),
        (f.MAX_DECIMAL, None, "1.7976931348623157E308"),
        (f.ZERO_DECIMAL, None, "0.0"),
        (f.OPT_BOOL, None, ""),
        (f.SIZE, 100.0, "100"),
        (f.SIZE, 0.5, "0.5"),
        (f.FLOAT, 10.0, "10.0"),
        (f.DECIMAL, Decimal("1E+2"), "100"),
        (f.DECIMAL, Decimal("0.10"), "0.10"),
        (f.BOOL, True, "1"),
        (f.TAG_STRING, (f.TagValue("a", "1"), f.TagValue("b", "")), "a=1;b=;"),
    ],
)
def test_how_values_look(wire, value, text):
    assert shown(wire, value) == text
    assert read(wire, text) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_sent(value):
    with pytest.raises(ValueError):
        shown(f.FLOAT, value)
    with pytest.raises(ValueError):
        shown(f.DECIMAL, Decimal(value))


def test_a_nul_never_becomes_two_fields():
    with pytest.raises(ValueError, match="NUL"):
        f.Writer(176).text("a\0b")
    with pytest.raises(ValueError, match="NUL"):
        f.Writer(176, ascii7=True).text("a\0b")


def test_escapes_are_what_pythons_clients_decode():
    text = "é \\ 漢 😀"
    escaped = f.escape_ascii7(text)
    assert escaped.isascii()
    assert escaped.encode().decode("unicode-escape") == text
    assert f.unescape_ascii7(escaped) == text
    assert f.unescape_ascii7("\\ud83d\\ude00") == "😀"  # Java's pair
    with pytest.raises(DecodeError):
        f.unescape_ascii7("\\ud83d")


def test_a_count_larger_than_the_message_builds_nothing():
    with pytest.raises(DecodeError, match="counts 1000000"):
        f.Many(f.TEXT).read(f.Reader(b"1000000\0a\0", 176))
    with pytest.raises(DecodeError, match="counts -1"):
        f.Many(f.TEXT).read(f.Reader(b"-1\0a\0", 176))


@pytest.mark.parametrize("payload", [b"", b"1", b"\xff\0", b"\0" * (f.MAX_FIELDS + 1)])
def test_what_is_no_message(payload):
    with pytest.raises(DecodeError):
        f.Reader(payload, 176)


def test_surplus_fields_are_an_error():
    src = f.Reader(b"1\x002\0", 176)
    src.take()
    with pytest.raises(DecodeError, match="1 fields too many"):
        src.finish()
