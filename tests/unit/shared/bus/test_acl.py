from __future__ import annotations

import stat
from pathlib import Path

import pytest

from shared.bus.acl import ROLES, acl_lines, main, template, write_acl_file
from shared.bus.keys import Keys

TEMPLATE = Path(__file__).parents[4] / "deploy" / "redis" / "users.acl.tmpl"


def line_of(role: str) -> str:
    lines = acl_lines(Keys("paper"), {name: f"p-{name}" for name in ROLES})
    return next(line for line in lines if line.startswith(f"user {role} "))


def test_only_risk_may_write_commands_and_decisions() -> None:
    for role in ROLES:
        for name in ("commands", "decisions"):
            assert (f" ~cq:paper:{name} " in line_of(role)) is (role == "risk")


def test_the_default_user_is_off_and_only_admin_has_everything() -> None:
    words = acl_lines(Keys("paper"), dict.fromkeys(ROLES, "p"))[0].split()
    assert words[:4] == ["user", "default", "off", "resetpass"] and not [word for word in words if word[0] == ">"]
    assert [role for role in ROLES if "+@all" in line_of(role)] == ["admin"]


def test_the_template_in_deploy_is_what_the_code_writes() -> None:
    assert TEMPLATE.read_text() == template(), f"python -m shared.bus.acl --write-template {TEMPLATE}"
    assert len([line for line in template().splitlines() if line.startswith("user ")]) == len(ROLES) + 1


def test_the_template_is_written_where_asked(tmp_path: Path) -> None:
    main(["--write-template", str(tmp_path / "t")])
    assert (tmp_path / "t").read_text() == template()
    assert list(tmp_path.iterdir()) == [tmp_path / "t"]


def test_a_missing_password_is_not_an_open_door() -> None:
    with pytest.raises(KeyError):
        acl_lines(Keys("paper"), {"admin": "p"})


def test_files_are_private_and_never_written_over(tmp_path: Path) -> None:
    main(["--deployment", "paper", "--dir", str(tmp_path), "--address", "bus:6379"])
    users = tmp_path / "users.acl"
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    url = (tmp_path / "risk.url").read_text().strip()
    assert url.startswith("redis://risk:") and url.endswith("@bus:6379/0")
    assert f">{url.split(':')[2].split('@')[0]} " in users.read_text()
    before = users.read_text()
    with pytest.raises(FileExistsError):
        write_acl_file(users, Keys("paper"))
    with pytest.raises(SystemExit):
        main(["--deployment", "paper", "--dir", str(tmp_path)])
    assert users.read_text() == before
