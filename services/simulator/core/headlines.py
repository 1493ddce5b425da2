"""Make up headlines: one per instrument and weekday at 14:00 UTC, the same on every run, none that could be true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.simulator.core.chance import hash_unit
from services.simulator.core.contracts import Instrument
from services.simulator.core.market import NS_PER_S

PROVIDERS = (("BRFG", "Briefing.com General Market Columns"), ("DJNL", "Dow Jones Newsletters"))
_DAYS_BACK = 400
_TEXTS = (
    "{name}: a quiet session in the simulator", "{name}: analysts of the simulator see no change",
    "{name}: volume above its simulated average", "{name}: simulated guidance repeated",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Headline:
    """One headline; `at_ns` is when it came out."""

    at_ns: int
    provider: str
    article_id: str
    text: str


def headlines(instrument: Instrument, until_ns: int) -> Iterator[Headline]:
    """Yield the headlines of a contract up to a time, newest first."""
    day = datetime.fromtimestamp(until_ns // NS_PER_S, UTC).replace(hour=14, minute=0, second=0)
    for back in range(_DAYS_BACK):
        at = day - timedelta(days=back)
        at_ns = int(at.timestamp()) * NS_PER_S
        if at.weekday() >= 5 or at_ns > until_ns:
            continue
        unit = hash_unit(instrument.con_id, at_ns // NS_PER_S)
        provider = PROVIDERS[int(unit * len(PROVIDERS))][0]
        text = _TEXTS[int(unit * 97) % len(_TEXTS)].format(name=instrument.symbol)
        yield Headline(at_ns, provider, f"{provider}${instrument.con_id}-{at:%Y%m%d}", text)
