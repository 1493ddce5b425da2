"""Recognise what happened to a position without an execution: splits, symbols that change, options that end.

IB tells none of these by a message of its own: a position and its average cost are simply other ones (ib-facts A.3).
What can be told from that with certainty gets a name here; everything else stays `unexplained` and goes to a person.

Invariants:
1. A name is given only where quantity *and* a second sign agree: the cost per share in a split, the shares at the
   strike for an option, the same quantity and cost under another conId, the last trading day of what expired.
2. What is recognised explains the differences of its contracts to the last share; a rest is not explained away.
3. The same lines give the same answer, in the order of their conIds.

Known limits: a split on the day of further trades nobody showed us, spin-offs, and mergers for cash and shares are not
recognised; options that are adjusted after a split get a new conId and stay unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction

from shared.ids import UNASSIGNED
from shared.messages.account import JournalKind
from shared.money import ZERO

COST_TOLERANCE = Decimal("0.002")
"""How far two costs per share may differ, relatively, and count as the same: IB rounds them, and cuts fractions."""
LARGEST_RATIO = 200
"""The largest number in a split's ratio: 1:200 is the largest reverse split that is common."""


@dataclass(frozen=True, slots=True)
class ContractFacts:
    """What of a contract matters here; `average_cost` is what the broker shows now, per share (0: unknown)."""

    sec_type: str = ""
    symbol: str = ""
    average_cost: Decimal = ZERO
    strike: Decimal = ZERO
    right: str = ""
    multiplier: Decimal = Decimal(1)
    under_con_id: int = 0
    expiry: str = ""
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Line:
    """A difference that stands: what the books expect, what the broker shows, and the cost before (0: unknown)."""

    con_id: int
    expected: Decimal
    reported: Decimal
    cost_before: Decimal
    facts: ContractFacts
    shares: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def change(self) -> Decimal:
        """Return what the broker shows beyond the books."""
        return self.reported - self.expected


@dataclass(frozen=True, slots=True)
class Recognised:
    """What happened to one contract: `shares` is who holds how much of it now, `cash` what it brought or cost."""

    kind: JournalKind
    con_id: int
    change: Decimal
    shares: Mapping[str, Decimal]
    text: str
    cash: Decimal = ZERO
    currency: str = ""


def recognise(lines: Sequence[Line], today: str) -> list[Recognised]:
    """Return what happened to the contracts of these lines; those it says nothing of are not recognised.

    Args:
        lines: every difference that stands.
        today: the day at the broker, `yyyymmdd`.
    """
    left = {line.con_id: line for line in sorted(lines, key=lambda each: each.con_id)}
    found: list[Recognised] = []
    for rule in (_options, _conversions, _splits):
        events = rule(list(left.values()), today)
        found += events
        for event in events:
            left.pop(event.con_id, None)
    return found


# -- options


def _options(lines: Sequence[Line], today: str) -> list[Recognised]:
    """Return exercises and assignments with the shares they brought, and what expired without any."""
    found: list[Recognised] = []
    ended = [line for line in lines if line.facts.sec_type == "OPT" and _is_closing(line)]
    stocks = {line.con_id: line for line in lines if line.facts.sec_type == "STK"}
    unders = list(dict.fromkeys(line.facts.under_con_id for line in ended))
    for under in unders:
        family = [line for line in ended if line.facts.under_con_id == under]
        stock = stocks.get(under)
        if stock is None:
            found += [_expired(line) for line in family if not line.reported and "" < line.facts.expiry <= today]
            continue
        delivered = _delivering(family, stock.change, today)
        if delivered is None:
            continue
        found += [_ended(line) if line in delivered else _expired(line) for line in family]
        cash = sum((-_shares_of(line) * line.facts.strike for line in delivered), ZERO)
        held = dict(stock.shares)
        held[UNASSIGNED] = held.get(UNASSIGNED, ZERO) + stock.change
        kind = _kind_of(delivered[0])
        strikes = ", ".join(f"{_shares_of(line):+f} at {line.facts.strike}" for line in delivered)
        text = f"{kind}: {strikes}; the shares belong to nobody yet"
        found.append(Recognised(kind, under, stock.change, _without_zeros(held), text, cash, stock.facts.currency))
    return found


def _is_closing(line: Line) -> bool:
    return abs(line.reported) < abs(line.expected) and line.reported * line.expected >= ZERO


def _shares_of(line: Line) -> Decimal:
    """Return the shares that the options which ended bring: a call's holder and who is assigned a put get them."""
    sign = 1 if line.facts.right == "C" else -1
    return -line.change * sign * line.facts.multiplier


def _delivering(family: Sequence[Line], shares: Decimal, today: str) -> list[Line] | None:
    """Return which of the options brought exactly these shares, None if that is not certain.

    All of them, or all but those whose last day is over: an option out of the money ends then without any.
    """
    if sum((_shares_of(line) for line in family), ZERO) == shares:
        return list(family)
    can_expire = [line for line in family if not line.reported and "" < line.facts.expiry <= today]
    fits = [
        chosen
        for mask in range(1, 1 << min(len(can_expire), 8))
        if (chosen := _without(family, [line for at, line in enumerate(can_expire) if mask >> at & 1]))
        and sum((_shares_of(line) for line in chosen), ZERO) == shares
    ]
    return fits[0] if len(fits) == 1 else None


def _without(family: Sequence[Line], gone: Sequence[Line]) -> list[Line]:
    return [line for line in family if line not in gone]


def _kind_of(line: Line) -> JournalKind:
    return JournalKind.EXERCISE if line.expected > ZERO else JournalKind.ASSIGNMENT


def _ended(line: Line) -> Recognised:
    kind = _kind_of(line)
    text = f"{kind} of {abs(line.change):f}: {_shares_of(line):+f} shares at {line.facts.strike}"
    return Recognised(kind, line.con_id, line.change, _after_closing(line), text)


def _expired(line: Line) -> Recognised:
    text = f"{abs(line.change):f} ended on {line.facts.expiry} without shares"
    return Recognised(JournalKind.EXPIRY, line.con_id, line.change, _after_closing(line), text)


def _after_closing(line: Line) -> dict[str, Decimal]:
    """Take what ended from who holds that side: first what belongs to nobody, then by name."""
    held, left = dict(line.shares), abs(line.change)
    sign = 1 if line.expected > ZERO else -1
    for owner in sorted(held, key=lambda name: (name != UNASSIGNED, name)):
        taken = min(left, max(ZERO, held[owner] * sign))
        held[owner] -= taken * sign
        left -= taken
    return _without_zeros(held)


# -- stocks


def _conversions(lines: Sequence[Line], _: str) -> list[Recognised]:
    """Return positions that went over to another conId as they were."""
    found: list[Recognised] = []
    gone = [line for line in lines if line.expected and not line.reported and line.cost_before]
    come = [line for line in lines if line.reported and not line.expected and line.facts.average_cost]
    for old in gone:
        fits = [new for new in come if _is_same_holding(old, new)]
        rivals = [each for each in gone if fits and _is_same_holding(each, fits[0])]
        if len(fits) != 1 or len(rivals) != 1:
            continue
        new = fits[0]
        text = (
            f"{old.facts.symbol or old.con_id} became {new.facts.symbol or new.con_id} (#{old.con_id} to #{new.con_id})"
        )
        found.append(Recognised(JournalKind.SYMBOL_CHANGE, old.con_id, old.change, {}, text))
        found.append(Recognised(JournalKind.SYMBOL_CHANGE, new.con_id, new.change, dict(old.shares), text))
    return found


def _is_same_holding(old: Line, new: Line) -> bool:
    return (
        old.facts.sec_type in ("STK", "")
        and new.facts.sec_type == "STK"
        and new.reported == old.expected
        and _is_about(new.facts.average_cost, old.cost_before)
    )


def _splits(lines: Sequence[Line], _: str) -> list[Recognised]:
    """Return splits: quantity and cost per share moved by one simple ratio, in opposite directions."""
    found: list[Recognised] = []
    for line in lines:
        ratio = split_ratio(line)
        if ratio is None:
            continue
        held = {
            owner: (shares * ratio.numerator / ratio.denominator).to_integral_value(ROUND_DOWN)
            for owner, shares in line.shares.items()
        }
        rest = line.reported - sum(held.values(), ZERO)
        held[UNASSIGNED] = held.get(UNASSIGNED, ZERO) + rest
        text = f"split {ratio.numerator}:{ratio.denominator}: {line.expected:f} became {line.reported:f}"
        found.append(Recognised(JournalKind.SPLIT, line.con_id, line.change, _without_zeros(held), text))
    return found


def split_ratio(line: Line) -> Fraction | None:
    """Return the ratio in which a stock was split, None if it was not."""
    cost, before = line.facts.average_cost, line.cost_before
    if line.facts.sec_type != "STK" or cost <= ZERO or before <= ZERO or line.expected * line.reported <= ZERO:
        return None
    for ratio in _simple_fractions(before / cost):
        exact = line.expected * ratio.numerator / ratio.denominator
        if line.reported in (exact, exact.to_integral_value(ROUND_DOWN)):
            return ratio
    return None


def _simple_fractions(value: Decimal) -> Iterator[Fraction]:
    """Yield the fractions other than 1 that a number could be meant as, simplest first."""
    for denominator in range(1, LARGEST_RATIO + 1):
        numerator = int((value * denominator).to_integral_value())
        ratio = Fraction(numerator, denominator)
        if 0 < numerator <= LARGEST_RATIO and ratio != 1 and _is_about(Decimal(numerator) / denominator, value):
            yield ratio


def _is_about(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= COST_TOLERANCE * abs(other)


def _without_zeros(held: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {owner: quantity for owner, quantity in held.items() if quantity}
