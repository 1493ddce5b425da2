from __future__ import annotations

import pytest

from shared.errors import InvariantBroken
from shared.metrics import CATALOGUE, counter, gauge


@pytest.mark.parametrize("name", ["orders_total", "cq_orders", "cq_Orders_total", "cq_latency_ms"])
def test_a_name_without_our_prefix_or_a_unit_is_a_bug(name: str) -> None:
    with pytest.raises(InvariantBroken, match="must look like"):
        counter(name, "text")


def test_a_metric_is_declared_once_and_listed() -> None:
    gauge("cq_only_for_this_test_ratio", "text", ["role"])
    assert CATALOGUE["cq_only_for_this_test_ratio"].labels == ("role",)
    with pytest.raises(InvariantBroken, match="twice"):
        gauge("cq_only_for_this_test_ratio", "text")
