"""`gateway explain`: a pasted response, and what the rules make of it."""

from __future__ import annotations

import io
import sys

import pytest

from gateway.commands.explain import explain, read_response
from tests.commands.conftest import CONFIG, RULES, Place

LINES = (
    "SIP/2.0 603 Decline",
    "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1",
    'Reason: Q.850;cause=1;text="Unallocated"',
)


def test_the_rule_that_decides_is_told_with_what_leaves(place: Place) -> None:
    rules, message = place.write("rules.toml", RULES), place.write("603.txt", "\r\n".join((*LINES, "", "")))
    assert place.run(explain, str(message), rules=rules) == 0
    assert place.out.splitlines() == [
        "603 Decline, Q.850 cause 1 (Unallocated (unassigned) number): from carrier to pbx",
        "  dead-number (rules.toml:3): yes",
        "-> 404 Not Found, Q.850 cause 1 (Unallocated (unassigned) number): changed by rule dead-number",
        '   Reason: SIP;cause=603;text="Decline"',
    ]
    assert place.err == ""


def test_options_say_what_the_response_does_not(place: Place) -> None:
    rules, message = place.write("rules.toml", RULES), place.write("603.txt", "SIP/2.0 603 Decline\n")
    options = {"rules": rules, "from_": "pbx", "to": "carrier", "json": True}
    place.run(explain, str(message), **options)
    assert (place.json["emitted"]["status"], place.json["steps"][1]["condition"]) == (603, "ringing")
    place.run(explain, str(message), **options, ringing="2s")
    assert (place.json["from"], place.json["to"]) == ("pbx", "carrier")
    assert (place.json["emitted"]["status"], place.json["rule"]) == (486, "phone-declined")


@pytest.mark.parametrize(
    ("condition", "option"),
    [
        ('when.called.prefix = "+1215"', {"called": "+12155551212"}),
        ('when.called.prefix = "+1215"', {"called": "+1 (215) 555-1212"}),
        ('when.caller.prefix = "1001"', {"caller": "10-01"}),
        ('when.caller.prefix = "100"', {"caller": "1001"}),
        ("when.rang = true", {"rang": True}),
        ("when.rang = true", {"ringing": "5s"}),
        ('when.after = "<300ms"', {"after": "250ms"}),
        ('when.origin = "local"', {"origin": "local"}),
        ('when.method = ["MESSAGE"]', {"method": "message"}),
        ('when.branches = "forked"', {"finals": "486"}),
        ('when.branches = "forked"', {"pending": 2}),
        ('when.branches = "any-busy"', {"finals": "404, 600"}),
        ('when.attestation = ["A", "B"]', {"attestation": "B"}),
        ('when.hours = "22:00-23:00"', {"at": "1999-12-31T22:30"}),
        ('when.hours = "22:00-23:00"', {"at": "1999-12-31T23:30+01:00"}),
    ],
)
def test_each_option_reaches_the_condition_that_asks_for_it(
    place: Place, condition: str, option: dict[str, object]
) -> None:
    rules = place.write("rules.toml", f'version = 1\n[[rule]]\nname = "r"\n{condition}\nthen.status = 480\n')
    message = place.write("603.txt", "SIP/2.0 603 Decline\n")
    place.run(explain, str(message), rules=rules, json=True, at="1999-12-31T12:00")
    assert place.json["rule"] == ""
    place.run(explain, str(message), rules=rules, json=True, **option)
    assert place.json["rule"] == "r"


def test_with_a_configuration_its_trunks_answer_and_receive(place: Place) -> None:
    place.write("rules.toml", RULES)
    config, message = place.write("gateway.toml", CONFIG), place.write("603.txt", "\n".join(LINES))
    assert place.run(explain, str(message), config=config, json=True) == 0
    assert (place.json["from"], place.json["to"], place.json["rule"]) == ("west", "hq", "dead-number")
    assert place.run(explain, str(message), config=config, from_="wets") == 2
    assert place.err == """--from: gateway.toml has no trunk 'wets'; did you mean "west"?\n"""
    assert place.run(explain, str(message), config=config, to="x") == 2
    assert place.err == "--to: gateway.toml has no trunk 'x'; it has hq, west\n"


def test_without_a_configuration_trunks_may_have_any_name(place: Place) -> None:
    rules = place.write("rules.toml", RULES.replace("kind:carrier", "acme*"))
    message = place.write("603.txt", "\n".join(LINES))
    place.run(explain, str(message), rules=rules, from_="acme-east", json=True)
    assert (place.json["from"], place.json["rule"]) == ("acme-east", "dead-number")


@pytest.mark.parametrize(
    ("how", "pasted"),
    [
        ("as it was sent", "\r\n".join((*LINES, "Content-Length: 0", "", ""))),
        ("without the end of its headers", "\r\n".join(LINES)),
        ("with LF line ends", "\n".join((*LINES, "", ""))),
        ("with a Content-Length that is too long", "\n".join((*LINES, "Content-Length: 800", "", ""))),
        ("with a Content-Length that is none", "\n".join((*LINES, "l : many", "", ""))),
        (
            "indented, after a tool's own line",
            "U 192.0.2.9:5060 -> 192.0.2.1:5060\n\n    " + "\n    ".join(LINES),
        ),
        ("with blanks behind the lines", " \n".join((*LINES, ""))),
        ("with a byte order mark", "\ufeff" + "\n".join(LINES)),
    ],
)
def test_a_response_is_read_however_it_was_pasted(place: Place, how: str, pasted: str) -> None:
    response = read_response(str(place.write("pasted.txt", pasted)))
    assert (response.status, response.phrase) == (603, b"Decline")
    assert response.get(b"Reason") == b'Q.850;cause=1;text="Unallocated"'
    assert response.get(b"Via") == b"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1"


def test_folded_headers_and_a_body_survive_indentation(place: Place) -> None:
    pasted = "\n".join(
        ("  " + line) for line in ("SIP/2.0 486 Busy Here", "Warning: 399 gw", '  "why"', "", "v=0", "")
    )
    response = read_response(str(place.write("pasted.txt", pasted)))
    assert response.get(b"Warning") == b'399 gw "why"'
    assert response.body == b"v=0\r\n"


def test_a_dash_reads_standard_input(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode())))
    assert place.run(explain, "-", rules=place.write("rules.toml", RULES)) == 0
    assert "changed by rule dead-number" in place.out


def test_a_response_cannot_steer_the_terminal(place: Place) -> None:
    message = place.write("603.txt", "SIP/2.0 603 De\x1b[31mcline\n")
    place.run(explain, str(message), rules=place.write("rules.toml", RULES))
    assert "\x1b" not in place.out
    assert "603 De\ufffd[31mcline" in place.out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "message.txt: cannot be read: no such file or directory"),
        ("", "message.txt: this is no SIP response (empty); "),
        ("hello\n", "message.txt: this is no SIP response (bad start line); "),
        ("SIP/2.0 9999 Decline\n", "message.txt: this is no SIP response (bad status line); "),
        ("SIP/2.0 603 Decline\nno colon\n", "message.txt: this is no SIP response (bad header line); "),
        (
            "INVITE sip:a@b SIP/2.0\nTo: <sip:a@b>\n",
            "message.txt: this is a request; a SIP response begins ",
        ),
        (b"\x00\xff\xfe" * 50, "message.txt: this is no SIP response (bad start line); "),
    ],
)
def test_what_is_no_response_is_refused_in_one_sentence(
    place: Place, text: str | bytes | None, problem: str
) -> None:
    if text is not None:
        place.write("message.txt", text)
    assert place.run(explain, "message.txt", rules=place.write("rules.toml", RULES)) == 2
    assert place.err.startswith(problem)
    assert place.err.count("\n") == 1
    assert place.out == ""


def test_the_request_shows_what_the_response_does_not(place: Place) -> None:
    condition = 'when.request_header.Diversion = true\nwhen.attestation = "A"'
    rules = place.write("rules.toml", f'version = 1\n[[rule]]\nname = "r"\n{condition}\nthen.status = 480\n')
    message = str(place.write("603.txt", "SIP/2.0 603 Decline\n"))
    request = (
        "U 192.0.2.1 -> 192.0.2.2\nINVITE sip:100@192.0.2.2 SIP/2.0\nDiversion: <sip:1@a>\n"
        "Identity: e30.eyJhdHRlc3QiOiJBIn0.c2ln;ppt=shaken\n"
    )
    place.run(explain, message, rules=rules, json=True, request=str(place.write("invite.txt", request)))
    assert place.json["rule"] == "r"
    assert place.run(explain, message, rules=rules, request=message) == 2
    assert "this is a response; a SIP request begins with a line such as " in place.err


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"finals": "486,busy"}, "--finals: 'busy' is no status of a rejection; write them so: 486,404\n"),
        ({"finals": "200"}, "--finals: '200' is no status of a rejection; write them so: 486,404\n"),
        ({"at": "0001-01-01"}, "--at: '0001-01-01' is out of reach; write a time from 1970 to 2100\n"),
        ({"at": "9999-12-31"}, "--at: '9999-12-31' is out of reach; write a time from 1970 to 2100\n"),
        ({"at": "noon"}, "--at: 'noon' is no time; write one such as 2026-11-21T22:30\n"),
        ({"pending": -1}, "--pending: -1 is not possible; write a whole number from 0 to 1000\n"),
        ({"pending": 10**9}, "--pending: 1000000000 is not possible; write a whole number from 0 to 1000\n"),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(
    place: Place, option: dict[str, object], sentence: str
) -> None:
    message = str(place.write("603.txt", "SIP/2.0 603 Decline\n"))
    assert place.run(explain, message, **option) == 2
    assert place.err == sentence


def test_a_bad_rule_file_and_a_bad_duration_are_refused(place: Place) -> None:
    message = str(place.write("603.txt", "SIP/2.0 603 Decline\n"))
    assert place.run(explain, message, rules=place.write("bad.toml", "version = 2\n")) == 2
    assert place.err.startswith("bad.toml:1: version: ")
    assert place.run(explain, message, after="soon") == 2
    assert place.err.startswith("--after: 'soon' is not a duration; ")
