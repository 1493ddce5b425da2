"""Read and write the NUL-terminated fields of the TWS text protocol (server versions 100 to 200).

A *wire* knows how one value looks in a message: `write(out, value)` appends its fields, `read(src)` takes them.
Dataclasses name the wire of each attribute with `Annotated` (see the aliases at the end), so that one declaration
serves both directions.

Invariants:
1. Whatever the bytes are, reading gives a value or raises `DecodeError`; nothing else, and at bounded cost.
2. A value is never NaN or infinite, unless its wire says so (`OFFSET`).
3. No text with a NUL in it is written: it would become two fields.
4. `None` is "unset". How it looks is the wire's choice: empty (what clients send) or TWS' sentinel numbers.

Known limit: what TWS does with a backslash in a text is not documented; it is doubled here, as the official client
decodes such texts with `unicode-escape` (ib-facts B.2).

Source: ib-facts B.2, A.8; ibapi 10.51 utils.decode, ib_insync 0.9.86 client.send.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, Protocol, TypeVar

from shared.errors import DecodeError

UNSET_INT = 2**31 - 1
UNSET_LONG = 2**63 - 1
UNSET_DOUBLE = 1.7976931348623157e308
UNSET_DOUBLE_TEXT = "1.7976931348623157E308"
"""As TWS, a Java program, prints the largest double."""
INFINITE = Decimal("Infinity")
MAX_FIELDS = 200_000
"""More fields than this make no message we know; a frame of 16 MB of NULs would cost 100 MB otherwise."""

_UNSET_INTS = frozenset({"", "2147483647", "9223372036854775807", "-2147483648", "-9223372036854775808"})
_UNSET_NUMBERS = _UNSET_INTS | {
    UNSET_DOUBLE_TEXT,
    "1.7976931348623157E+308",
    "1.7976931348623157e+308",
    "1.7976931348623157e308",
    str(2**127 - 1),  # UNSET_DECIMAL of the official client
}
_INT = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")
_ESCAPE = re.compile(r"\\(?:\\|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))")
_MAX_EXPONENT = 40
_FRACTIONAL_SIZES = 163
_SHORT = ("", *"0123456789", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

T = TypeVar("T")


class Writer:
    """Collect the fields of one message; `payload()` is the frame's content."""

    __slots__ = ("ascii7", "parts", "version")

    def __init__(self, version: int, *, ascii7: bool = False) -> None:
        """`ascii7` escapes what is not ASCII, as TWS does towards clients from version 153."""
        self.version = version
        self.ascii7 = ascii7
        self.parts: list[str] = []

    def text(self, text: str) -> None:
        """Append a text field.

        Raises:
            ValueError: the text contains a NUL.
        """
        if self.ascii7 and not (text.isascii() and "\\" not in text):
            text = escape_ascii7(text)
        if "\0" in text:
            raise ValueError(f"a text field cannot contain NUL: {text[:40]!r}")
        self.parts.append(text)

    def raw(self, text: str) -> None:
        """Append a field known to be plain ASCII, such as a number."""
        self.parts.append(text)

    def payload(self) -> bytes:
        """Return the fields, each terminated by NUL."""
        return ("\0".join(self.parts) + "\0").encode() if self.parts else b""


class Reader:
    """Take the fields of one message in order; every failure is a `DecodeError` that names the field."""

    __slots__ = ("_unescape", "label", "position", "texts", "version")

    def __init__(self, payload: bytes, version: int, *, unescape: bool = False) -> None:
        """Split a frame's payload.

        Raises:
            DecodeError: no final NUL, too many fields, or not UTF-8.
        """
        self.version = version
        self.position = 0
        self.label = "message id"
        self._unescape = unescape
        self.texts = split_fields(payload)
        """The fields; what was taken is before `position`."""

    @property
    def remaining(self) -> int:
        """Number of fields not yet taken."""
        return len(self.texts) - self.position

    def take(self) -> str:
        """Return the next field as it stands on the wire.

        Raises:
            DecodeError: the message ends here.
        """
        if self.position >= len(self.texts):
            raise DecodeError(f"the message ends before field {self.position} ({self.label})")
        text = self.texts[self.position]
        self.position += 1
        return text

    def text(self) -> str:
        """Return the next field as text, escapes undone if this reader does that."""
        text = self.take()
        return unescape_ascii7(text) if self._unescape and "\\" in text else text

    def finish(self) -> None:
        """Check that nothing is left over.

        Raises:
            DecodeError: there are surplus fields; a message that is longer than its layout means something else.
        """
        if self.remaining:
            raise DecodeError(f"{self.remaining} fields too many, from field {self.position}: {self.peek()[:40]!r}")

    def peek(self, ahead: int = 0) -> str:
        """Return the next field, or one `ahead` of it, without taking it; an empty text beyond the end."""
        return self.texts[self.position + ahead] if self.remaining > ahead else ""

    def untake(self) -> None:
        """Give back the field that was taken last."""
        self.position -= 1


def split_fields(payload: bytes) -> list[str]:
    """Split a frame's payload into its fields.

    Raises:
        DecodeError: no final NUL, more than `MAX_FIELDS` fields, or not UTF-8.
    """
    if not payload.endswith(b"\0"):
        raise DecodeError("the message does not end with NUL" if payload else "the message is empty")
    if payload.count(b"\0") > MAX_FIELDS:
        raise DecodeError(f"the message has more than {MAX_FIELDS} fields")
    try:
        return payload[:-1].decode().split("\0")
    except UnicodeDecodeError as e:
        raise DecodeError(f"the message is not UTF-8 at byte {e.start}") from e


def escape_ascii7(text: str) -> str:
    r"""Return the text in ASCII: other characters as `\uXXXX`, a backslash doubled.

    Characters beyond the basic plane become `\UXXXXXXXX`, which Python's clients decode; Java's pairs of surrogates
    would leave them with half characters that cannot be logged.
    """
    return "".join(
        c
        if c != "\\" and c < "\x80"
        else "\\\\"
        if c == "\\"
        else f"\\u{ord(c):04x}"
        if c <= "\uffff"
        else f"\\U{ord(c):08x}"
        for c in text
    )


def unescape_ascii7(text: str) -> str:
    """Undo `escape_ascii7`; an unknown escape stays as it is.

    Raises:
        DecodeError: an escape names no character.
    """

    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        return chr(int(code, 16)) if code else "\\"

    try:
        plain = _ESCAPE.sub(character, text)
        return plain.encode("utf-16", "surrogatepass").decode("utf-16")  # joins Java's surrogate pairs
    except (ValueError, OverflowError) as e:
        raise DecodeError(f"an escape names no character in {text[:40]!r}") from e


class Wire(Protocol[T]):
    """How one value looks on the wire."""

    def write(self, out: Writer, value: T) -> None:
        """Append the value's fields."""

    def read(self, src: Reader) -> T:
        """Take the value's fields; raises `DecodeError`."""


@dataclass(frozen=True, slots=True)
class Scalar(Generic[T]):
    """A value of one field. `parse` and `show` raise ValueError for what is not `what`."""

    what: str
    parse: Callable[[str], T]
    show: Callable[[T], str]

    def write(self, out: Writer, value: T) -> None:
        """Append the value."""
        out.parts.append(self.show(value))

    def read(self, src: Reader) -> T:
        """Take the value."""
        text = src.take()
        try:
            return self.parse(text)
        except (ValueError, ArithmeticError) as e:
            raise DecodeError(f"field {src.position - 1} ({src.label}) is {text[:40]!r}, not {self.what}") from e


class _Text:
    def write(self, out: Writer, value: str) -> None:
        out.text(value)

    def read(self, src: Reader) -> str:
        return src.text()


TEXT: Wire[str] = _Text()
Text = Annotated[str, TEXT]


@dataclass(frozen=True, slots=True)
class TagValue:
    """One named parameter, such as an algo's."""

    tag: Text
    value: Text


def short_values(wire: Wire[Any]) -> dict[str, Any] | None:
    """Return what a wire of one field makes of the texts that most fields have: nothing, or one character.

    None for a wire of more than one field.
    """
    if wire is TEXT:
        return {text: text for text in _SHORT}
    if not isinstance(wire, Scalar):
        return None
    values = {}
    for text in _SHORT:
        with suppress(ValueError, ArithmeticError):
            values[text] = wire.parse(text)
    return values


class _Shares:
    """A count of shares or contracts: with decimals from 163 only, since the clients before read a whole number."""

    def write(self, out: Writer, value: float) -> None:
        out.parts.append(_show_size(value if out.version >= _FRACTIONAL_SIZES else int(value)))

    def read(self, src: Reader) -> float:
        return SIZE.read(src)


class _TagString:
    """`tag=value;` repeated, in one field; a piece without `=` is a tag with an empty value."""

    def write(self, out: Writer, value: tuple[TagValue, ...]) -> None:
        out.text("".join(f"{pair.tag}={pair.value};" for pair in value))

    def read(self, src: Reader) -> tuple[TagValue, ...]:
        pieces = (piece.partition("=") for piece in src.text().split(";") if piece)
        return tuple(TagValue(tag, value) for tag, _, value in pieces)


class _TrailingOptions(_TagString):
    """Options at the end of a message: alone from the official client, after their count from ib_insync."""

    def read(self, src: Reader) -> tuple[TagValue, ...]:
        if src.remaining > 1:
            INT.read(src)
        return super().read(src)


@dataclass(frozen=True, slots=True)
class Many(Generic[T]):
    """A count, then that many values."""

    item: Wire[T]

    def write(self, out: Writer, value: tuple[T, ...]) -> None:
        """Append count and items."""
        out.raw(str(len(value)))
        for item in value:
            self.item.write(out, item)

    def read(self, src: Reader) -> tuple[T, ...]:
        """Take count and items; a count larger than the fields left is refused before anything is built."""
        count = INT.read(src)
        if not 0 <= count <= src.remaining:
            raise DecodeError(
                f"field {src.position - 1} ({src.label}) counts {count} items, {src.remaining} fields follow"
            )
        return tuple(self.item.read(src) for _ in range(count))


@dataclass(frozen=True, slots=True)
class Gate:
    """Put beside a wire in `Annotated`: the field exists from server version `since` to before `until`."""

    since: int = 0
    until: int = 1 << 30


def _parse_int(text: str) -> int:
    if not text:
        return 0
    if not _INT.fullmatch(text):
        raise ValueError(text)
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return number


def _parse_opt_int(text: str) -> int | None:
    return None if text in _UNSET_INTS else _parse_int(text)


def _parse_bool(text: str) -> bool:
    if text in ("", "0"):
        return False
    if text == "1":
        return True
    raise ValueError(text)


def _parse_opt_bool(text: str) -> bool | None:
    return None if text in _UNSET_INTS else _parse_bool(text)


def _parse_float(text: str) -> float:
    if not text:
        return 0.0
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def _parse_opt_float(text: str) -> float | None:
    return None if text in _UNSET_NUMBERS else _parse_float(text)


def _parse_unset_zero_float(text: str) -> float:
    return 0.0 if text in _UNSET_NUMBERS else _parse_float(text)


def _parse_decimal(text: str) -> Decimal:
    if not text:
        return Decimal(0)
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = Decimal(text)
    if number and abs(number.adjusted()) > _MAX_EXPONENT:  # "1e999999" would print as a million digits
        raise ValueError(text)
    return number


def _parse_opt_decimal(text: str) -> Decimal | None:
    return None if text in _UNSET_NUMBERS else _parse_decimal(text)


def _parse_zero_decimal(text: str) -> Decimal | None:
    return _parse_opt_decimal(text) or None


def _parse_offset(text: str) -> Decimal | None:
    return INFINITE if text in ("Infinity", "Infinite") else _parse_opt_decimal(text)


def _show_bool(value: bool) -> str:  # noqa: FBT001 -- the value itself
    return "1" if value else "0"


def _show_float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{value!r} cannot be sent")
    return repr(float(value))


def _show_size(value: float) -> str:
    return str(int(value)) if value == value and -1e15 < value < 1e15 and value == int(value) else _show_float(value)


def _show_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value!r} cannot be sent")
    return format(value, "f")


def _or(unset: str, show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: unset if value is None else show(value)


INT: Scalar[int] = Scalar("a whole number", _parse_int, str)
OPT_INT: Scalar[int | None] = Scalar("a whole number", _parse_opt_int, _or("", str))
MAX_INT: Scalar[int | None] = Scalar("a whole number", _parse_opt_int, _or(str(UNSET_INT), str))
MAX_LONG: Scalar[int | None] = Scalar("a whole number", _parse_opt_int, _or(str(UNSET_LONG), str))
BOOL: Scalar[bool] = Scalar("0 or 1", _parse_bool, _show_bool)
OPT_BOOL: Scalar[bool | None] = Scalar("0 or 1", _parse_opt_bool, _or("", _show_bool))
FLOAT: Scalar[float] = Scalar("a number", _parse_float, _show_float)
SIZE: Scalar[float] = Scalar("a number", _parse_unset_zero_float, _show_size)
OPT_FLOAT: Scalar[float | None] = Scalar("a number", _parse_opt_float, _or("", _show_float))
MAX_FLOAT: Scalar[float | None] = Scalar("a number", _parse_opt_float, _or(UNSET_DOUBLE_TEXT, _show_float))
DECIMAL: Scalar[Decimal] = Scalar("a decimal number", _parse_decimal, _show_decimal)
OPT_DECIMAL: Scalar[Decimal | None] = Scalar("a decimal number", _parse_opt_decimal, _or("", _show_decimal))
MAX_DECIMAL: Scalar[Decimal | None] = Scalar(
    "a decimal number", _parse_opt_decimal, _or(UNSET_DOUBLE_TEXT, _show_decimal)
)
ZERO_DECIMAL: Scalar[Decimal | None] = Scalar("a decimal number", _parse_zero_decimal, _or("0.0", _show_decimal))
"""A price that TWS prints as 0.0 where the order has none (ib-facts A.8); zero reads as unset."""
OFFSET: Scalar[Decimal | None] = Scalar(
    "a decimal number or Infinity",
    _parse_offset,
    _or("", lambda value: "Infinity" if value == INFINITE else _show_decimal(value)),
)
SHARES: Wire[float] = _Shares()
TAG_STRING: Wire[tuple[TagValue, ...]] = _TagString()
TRAILING_OPTIONS: Wire[tuple[TagValue, ...]] = _TrailingOptions()

Int = Annotated[int, INT]
OptInt = Annotated[int | None, OPT_INT]
MaxInt = Annotated[int | None, MAX_INT]
MaxLong = Annotated[int | None, MAX_LONG]
Bool = Annotated[bool, BOOL]
OptBool = Annotated[bool | None, OPT_BOOL]
Float = Annotated[float, FLOAT]
"""Printed with its point, as TWS prints prices."""
Size = Annotated[float, SIZE]
"""A number printed without `.0` where it is whole; unset reads as 0."""
Shares = Annotated[float, SHARES]
OptFloat = Annotated[float | None, OPT_FLOAT]
MaxFloat = Annotated[float | None, MAX_FLOAT]
Quantity = Annotated[Decimal, DECIMAL]
OptDecimal = Annotated[Decimal | None, OPT_DECIMAL]
MaxDecimal = Annotated[Decimal | None, MAX_DECIMAL]
TrailingOptions = Annotated[tuple[TagValue, ...], TRAILING_OPTIONS]
TagString = Annotated[tuple[TagValue, ...], TAG_STRING]
