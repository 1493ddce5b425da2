from __future__ import annotations

from xml.etree import ElementTree

from tests.chaos.timeline import Bar, draw, per_second


def test_events_are_counted_into_seconds_and_what_lies_outside_is_left_out() -> None:
    assert per_second([-1.0, 0.1, 0.9, 2.0, 7.0], 3) == [2, 0, 1]


def test_the_picture_is_well_formed_and_shows_each_bar_with_its_words() -> None:
    faults = [Bar("redis", 1.0, 4.0, "redis_kill <down>"), Bar("broker", 2.0, 2.0, "cut")]
    text = draw(60.0, faults, [Bar("ready", 0.0, 1.0, "gateway-1")], {"orders": [0.5, 0.6, 3.0]})
    root = ElementTree.fromstring(text)
    titles = [one.text for one in root.iter() if one.tag.endswith("title")]
    assert titles == [
        "0.0 s to 1.0 s: gateway-1",
        "1.0 s to 4.0 s: redis_kill <down>",
        "2.0 s to 2.0 s: cut",
    ]
    words = [one.text for one in root.iter() if one.tag.endswith("text")]
    assert {"READY", "redis", "broker", "orders/s"} <= set(words)
    assert "gateway" not in words, "a place where nothing went wrong has no lane"


def test_a_moment_is_drawn_wide_enough_to_be_seen() -> None:
    root = ElementTree.fromstring(draw(3600.0, [Bar("broker", 5.0, 5.0, "cut")], [], {}))
    widths = [
        float(one.attrib["width"])
        for one in root.iter()
        if one.find("./{*}title") is not None and "width" in one.attrib
    ]
    assert widths == [2.0]
