from __future__ import annotations

from services.simulator.core.sessions import Sessions


def test_a_client_id_has_one_session_at_a_time() -> None:
    sessions = Sessions()
    one, two = sessions.open(1, 176, 0, ""), sessions.open(2, 176, 0, "")
    assert sessions.start(one, 5, 0) and not sessions.start(two, 5, 0)
    sessions.close(2)
    assert sessions.by_client == {5: 1}
    sessions.close(1)
    assert sessions.by_client == {} and sessions.close(1) is None


def test_a_stuck_id_is_free_after_its_time() -> None:
    sessions = Sessions()
    sessions.stuck_clients[5] = 100
    entry = sessions.open(1, 176, 0, "")
    assert not sessions.start(entry, 5, 99) and sessions.start(entry, 5, 100)


def test_order_ids_only_grow() -> None:
    sessions = Sessions()
    for used in (5, 3, 9):
        sessions.use_order_id(1, used)
    assert (sessions.next_order_id(1), sessions.next_order_id(2)) == (10, 1)


def test_who_sees_an_order() -> None:
    sessions = Sessions()
    for session, client_id in ((1, 0), (2, 7), (3, 9)):
        sessions.start(sessions.open(session, 176, 0, ""), client_id, 0)
    assert sessions.watchers(7, None) == [2]
    assert sessions.watchers(7, 9) == [2, 3]
    assert sessions.watchers(9, 9) == [3]
    assert sessions.watchers(50, None, is_manual=True) == [1]
    assert sessions.sees_all(9, 9) and not sessions.sees_all(7, 9) and not sessions.sees_all(0, None)
