"""The official client's requests are used up exactly by our decoder, at every server version that changes one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.tws import requests as q
from shared.tws.framing import FrameReader
from tests.conformance.peers import peer

VERSIONS = (157, 159, 160, 162, 163, 166, 169, 170, 176, 177, 178, 180, 183, 184, 186, 190, 192, 197, 199, 200)


@pytest.fixture(scope="module", params=["ibapi-latest", "ibapi-stable"])
def sent(request: pytest.FixtureRequest) -> list[Any]:
    script = Path(__file__).with_name("ask_official_client.py")
    done = subprocess.run(
        [sys.executable, str(script), *map(str, VERSIONS)], capture_output=True, text=True, timeout=50,
        env={"PYTHONPATH": str(peer(request.param)), "PATH": os.environ["PATH"]}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def decoded(version: int, frame: str) -> q.Request:
    (payload,) = FrameReader().receive_data(bytes.fromhex(frame))
    return q.decode_request(payload, version)


def test_its_requests_are_used_up_exactly(sent: list[Any]) -> None:
    assert len(sent) > 65 * len(VERSIONS)
    for name, version, frame in sent:
        request = decoded(version, frame)
        assert q.decode_request(q.encode_request(request, version), version) == request, (name, version)


def test_what_is_new_at_the_last_text_version_arrives(sent: list[Any]) -> None:
    requests = [decoded(version, frame) for _, version, frame in sent if version == 200]
    rich = next(each for each in requests if isinstance(each, q.PlaceOrder) and each.order_id == 8).order
    assert (rich.customer_account, rich.professional_customer, rich.include_overnight) == ("CUST", True, True)
    assert (rich.manual_order_indicator, rich.imbalance_only) == (1, True)
    days = [(each.last_n_days, each.specific_dates) for each in requests if isinstance(each, q.ReqExecutions)]
    assert days == [(None, ()), (3, (20261124, 20261125))]
    assert any(isinstance(each, q.ReqCurrentTimeInMillis) for each in requests)


def test_executions_without_the_version_field_are_read_too(sent: list[Any]) -> None:
    for name, version, frame in sent:
        if name == "reqExecutions" and version == 200:
            payload = bytes.fromhex(frame)[4:]
            without = payload.replace(b"7\x003\x00", b"7\x00", 1)
            assert without != payload
            assert q.decode_request(without, 200) == q.decode_request(payload, 200)
