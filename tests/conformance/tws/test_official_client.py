"""The official Python client agrees with ours: its decoder takes our responses, our decoder takes its requests.

Its package name collides with nothing, but it is under another licence and not a dependency: install it apart,

    pip install --target .cache/peers/ibapi-latest ibapi-latest

and these tests run; without it they skip.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.tws import requests as q
from shared.tws import responses as r
from shared.tws.framing import FrameReader
from tests.conformance.tws.samples import RESPONSES

PEER = Path(os.environ.get("CQ_PEERS") or ".cache/peers").absolute() / "ibapi-latest"
VERSIONS = (157, 159, 160, 162, 163, 164, 166, 169, 170, 176, 177, 178)
CASES = [(version, message) for version in VERSIONS for message in RESPONSES]

pytestmark = pytest.mark.skipif(not PEER.is_dir(), reason=f"{PEER} is not there; see this file's first lines")


@pytest.fixture(scope="module")
def answers() -> list[Any]:
    lines = "".join(f"{version} {r.encode_response(message, version).hex()}\n" for version, message in CASES)
    script = Path(__file__).with_name("ask_official_client.py")
    done = subprocess.run(
        [sys.executable, str(script)], input=lines, capture_output=True, text=True, timeout=50,
        env={"PYTHONPATH": str(PEER), "PATH": os.environ["PATH"]}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_its_strict_decoder_takes_every_response(answers):
    complaints = []
    for (version, message), (calls, texts) in zip(CASES, answers, strict=False):
        if isinstance(message, r.FundamentalData):
            continue  # removed from this client
        if texts or not calls or any(name == "error" for name in calls) != isinstance(message, r.ErrorMessage):
            complaints.append((version, type(message).__name__, calls, texts))
    assert not complaints, complaints[:5]


def test_its_requests_are_used_up_exactly(answers):
    sent = answers[len(CASES) :]
    assert len(sent) > 300
    for name, version, frame in sent:
        (payload,) = FrameReader().receive_data(bytes.fromhex(frame))
        request = q.decode_request(payload, version)
        assert q.decode_request(q.encode_request(request, version), version) == request, name
