from __future__ import annotations

from services.gateway.core.link import Link, LinkAct
from shared.messages.control import LinkState

S = 1_000_000_000


def state(link: Link) -> LinkState:
    return link.state


def ready() -> Link:
    link = Link()
    link.connected(0)
    link.synced()
    return link


def test_from_down_to_ready() -> None:
    link = Link()
    assert state(link) is LinkState.DOWN and not link.is_undisturbed
    link.connected(0)
    assert state(link) is LinkState.RECONCILING
    link.synced()
    assert state(link) is LinkState.READY and not link.reason


def test_lost_connectivity_degrades_and_its_return_asks_again() -> None:
    link = ready()
    assert link.told(1100, "lost") == []
    assert state(link) is LinkState.DEGRADED and not link.is_undisturbed
    assert link.told(1102, "back") == [LinkAct.RECONCILE, LinkAct.LISTEN]
    assert state(link) is LinkState.READY
    link.told(1100, "lost")
    assert link.told(1101, "back, data lost") == [LinkAct.RECONCILE, LinkAct.RESUBSCRIBE]


def test_silence_during_an_outage_does_not_take_its_reason_away() -> None:
    link = ready()
    link.told(2110, "lost")
    link.tick(6 * S)
    assert (link.code, state(link)) == (0, LinkState.DEGRADED) and "does not answer" in link.reason
    link.heard(7 * S)
    assert (link.reason, link.code, state(link)) == ("lost", 2110, LinkState.DEGRADED)
    link.tick(13 * S)
    link.told(2104, "OK:usfarm")
    link.heard(14 * S)
    assert (link.reason, state(link)) == ("", LinkState.READY), "it heals, silent or not"


def test_an_outage_told_while_connecting_is_not_forgotten() -> None:
    # Simulation, seed 5546: an order that TWS held was declared not sent by a session that began during the outage.
    link = Link()
    link.dialing()
    link.told(1100, "lost")
    link.connected(0)
    link.synced()
    assert state(link) is LinkState.DEGRADED and not link.is_undisturbed and link.code == 1100
    assert link.told(1102, "back") == [LinkAct.RECONCILE, LinkAct.LISTEN] and link.is_undisturbed


def test_an_outage_of_the_last_session_says_nothing_of_the_next() -> None:
    link = ready()
    link.told(1100, "lost")
    link.closed("gone")
    link.dialing()
    link.connected(0)
    assert state(link) is LinkState.RECONCILING and link.is_undisturbed


def test_2110_heals_with_the_next_good_farm() -> None:
    link = ready()
    link.told(2110, "broken")
    assert state(link) is LinkState.DEGRADED
    acts = link.told(2104, "Market data farm connection is OK:usfarm")
    assert acts == [LinkAct.SHOW_FARM, LinkAct.RECONCILE, LinkAct.LISTEN]
    assert state(link) is LinkState.READY


def test_a_broken_farm_does_not_stop_orders_is_shown_and_its_return_resubscribes() -> None:
    link = ready()
    assert link.told(2103, "broken:usfarm") == [LinkAct.SHOW_FARM]
    assert link.farm is not None and link.farm.name == "usfarm"
    assert state(link) is LinkState.READY and link.farms.broken == ["usfarm"]
    assert link.told(2104, "OK:usfarm") == [LinkAct.SHOW_FARM, LinkAct.RESUBSCRIBE]
    assert link.told(2104, "OK:usfarm") == []


def test_a_farm_of_history_that_comes_back_costs_no_subscription() -> None:
    link = ready()
    link.told(2105, "broken:ushmds")
    assert link.told(2106, "OK:ushmds") == [LinkAct.SHOW_FARM]


def test_silence_is_asked_about_then_shown_then_given_up() -> None:
    link = ready()
    assert link.tick(2 * S) == []
    assert link.tick(3 * S) == [LinkAct.PROBE]
    assert link.tick(6 * S) == [LinkAct.PROBE] and state(link) is LinkState.DEGRADED
    link.heard(7 * S)
    assert state(link) is LinkState.READY
    assert link.tick(16 * S) == [LinkAct.CLOSE]


def test_a_closed_link_backs_off_with_jitter_and_starts_over_after_success() -> None:
    link = ready()
    waits = []
    for _ in range(10):
        link.closed("gone")
        waits.append(link.retry_in_s(0.0))
    assert waits[0] == 0.05 and waits[-1] == 2.5 and waits == sorted(waits)
    assert link.retry_in_s(0.999) <= 5.0
    link.connected(0)
    link.synced()
    link.closed("gone")
    assert link.retry_in_s(0.0) == 0.05


def test_asking_again_leaves_ready() -> None:
    link = ready()
    link.asking()
    assert state(link) is LinkState.RECONCILING
