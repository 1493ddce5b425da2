from __future__ import annotations

import pytest

from shared.tws.versions import negotiate


@pytest.mark.parametrize(
    "offer, cap, version",
    [
        ((157, 176), 176, 176),  # ib_insync
        ((157, 178), 176, 176),  # ib_async
        ((100, 226), 176, 176),  # ibapi 10.51
        ((100, 157), 176, 157),  # ibapi 9.81
        ((100, 158), 176, 157),  # 158 is never spoken
        ((157, 176), 158, 157),
        ((158, 158), 176, None),
        ((213, 221), 176, None),  # rust-ibapi 3 speaks protobuf only
        ((38, 150), 176, None),
        ((157, 178), 200, 178),  # ib_async, whatever the cap
        ((157, 176), 200, 176),
        ((100, 226), 200, 200),  # ibapi 10.51
        ((100, 193), 200, 193),  # @stoqey/ib
        ((100, 226), 226, 200),  # the codec's own limit: protobuf from 201
        ((100, 226), 188, 186),  # 187 to 189 are never spoken
        ((187, 189), 200, None),
        ((177, 178), 176, None),
    ],
)
def test_negotiation(offer, cap, version):
    assert negotiate(offer[0], offer[1], cap) == version
