"""The broker's known windows: where we are, and what is refused."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.gateway.core.windows import NS_PER_S, Windows, parse_windows, spells
from services.gateway.settings import IB_WINDOWS
from shared.errors import ConfigError
from shared.messages.control import WindowPhase

NEW_YORK = ZoneInfo("America/New_York")
RESET = "reset Sun-Fri 00:15-01:45 America/New_York"


def at(text: str) -> int:
    """Return a New York time as wall ns."""
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()) * NS_PER_S


def windows(text: str = RESET, *, began: str = "2026-11-01 12:00") -> Windows:
    return Windows(parse_windows(text), lead_s=60, grace_s=120, began_ns=at(began))


@pytest.mark.parametrize(
    "moment, phase",
    [
        ("2026-11-24 00:13:59", WindowPhase.CLEAR),
        ("2026-11-24 00:14:00", WindowPhase.NEAR),
        ("2026-11-24 00:15:00", WindowPhase.WITHIN),
        ("2026-11-24 01:44:59", WindowPhase.WITHIN),
        ("2026-11-24 01:45:00", WindowPhase.CLEAR),
        ("2026-11-28 00:30:00", WindowPhase.CLEAR),  # a Saturday
    ],
)
def test_what_adds_exposure_is_refused_from_shortly_before_to_the_end(moment: str, phase: WindowPhase) -> None:
    watched = windows()
    assert watched.look(at(moment), is_ready=True).phase is phase
    assert bool(watched.refusal(at(moment))) == (phase is not WindowPhase.CLEAR)


def test_the_refusal_names_the_window_and_its_end() -> None:
    assert windows().refusal(at("2026-11-24 00:30")) == "window reset, Tue 05:15 to Tue 06:45 UTC"


def test_a_window_over_midnight_ends_on_the_next_day() -> None:
    watched = windows("weekend Fri 23:00-03:00 America/New_York")
    assert watched.look(at("2026-11-28 02:59"), is_ready=True).phase is WindowPhase.WITHIN
    assert watched.look(at("2026-11-29 02:59"), is_ready=True).phase is WindowPhase.CLEAR


def test_windows_that_overlap_are_one() -> None:
    (spell,) = [
        each
        for each in spells(parse_windows(f"{RESET}; login Sun 01:00-02:00 America/New_York"), at("2026-11-22 01:30"))
        if each.opens_ns <= at("2026-11-22 01:30") < each.closes_ns
    ]
    assert (spell.name, spell.opens_ns, spell.closes_ns) == (
        "reset+login", at("2026-11-22 00:15"), at("2026-11-22 02:00"),
    )  # fmt: skip


def test_summer_time_moves_with_the_zone() -> None:
    for day in ("2026-03-06", "2026-03-09", "2026-10-30", "2026-11-03"):
        assert windows().look(at(f"{day} 00:20"), is_ready=True).phase is WindowPhase.WITHIN


def test_a_link_that_does_not_come_back_outlives_the_window_until_it_does() -> None:
    watched = windows()
    watched.look(at("2026-11-24 00:20"), is_ready=True)
    assert watched.look(at("2026-11-24 01:46:59"), is_ready=False).phase is WindowPhase.CLEAR
    late = watched.look(at("2026-11-24 01:47:00"), is_ready=False)
    assert late.phase is WindowPhase.OUTLIVED and late.spell is not None and late.spell.name == "reset"
    assert watched.look(at("2026-11-24 01:48:00"), is_ready=True).phase is WindowPhase.CLEAR
    assert watched.look(at("2026-11-24 09:00:00"), is_ready=False).phase is WindowPhase.CLEAR, "another outage"


def test_what_ended_before_we_began_is_not_held_against_the_link() -> None:
    watched = windows(began="2026-11-24 09:00")
    assert watched.look(at("2026-11-24 09:30"), is_ready=False).phase is WindowPhase.CLEAR


def test_the_next_weeks_are_known_too() -> None:
    watched = windows()
    for day in range(1, 28):
        moment = f"2026-11-{day:02} 00:20"
        expected = WindowPhase.CLEAR if datetime.fromisoformat(moment).weekday() == 5 else WindowPhase.WITHIN
        assert watched.look(at(moment), is_ready=True).phase is expected, moment


def test_the_windows_of_ib_can_be_read_and_leave_the_session_free() -> None:
    watched = windows(IB_WINDOWS)
    assert watched.look(at("2026-11-24 09:30"), is_ready=True).phase is WindowPhase.CLEAR
    assert watched.look(at("2026-11-24 23:46"), is_ready=True).phase is WindowPhase.WITHIN
    assert parse_windows("none") == () == parse_windows("")
    assert windows("none").look(at("2026-11-24 00:30"), is_ready=True).phase is WindowPhase.CLEAR


@pytest.mark.parametrize(
    "text",
    ["nightly", "reset Sun 00:15-01:45", "reset Xyz 00:15-01:45 UTC", "reset Sun 25:00-01:45 UTC",
     "reset Sun 00:15-01:45 Mars/Olympus"],
)  # fmt: skip
def test_a_mistake_is_named(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_windows(f"{RESET}; {text}; also wrong")
    assert len(caught.value.mistakes) == 2 and text in caught.value.mistakes[0]
