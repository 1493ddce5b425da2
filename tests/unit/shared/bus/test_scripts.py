from __future__ import annotations

from importlib import resources

import pytest

from shared.bus.scripts import WITH_OOM, pack_entries, pack_entry, script

LUA = {
    path.name.removesuffix(".lua"): path.read_text()
    for path in (resources.files("shared.bus") / "lua").iterdir()
    if path.name.endswith(".lua")
}
SCRIPTS = sorted(set(LUA) - {"preamble", "cq_peek"})
UNFENCED = {
    "append",
    "set_hash",
    "lease_acquire",
    "lease_renew",
    "lease_release",
    "raise_fence",
    "publish_ticks",
    "backup",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_its_keys_arguments_and_answer(name: str) -> None:
    head = "".join(line for line in LUA[name].splitlines(keepends=True) if line.startswith("--"))
    assert "KEYS:" in head and "ARGV:" in head and "eturns" in head


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - UNFENCED))
def test_every_other_script_checks_the_fence_before_its_first_write(name: str) -> None:
    code = LUA[name]
    check = code.index("local stop = fenced(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])\nif stop then return")
    assert "redis.call" not in code[:check]


def test_the_backup_only_reads() -> None:
    assert {call.split("'")[1] for call in LUA["backup"].split("redis.call(")[1:]} == {"PTTL", "DUMP"}


@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {"backup"}))
def test_only_keys_that_were_declared_are_touched(name: str) -> None:
    """But `control`, which the claim reads: a declared key must be open for writing, and the gateway's user may not."""
    for call in LUA[name].split("redis.call(")[1:]:
        if name == "claim" and call.startswith("'XRANGE', control_key"):
            continue
        assert call.split(",")[1].strip().startswith(("KEYS[", "lease_key", "fence_key"))


def test_out_of_memory_is_allowed_where_the_architecture_says() -> None:
    assert set(SCRIPTS) >= WITH_OOM
    assert script("claim").text.startswith("#!lua flags=allow-oom\n")
    assert script("publish_ticks").text.startswith("#!lua\n")
    assert script("publish", allow_oom=True).sha != script("publish").sha


def test_entries_are_packed_with_their_field_count() -> None:
    assert pack_entry(None) == [b"0"]
    assert pack_entry({"a": b"1", "b": b""}) == [b"2", b"a", b"1", b"b", b""]
    assert pack_entries([{"a": b"1"}, None]) == [b"1", b"a", b"1", b"0"]
