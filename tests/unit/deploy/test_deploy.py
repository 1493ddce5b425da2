"""The files under deploy/ are ones that their programs take, and the settings in them ones that our services take."""

from __future__ import annotations

from pathlib import Path

import pytest
from dotenv import dotenv_values

from services.gateway.settings import GatewaySettings
from services.guard.settings import GuardSettings
from services.risk.settings import RiskSettings
from shared.settings import CommonSettings, load_settings
from tests.guide.files import plist_problems, task_problems, unit_problems, xml_problems
from tests.support import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
XML = [*sorted(DEPLOY.glob("launchd/*.plist")), *sorted(DEPLOY.glob("windows/*.xml"))]


def test_there_is_one_for_the_platform_and_one_for_the_broker_everywhere() -> None:
    assert {path.name for path in UNITS} == {"copilot-quant.service", "cq@.service", "ibgateway.service"}
    assert len(XML) == 4


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_takes_the_units(path: Path) -> None:
    assert unit_problems(path.read_text(), path.name) == []


@pytest.mark.parametrize("path", XML, ids=lambda path: path.name)
def test_launchd_and_windows_take_their_files(path: Path) -> None:
    assert xml_problems(path.read_text()) == []


def test_the_units_start_what_is_there() -> None:
    text = (DEPLOY / "systemd" / "copilot-quant.service").read_text()
    assert "ExecStart=/opt/copilot_quant/.venv/bin/cq up --yes" in text
    for service in ("guard", "gateway", "risk", "marketdata", "strategy", "monitoring"):
        assert (ROOT / "services" / service / "__main__.py").is_file()


@pytest.mark.parametrize(
    "name, settings_class",
    [("guard", GuardSettings), ("gateway-a", GatewaySettings), ("gateway-b", GatewaySettings), ("risk", RiskSettings)],
)
def test_two_machines_have_settings_that_the_services_take(
    name: str, settings_class: type[CommonSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd hands them on: the comments behind the values included."""
    monkeypatch.setenv("CQ_ENV_FILE", "")
    for file in ("common", name):
        for line in (DEPLOY / "two-machines" / f"{file}.env").read_text().splitlines():
            if line and not line.startswith("#"):
                variable, _, value = line.partition("=")
                monkeypatch.setenv(variable, value)
    settings = load_settings(settings_class)
    assert (settings.mode, settings.deployment) == ("paper", "paper")


def test_the_two_gateways_differ_in_their_client_id_only() -> None:
    a, b = (dict(dotenv_values(DEPLOY / "two-machines" / f"gateway-{one}.env")) for one in "ab")
    assert (a.pop("IB_PAPER_CLIENT_ID"), b.pop("IB_PAPER_CLIENT_ID")) == ("1", "2")
    assert a == b


def test_a_unit_that_is_wrong_is_said() -> None:
    assert unit_problems("[Unit\n")
    assert unit_problems("[Unit]\nDescription=x\n[Service]\nExecStart=cq up\n[Install]\nWantedBy=multi-user.target\n")


def test_a_property_list_that_is_wrong_is_said() -> None:
    assert plist_problems("<plist><dict></plist>")
    assert plist_problems('<plist version="1.0"><dict><key>Label</key><string>x</string></dict></plist>')


def test_a_task_that_is_wrong_is_said() -> None:
    text = (DEPLOY / "windows" / "ib-gateway.xml").read_text()
    assert task_problems(text.replace("<Command>", "<Order>").replace("</Command>", "</Order>"))
    assert task_problems(
        text.replace("LogonTrigger", "Nothing").replace("<Triggers>", "<T>").replace("</Triggers>", "</T>")
    )
    assert task_problems("<Task")
