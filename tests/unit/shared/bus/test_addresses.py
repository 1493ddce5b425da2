from __future__ import annotations

import pytest

from shared.bus.addresses import Kind, parse_address
from shared.errors import ConfigError


def test_one_server_keeps_its_url_and_shows_no_secret() -> None:
    found = parse_address("rediss://risk:secret@redis.example:6380/2")
    assert (found.kind, found.nodes, found.db, found.is_tls) == (Kind.SINGLE, (("redis.example", 6380),), 2, True)
    assert found.text == "redis.example:6380" and "secret" not in repr(found)
    assert parse_address("redis://").nodes == (("127.0.0.1", 6379),)
    assert parse_address("unix:///run/redis.sock?db=1").kind is Kind.SINGLE


def test_sentinels_a_master_and_both_logins() -> None:
    url = "redis+sentinel://risk:p%40ss%3A%2F@one:26380,two,[::1]:26381/orders/3?sentinel_user=s&sentinel_password=%3F"
    found = parse_address(url)
    assert found.kind is Kind.SENTINEL and found.nodes == (("one", 26380), ("two", 26379), ("::1", 26381))
    assert (found.master, found.db, found.user, found.password) == ("orders", 3, "risk", "p@ss:/")
    assert (found.sentinel_user, found.sentinel_password) == ("s", "?")
    assert found.text == "one:26380,two:26379,::1:26381/orders"


def test_a_cluster_is_its_first_nodes() -> None:
    found = parse_address("redis+cluster://u:p@a:7000,b:7001")
    assert (found.kind, found.nodes, found.user) == (Kind.CLUSTER, (("a", 7000), ("b", 7001)), "u")


@pytest.mark.parametrize(
    "url, complaint",
    [
        ("127.0.0.1:6379", "no scheme"),
        ("http://h/0", "scheme is 'http'"),
        ("redis+sentinel://h:1", "name of the master is missing"),
        ("redis+sentinel://h:1,/m", "host is empty"),
        ("redis+sentinel://h:x/m", "port is no number"),
        ("redis+sentinel://h:1/m/x", "database is no number"),
        ("redis+sentinel://h:1/m?master=m", "the options are sentinel_password"),
        ("redis+cluster://h:1/4", "database 0 only"),
        ("redis://a:1,b:2", "one host"),
        ("redis://h:99999", "no port 99999"),
    ],
)
def test_what_is_no_address_is_one_sentence_with_the_syntax(url: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url, variable="REDIS_TICKS_URL")
    text = str(caught.value)
    assert complaint in text and text.startswith("REDIS_TICKS_URL") and "redis+sentinel://" in text


@pytest.mark.parametrize(
    "url", ["redis+sentinel://risk:secret@h:1", "redis://risk:se/cret@h/0", "redis+cluster://risk:se?secret@h"]
)
def test_a_mistake_never_shows_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(url)
    assert "cret" not in str(caught.value)
