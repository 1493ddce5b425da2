from __future__ import annotations

from shared.errors import ConfigError, CqError, ExitCode, Refused, RiskRejected, UnknownContract


def all_kinds(cls: type[CqError]) -> list[type[CqError]]:
    return [cls, *(kind for child in cls.__subclasses__() for kind in all_kinds(child))]


def test_every_error_has_an_exit_code_that_never_means_success() -> None:
    assert all(kind.exit_code is not ExitCode.OK for kind in all_kinds(CqError))


def test_errors_carry_what_scripts_need() -> None:
    assert ConfigError(["a", "b"]).mistakes == ["a", "b"] and str(ConfigError(["a", "b"])) == "a; b"
    refused: Refused = RiskRejected("RISK_HALTED", "trading is halted")
    assert (refused.code, str(refused)) == ("RISK_HALTED", "RISK_HALTED: trading is halted")
    assert UnknownContract("x", ["AAPL@NASDAQ"]).candidates == ["AAPL@NASDAQ"]


def test_every_exit_code_has_a_meaning() -> None:
    assert all(code.meaning.endswith(".") for code in ExitCode)
