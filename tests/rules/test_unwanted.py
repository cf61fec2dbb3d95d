"""Feedback about unwanted calls (RFC 8197 sections 4 and 6): whom it is about, and how it is summed up."""

from __future__ import annotations

import pytest

from gateway.rules.unwanted import (
    BEFORE_ANSWER,
    DIVERTER,
    MIDCALL,
    Entry,
    Identity,
    callers,
    heard,
    identities,
    says_unwanted,
    tally,
)
from gateway.sip.message import Request, parse
from tests.rules.support import response

DAY = 86400.0
NOW = 1_800_000_000.0


def invite(sender: str, *headers: str) -> Request:
    lines = "".join(f"{line}\r\n" for line in headers)
    message = parse(
        (
            "INVITE sip:+12155550100@gw.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
            f"From: {sender};tag=a\r\nTo: <sip:b@c.example>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
        ).encode()
    )
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("<sip:+1-215-555-1212@pbx.example;user=phone>", ("+12155551212",)),
        ("<tel:+1(215)5551212>", ("+12155551212",)),
        ('"Alice" <sip:alice@PBX.example>', ("alice@pbx.example",)),
        ('"Anonymous" <sip:anonymous@anonymous.invalid>', ()),
        ("<sip:Anonymous@pbx.example>", ()),
        ("<sip:+12155551212@anonymous.invalid>", ()),
        ("<sip:restricted@pbx.example>", ()),
        ("<sip:pbx.example>", ()),
        (f"<sip:{'a' * 65}@pbx.example>", ()),
        ("<urn:service:sos>", ()),
    ],
)
def test_the_identity_of_from_is_canonical_and_an_anonymous_one_is_nobody(
    sender: str, expected: tuple[str, ...]
) -> None:
    """RFC 3323 4.1.1.3: sip:anonymous@anonymous.invalid."""
    assert callers(invite(sender), True) == expected


def test_an_asserted_identity_counts_if_its_trunk_is_trusted_and_it_is_not_private() -> None:
    """RFC 3325 9.1."""
    asserted = "P-Asserted-Identity: <sip:+442079460000@pbx.example>"
    request = invite("<sip:+12155551212@pbx.example>", asserted)
    assert callers(request, True) == ("+12155551212", "+442079460000")
    assert callers(request, False) == ("+12155551212",)
    hidden = invite("<sip:anonymous@anonymous.invalid>", asserted, "Privacy: user;id")
    assert callers(hidden, True) == ()
    shown = invite("<sip:anonymous@anonymous.invalid>", asserted, "Privacy: none")
    assert callers(shown, True) == ("+442079460000",)


def test_who_passed_the_call_on_is_held_apart_and_the_last_entry_is_who_is_called() -> None:
    """RFC 7044 section 9."""
    request = invite(
        "<sip:+12155551212@pbx.example>",
        "History-Info: <sip:+12155550199@a.example>;index=1, <sip:+12155550100@b.example>;index=1.1",
    )
    assert identities(request, True) == (Identity("+12155551212"), Identity("+12155550199", DIVERTER))
    assert callers(request, True) == ("+12155551212",)


def test_headers_that_cannot_be_read_name_nobody() -> None:
    request = invite("<sip:+12155551212@pbx.example>", "P-Asserted-Identity: <<>", "History-Info: ,,<")
    assert callers(request, True) == ("+12155551212",)


@pytest.mark.parametrize(
    ("start", "reason", "expected"),
    [
        ("607 Unwanted", "", True),
        ("603 Decline", 'Reason: SIP;cause=607;text="Unwanted"', True),
        ("603 Decline", 'Reason: Q.850;cause=21, SIP;cause="607"', True),
        ("603 Decline", "Reason: SIP;cause=608", False),
        ("603 Decline", "Reason: Q.850;cause=607", False),
        ("603 Decline", "", False),
        ("603 Decline", "Reason: ;;=", False),
    ],
)
def test_what_says_that_a_call_was_unwanted(start: str, reason: str, expected: bool) -> None:
    """RFC 8197 section 3; 608 is a machine's word (RFC 8688)."""
    assert says_unwanted(response(start, *filter(None, [reason]))) is expected


def test_feedback_about_nobody_is_none() -> None:
    request = invite("<sip:anonymous@anonymous.invalid>")
    assert heard(request, True, "100", BEFORE_ANSWER, "carrier", NOW) is None


def test_a_tally_keeps_stages_apart_and_old_words_weigh_less() -> None:
    def said(age: float, identity: str, stage: str, attested: bool = False) -> Entry:
        return Entry(NOW - age * DAY, identity, "caller", "", stage, attested, "carrier")

    first, second = tally(
        [
            said(28, "+1", BEFORE_ANSWER),
            said(14, "+1", BEFORE_ANSWER, attested=True),
            said(0, "+2", MIDCALL),
            said(0, "+2", BEFORE_ANSWER),
        ],
        NOW,
        14 * DAY,
    )
    assert (first.identity, first.before_answer, first.midcall, first.weight) == ("+2", 1, 1, 2.0)
    assert (second.identity, second.before_answer, second.midcall, second.attested) == ("+1", 2, 0, 1)
    assert second.weight == 0.75
    assert (second.first_at, second.last_at) == (NOW - 28 * DAY, NOW - 14 * DAY)
