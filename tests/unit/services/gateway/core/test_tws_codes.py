from __future__ import annotations

import pytest

from services.gateway.core.tws_codes import CodeKind, CodeTable, OrderEffect, read_codes
from shared.errors import ConfigError


@pytest.mark.parametrize("code", [399, 404, 2109, 10349, 10167, 2137])
def test_informational_codes_leave_the_order_alive(code: int) -> None:
    assert CodeTable().look_up(code).order is OrderEffect.ALIVE


@pytest.mark.parametrize(
    "code, effect",
    [
        (201, OrderEffect.DEAD), (202, OrderEffect.CANCELLED), (110, OrderEffect.ORIGINAL), (10147, OrderEffect.GONE),
        (10148, OrderEffect.GONE), (10328, OrderEffect.ASK), (103, OrderEffect.DEAD), (321, OrderEffect.ORIGINAL),
    ],
)  # fmt: skip
def test_what_a_code_does_to_an_order(code: int, effect: OrderEffect) -> None:
    assert CodeTable().look_up(code).order is effect


def test_a_code_nobody_listed_changes_nothing_and_asks() -> None:
    assert CodeTable().look_up(98765).order is OrderEffect.ASK
    assert CodeTable().look_up(2199).kind is CodeKind.INFO


def test_a_user_extends_and_overrides_the_table() -> None:
    text = '[codes.98765]\nkind = "order"\norder = "dead"\n[codes.201]\norder = "alive"\ntext = "ours"\n'
    table = CodeTable(read_codes(text, source="codes.toml"))
    assert table.look_up(98765).order is OrderEffect.DEAD
    assert table.look_up(201).order is OrderEffect.ALIVE
    assert table.look_up(201).text == "ours"


def test_every_mistake_of_the_file_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_codes('[codes.x]\n[codes.7]\nkind = "nonsense"\n', source="codes.toml")
    assert len(caught.value.mistakes) == 2
    with pytest.raises(ConfigError):
        read_codes("[codes", source="codes.toml")
