"""The lock files install on every Python and system we name, and only files whose hash we know."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT
from tools.lock import PYTHONS, SETS, missing, wanted
from tools.peers import WANTED

LOCKS = sorted(SETS)


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def pins(name: str) -> list[Requirement]:
    return [Requirement(line.strip()) for line in re.findall(r"^[a-z][^\\\n]*", lock(name), re.MULTILINE)]


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_is_exact_and_has_hashes(name: str) -> None:
    blocks = re.findall(r"^[a-z].*?(?=^\S|\Z)", lock(name), re.MULTILINE | re.DOTALL)
    assert len(blocks) == len(pins(name)) > 20
    for block in blocks:
        assert "--hash=sha256:" in block, block
    for pin in pins(name):
        (exact,) = pin.specifier
        assert exact.operator == "=="


@pytest.mark.parametrize("name", LOCKS)
def test_no_line_says_from_where(name: str) -> None:
    for line in lock(name).splitlines():
        assert line.startswith("#") or re.fullmatch(
            r"[a-z0-9.-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        ), line


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_satisfies_the_project(name: str) -> None:
    pinned = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins(name)}
    for line in wanted(SETS[name][0]):
        requirement = Requirement(line)
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is in pyproject.toml and not in requirements/{name}.txt: make lock"
        assert requirement.specifier.contains(version), f"{line} but pinned to {version}: make lock"


@pytest.mark.parametrize("name", LOCKS)
def test_every_platform_gets_what_its_packages_ask_for(name: str) -> None:
    assert missing(lock(name)) == []


def test_a_hole_in_a_lock_is_found() -> None:
    without = re.sub(r"^aiosignal==.*?(?=^\S)", "", lock("dev"), flags=re.MULTILINE | re.DOTALL)
    assert any("aiosignal" in complaint for complaint in missing(without))


def test_sets_agree_on_versions() -> None:
    everything = {str(pin) for pin in pins("dev")}
    for name in LOCKS:
        assert {str(pin) for pin in pins(name)} <= everything


def test_the_pythons_are_those_of_the_project() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert f'requires-python = ">={PYTHONS[0]},<3.{int(PYTHONS[-1].split(".")[1]) + 1}"' in text


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_peer_is_pinned_with_hashes_and_does_not_say_from_where(name: str) -> None:
    text = (ROOT / "requirements" / "peers" / f"{name}.txt").read_text()
    blocks = re.findall(r"^[a-z].*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert any(
        canonicalize_name(block.split("==")[0]) == canonicalize_name(WANTED[name].split("==")[0]) for block in blocks
    )
    for block in blocks:
        assert re.fullmatch(r"[a-z0-9.-]+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n", block), block
