"""Conditions on what stands around a response: other branches, who signed the call, the time."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules import load_rules
from gateway.rules.passport import attestation
from gateway.rules.schedule import DAYS
from tests.rules.support import facts, request, rules


def matches(when: str, start: str = "603 Decline", **more: Any) -> bool:
    """Tell whether a rule with this `when` decides about the response."""
    return rules(f"{when}\nthen.label = 'x'").decide(facts(start, **more)).rule == "it"


@pytest.mark.parametrize(
    ("status", "finals", "pending", "expected"),
    [
        (603, (), 0, {"single"}),
        (486, (), 0, {"single", "any-busy"}),
        (603, (), 1, {"forked"}),
        (603, (404,), 0, {"forked"}),
        (603, (486,), 0, {"forked", "all-declined", "any-busy"}),
        (486, (603, 607, 600), 0, {"forked", "all-declined", "any-busy"}),
        (603, (603, 603), 0, {"forked", "all-declined"}),
        (603, (603, 603), 1, {"forked"}),
        (603, (603, 408), 0, {"forked"}),
        (408, (603, 603), 0, {"forked"}),
        (404, (600, 503), 0, {"forked", "any-busy"}),
    ],
)
def test_branches(status: int, finals: tuple[int, ...], pending: int, expected: set[str]) -> None:
    more = {"finals": finals, "pending": pending}
    held = {
        word
        for word in ("single", "forked", "all-declined", "any-busy")
        if matches(f"when.branches = '{word}'", f"{status} X", **more)
    }
    assert held == expected
    if held:
        assert matches(f"when.branches = {sorted(held)}", f"{status} X", **more)


def test_branches_say_what_they_saw() -> None:
    ruleset = rules("when.branches = ['single', 'all-declined']\nthen.status = 404")
    wanted = "wanted single or all-declined"
    assert f"no, branches is forked (486, 603 and 2 without an answer), {wanted}" in (
        ruleset.explain(facts("603 Decline", finals=(486,), pending=2)).as_text()
    )


def encoded(value: object) -> str:
    return raw(json.dumps(value).encode())


def raw(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def claiming(claims: str) -> str:
    """A shaken Identity header with these claims, in base64url already."""
    return f"Identity: a.{claims}.c;ppt=shaken"


def passport(attest: object, ppt: str = "shaken", params: str = ";ppt=shaken") -> str:
    """An Identity header of RFC 8224 with a PASSporT of RFC 8588."""
    header = encoded({"alg": "ES256", "ppt": ppt, "typ": "passport", "x5u": "https://cert.example/a.pem"})
    claims = encoded({"attest": attest, "dest": {"tn": ["12155550100"]}, "iat": 1_700_000_000, "origid": "x"})
    return f"Identity: {header}.{claims}.c2ln;info=<https://cert.example/a.pem>;alg=ES256{params}"


def attested(*headers: str) -> str:
    return facts("603 Decline", request=request(*headers)).attestation


@pytest.mark.parametrize("level", ["A", "B", "C"])
def test_attestation_is_read_from_the_shaken_passport_8588_4(level: str) -> None:
    for params in (";ppt=shaken", ';ppt="shaken"', ";PPT=SHAKEN", ""):
        assert attested(passport(level, params=params)) == level
    assert attested(passport(level).replace("Identity:", "y:")) == level
    assert matches(f"when.attestation = '{level}'", request=request(passport(level)))
    assert matches("when.attestation = ['A', 'B', 'C']", request=request(passport(level)))
    assert not matches("when.attestation = 'none'", request=request(passport(level)))


def test_a_call_that_nobody_signed_has_no_attestation() -> None:
    assert attested() == "none"
    assert matches("when.attestation = 'none'", request=request())
    assert matches("when.attestation = 'none'", request=None)
    assert not matches("when.attestation = ['A', 'B', 'C']", request=request())


def test_of_several_identities_the_shaken_one_counts_8224_4() -> None:
    diverted = passport("A", ppt="div", params=";ppt=div")
    assert attested(diverted) == "none"
    assert attested(diverted, passport("B")) == "B"
    both = f"{diverted}, {passport('C').removeprefix('Identity: ')}"
    assert attested(both) == "C"
    assert attested(passport("Z"), passport("B")) == "B"
    assert attested(*[diverted] * 4, passport("B")) == "none"  # only so many are looked at


@pytest.mark.parametrize(
    "header",
    [
        "Identity: ..c2ln;info=<https://cert.example/a.pem>;alg=ES256;ppt=shaken",  # compact form, 8225 7
        "Identity: a.b.c;ppt=shaken",
        "Identity: !!.??.c;ppt=shaken",
        "Identity: ;ppt=shaken",
        'Identity: a.b;ppt="shaken',
        claiming(encoded(["A"])),
        claiming(encoded("A")),
        claiming(raw(b"[" * 3000)),
        claiming(raw(b'{"x":' * 1000)),
        claiming(raw(b'{"attest":"A"')),
        claiming(raw(b'{"attest":"\xff"}')),
        claiming("A"),
        passport(["A"]),
        passport("a"),
        passport(None),
        passport("A").replace(".", "..", 1),
        passport("A", ppt="shaken").replace(".c2ln", ".c2ln.more"),
    ],
)
def test_what_cannot_be_read_attests_nothing(header: str) -> None:
    assert attested(header) == "none"


@given(st.lists(st.one_of(st.binary(max_size=80), st.from_regex(rb"[\w-]*\.[\w-]*\.[\w-]*;ppt=shaken"))))
def test_hostile_identities_end_as_no_attestation(values: list[bytes]) -> None:
    assert attestation(values) in ("A", "B", "C", "none")


def at(text: str, zone: str = "UTC") -> float:
    """The moment at which the clocks of a zone show this; 2026-03-02 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def in_week(moment: str) -> float:
    """The moment called, say, "tue 12:00" in the week of that Monday."""
    day, clock = moment.split()
    return at(f"2026-03-{2 + DAYS.index(day):02} {clock}")


@pytest.mark.parametrize(
    ("when", "inside", "outside"),
    [
        ("days = 'mon-fri'", ["mon 00:00", "fri 23:59"], ["sat 00:00", "sun 23:59"]),
        ("days = ['sat', 'Sun']", ["sat 12:00", "sun 12:00"], ["mon 00:00"]),
        ("days = 'sat-mon'", ["sat 12:00", "mon 12:00"], ["fri 12:00", "tue 12:00"]),
        ("hours = '08:00-18:00'", ["mon 08:00", "sat 17:59"], ["mon 07:59", "mon 18:00"]),
        ("hours = ['00:00-01:00', '23:00-24:00']", ["mon 00:30", "mon 23:59"], ["mon 01:00"]),
        ("hours = '22:00-06:00'", ["mon 22:00", "mon 05:59"], ["mon 06:00", "mon 21:59"]),
        # A night belongs to the day on which it begins.
        (
            "hours = '22:00-06:00'\nwhen.days = 'fri'",
            ["fri 23:00", "sat 05:00"],
            ["fri 05:00", "sat 23:00"],
        ),
    ],
)
def test_days_and_hours_are_utc_where_no_zone_is_named(
    when: str, inside: list[str], outside: list[str]
) -> None:
    for moment in inside:
        assert matches(f"when.{when}", now=in_week(moment)), moment
    for moment in outside:
        assert not matches(f"when.{when}", now=in_week(moment)), moment
    assert not matches(f"when.{when}")


def test_days_and_hours_are_those_of_the_zone_through_summer_time() -> None:
    ruleset = rules(
        "when.days = 'mon'\nwhen.hours = '09:00-17:00'\nwhen.tz = 'Europe/Berlin'\nthen.status = 404"
    )
    for moment, held in [
        (at("2026-03-02 08:00"), True),  # 09:00 in winter
        (at("2026-03-02 07:59"), False),
        (at("2026-07-06 07:00"), True),  # 09:00 in summer
        (at("2026-07-06 15:00"), False),
        (at("2026-03-02 16:59:59"), False),
        (at("2026-03-02 16:59:59", "Europe/Berlin"), True),
    ]:
        assert (ruleset.decide(facts("603 Decline", now=moment)).rule == "it") is held, moment


def test_a_decision_that_depends_on_the_hour_is_not_remembered_over_it() -> None:
    ruleset = rules("when.status = 603\nwhen.hours = '08:00-18:00'\nthen.status = 404")
    for _ in range(2):
        assert ruleset.decide(facts("603 Decline", now=at("2026-03-02 17:59:59.9"))).status == 404
        assert ruleset.decide(facts("603 Decline", now=at("2026-03-02 18:00"))).status == 603


def test_the_schedule_says_what_it_saw() -> None:
    ruleset = rules(
        "when.days = 'mon-fri'\nwhen.hours = '22:00-06:00'\nwhen.tz = 'Asia/Tokyo'\nthen.status = 404"
    )
    known = facts("603 Decline", now=at("2026-03-07 03:30"))
    assert (
        "no, hours is sat 12:30, wanted mon-fri, 22:00-06:00, Asia/Tokyo" in ruleset.explain(known).as_text()
    )
    assert "no, hours is unknown, wanted" in ruleset.explain(facts("603 Decline")).as_text()


def test_a_rule_set_names_the_lists_it_depends_on(tmp_path: Any) -> None:
    (tmp_path / "dead.txt").write_text("1001\n")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "old.txt").write_text("1002\n")
    file = tmp_path / "rules.toml"
    heading = "[[rule]]\nname = '{}'\nthen.status = 404\n"
    file.write_text(
        f"version = 1\n{heading.format('a')}when.called.list = ['dead.txt', 'gone/old.txt']\n"
        f"{heading.format('b')}when.caller.list = 'dead.txt'\n"
    )
    ruleset = load_rules(file, None)
    assert ruleset.files == (tmp_path / "dead.txt", tmp_path / "gone" / "old.txt")
    assert ruleset.decide(facts("603 Decline", caller="1001")).rule == "b"
    (tmp_path / "dead.txt").write_text("1003\n")
    assert load_rules(file, None).decide(facts("603 Decline", caller="1001")).rule == ""
