"""Words for the tests of rules: trunks, responses, and a rule file of a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.rules import Decision, Facts, RuleSet, compile_rules, emit
from gateway.sip.message import Request, Response, parse
from gateway.sip.rows import Row
from gateway.toml_source import SettingsErrors, TomlSource

LEG_HEADERS = (
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1\r\n"
    b"From: <sip:+12155551212@pbx.example>;tag=a\r\nTo: <sip:+12155550100@carrier.example>;tag=b\r\n"
    b"Call-ID: 1@pbx.example\r\nCSeq: 1 INVITE\r\n"
)


@dataclass(frozen=True, eq=False)
class FakeTrunk:
    name: str
    kind: str
    supports: frozenset[int] = frozenset()
    rewrite_network_blocked: bool = False
    q850: Mapping[int, int] = field(default_factory=dict)
    trusted: bool = False


PBX = FakeTrunk("pbx", "pbx")
CARRIER = FakeTrunk("carrier", "carrier")
TRUNKS = {"pbx": "pbx", "carrier": "carrier"}


def response(start: str, *headers: str) -> Response:
    """Make the response `SIP/2.0 {start}` with these headers behind those that every response has."""
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    message = parse(
        b"SIP/2.0 " + start.encode() + b"\r\n" + LEG_HEADERS + lines + b"Content-Length: 0\r\n\r\n"
    )
    assert isinstance(message, Response)
    return message


def request(*headers: str) -> Request:
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    message = parse(b"INVITE sip:+12155550100@gw.example SIP/2.0\r\n" + LEG_HEADERS + lines + b"\r\n")
    assert isinstance(message, Request)
    return message


def facts(start: str, *headers: str, source: Any = CARRIER, target: Any = PBX, **more: Any) -> Facts:
    """What is known when `source` answers so to a call from `target`."""
    return Facts(response(start, *headers), more.pop("request", None), source, target, **more)


def rules(text: str, trunks: Mapping[str, str] | None = TRUNKS) -> RuleSet:
    """Compile rules; `version = 1` and, for a lone rule, its heading may be left out."""
    if "[[rule]]" not in text:
        text = f'[[rule]]\nname = "it"\n{text}'
    return compile_rules(TomlSource.parse(f"version = 1\n{text}", "rules.toml"), trunks)


def mistakes(text: str, trunks: Mapping[str, str] | None = TRUNKS) -> list[str]:
    """Return the sentences that a file with mistakes earns."""
    try:
        compile_rules(TomlSource.parse(text, "rules.toml"), trunks)
    except SettingsErrors as errors:
        return str(errors).split("\n")
    return []


def lines(rows: list[Row]) -> list[str]:
    """Return the header lines that are not those of every response."""
    usual = set(LEG_HEADERS.split(b"\r\n")) | {b"Content-Length: 0"}
    return [line.decode() for _, line in rows if line not in usual]


def told(ruleset: RuleSet, known: Facts) -> tuple[str, list[str]]:
    """Return what the caller is told: start line without the version, and the header lines of interest."""
    decision = ruleset.decide(known)
    return start_line(decision), lines(emit(decision, known))


def start_line(decision: Decision) -> str:
    return f"{decision.status} {decision.phrase.decode()}"
