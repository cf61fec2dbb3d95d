# ruff: noqa: E501 (a sentence stands on one line)
"""Each mistake in a rule file earns one sentence: file, line, key, what is wrong, what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.rules import load_rules
from gateway.toml_source import SettingsErrors
from tests.rules.support import mistakes, rules

GOOD = 'version = 1\n[[rule]]\nname = "a"\nwhen.status = 603\nthen.status = 404\n'

IN_WHEN = [
    ("status = 200", "status", "200 is outside of what rules can speak of; write statuses from 400 to 699"),
    ('status = "3xx"', "status", '"3xx" is outside of what rules can speak of; write statuses from 400 to 699'),
    ('status = "603"', "status", '"603" is not a status; write a status such as 603, a class such as "4xx" or a range such as "600-699"'),
    ("status = true", "status", 'true is not a status; write a status such as 603, a class such as "4xx" or a range such as "600-699"'),
    ('status = ["486", 603]', "status[0]", '"486" is not a status; write a status such as 603, a class such as "4xx" or a range such as "600-699"'),
    ('status = "606-600"', "status", '"606-600" ends before it begins; put the smaller status first'),
    ("status = []", "status", "the list is empty; name at least one, or remove the key"),
    ('from = ["carrier", "telco"]', "from[1]", '"telco" matches no trunk; the trunks are pbx, carrier'),
    ('from = "carier"', "from", '"carier" matches no trunk; did you mean "carrier"?'),
    ('to = "pb-*"', "to", '"pb-*" matches no trunk; the trunks are pbx, carrier'),
    ('to = "kind:phone"', "to", '"kind:phone" is no kind of trunk; write kind:pbx, kind:carrier, kind:peer'),
    ('to = "kind:carier"', "to", '"kind:carier" is no kind of trunk; did you mean "kind:carrier"?'),
    ("from = 5", "from", '5 is not text; write it in "quotes"'),
    ('from = ""', "from", "the text is empty; write something, or remove the key"),
    ('method = "invite"', "method", '"invite" is not a SIP method; did you mean "INVITE"?'),
    ('method = "IN VITE"', "method", '"IN VITE" is not a SIP method; write one such as "INVITE"'),
    ("phrase = '('", "phrase", "'(' is not a regular expression: missing ), unterminated subpattern at position 0; correct it, or put a \\ before a sign that stands for itself"),
    ("phrase = ['ok', '(a+)+b']", "phrase[1]", "'(a+)+b' repeats something that can itself match in several ways, which can take for ever on a hostile text; give the outer repeat a limit of at most 8, such as {1,8}"),
    ("reason_text = '.*a.*b.*c'", "reason_text", "'.*a.*b.*c' can take seconds on a hostile text; use at most 2 of .* and the like after one another"),
    ("q850 = 128", "q850", "128 is not possible; write a whole number from 1 to 127"),
    ('q850 = ["1"]', "q850[0]", '"1" is not possible; write a whole number from 1 to 127'),
    ("sip_cause = 7000", "sip_cause", "7000 is not possible; write a whole number from 200 to 699"),
    ('location = "XX"', "location", '"XX" is not a location; write U, LPN, LN, TN, RLN, RPN, INTL, BI or LOC-n'),
    ("header = 'X-A'", "header", '"X-A" names no header; write header.NAME = "…"'),
    ("header.X-A = 5", "header.X-A", '5 is not text; write it in "quotes"'),
    ("header.'a b' = true", 'header."a b"', '"a b" is not a header name; write one such as "X-Reason"'),
    ("request_header.X-A = ['x', '[']", "request_header.X-A[1]", "'[' is not a regular expression: unterminated character set at position 0; correct it, or put a \\ before a sign that stands for itself"),
    ("called = '+1'", "called", '"+1" is not a table; write called.prefix, called.regex or called.list'),
    ("called = {}", "called", "no numbers are named; write called.prefix, called.regex or called.list"),
    ("caller.prefxi = '+1'", "caller.prefxi", 'this key is not known; did you mean "prefix"?'),
    ("caller.regex = '(a*)*'", "caller.regex", "'(a*)*' repeats something that can itself match in several ways, which can take for ever on a hostile text; give the outer repeat a limit of at most 8, such as {1,8}"),
    ("called.list = 'nowhere.txt'", "called.list", "the list nowhere.txt cannot be read: no such file or directory; check its path"),
    ("rang = 'yes'", "rang", '"yes" is neither true nor false; write true or false'),
    ("after = '300ms'", "after", '"300ms" is not a comparison; write "<300ms", ">2s" or "1s..5s"'),
    ("after = 2", "after", '2 is not a comparison; write "<300ms", ">2s" or "1s..5s"'),
    ("ringing = '<2 parsecs'", "ringing", "'2 parsecs' is not a duration; write a number with ms, s, m, h or d, such as \"30s\""),
    ("ringing = '5s..1s'", "ringing", '"5s..1s" ends before it begins; put the smaller number first'),
    ("retry_after = 60", "retry_after", '60 is not a comparison; write true, false, "<60", ">=3600" or "10..20"'),
    ('retry_after = "‹²"', "retry_after", '"‹²" is not a comparison; write true, false, "<60", ">=3600" or "10..20"'),
    ('retry_after = "<²"', "retry_after", "'²' is not a duration; write a number with ms, s, m, h or d, such as \"30s\""),
    ('called.list = "a\\u0000b"', "called.list", "'a\\x00b' is not the path of a list; check the path"),
    (f"q850 = 0x{'F' * 5000}", "q850", "this is not possible; write a whole number from 1 to 127"),
    (f"q850 = [1, [0x{'F' * 5000}]]", "q850[1]", "this is not possible; write a whole number from 1 to 127"),
    ('origin = "carrier"', "origin", '"carrier" is not one of the choices; write "peer", "local"'),
    ('origin = "locale"', "origin", '"locale" is not one of the choices; did you mean "local"?'),
    ("stauts = 603", "stauts", 'this key is not known; did you mean "status"?'),
    ("attestation = 'D'", "attestation", '"D" is not one of the choices; write "A", "B", "C", "none"'),
    ("branches = 'all-busy'", "branches", '"all-busy" is not one of the choices; did you mean "any-busy"?'),
    ("branches = 2", "branches", '2 is not one of the choices; write "single", "forked", "all-declined", "any-busy"'),
    ("days = ['mon', 'fry']", "days[1]", '"fry" is no day of the week; did you mean "fri"?'),
    ("days = 'mon-5'", "days", '"mon-5" is no day of the week; write mon, tue, wed, thu, fri, sat, sun or a span, "mon-fri"'),
    ("days = 5", "days", '5 is not text; write it in "quotes"'),
    ("hours = '8-17'", "hours", '"8-17" is no span of hours; write one such as "08:00-18:00"'),
    ("hours = '08:00-25:00'", "hours", '"08:00-25:00" names a time that no clock shows; write times from 00:00 to 24:00'),
    ("hours = '08:00-17:60'", "hours", '"08:00-17:60" names a time that no clock shows; write times from 00:00 to 24:00'),
    ("hours = '08:00-08:00'", "hours", '"08:00-08:00" ends as it begins; write "00:00-24:00" for the whole day'),
    ("tz = 'UTC'", "tz", "a time zone alone says nothing; add days or hours, or remove it"),
]  # fmt: skip


def test_a_mistake_in_a_time_zone() -> None:
    text = 'version = 1\n[[rule]]\nname = "a"\nthen.status = 404\nwhen.days = "mon"\nwhen.tz = '
    for zone, problem in {
        '"Europe/Berlim"': '"Europe/Berlim" is no time zone; did you mean "Europe/Berlin"?',
        '"../../etc/passwd"': '"../../etc/passwd" is no time zone; write one such as "Europe/Berlin"',
        '["UTC", "Asia/Tokyo"]': "there are several time zones; write one",
    }.items():
        assert mistakes(text + zone) == [f"rules.toml:6: rule[a].when.tz: {problem}"]


@pytest.mark.parametrize(("line", "key", "sentence"), IN_WHEN)
def test_a_mistake_in_when(line: str, key: str, sentence: str) -> None:
    text = f'version = 1\n[[rule]]\nname = "a"\nthen.status = 404\nwhen.{line}\n'
    assert mistakes(text) == [f"rules.toml:5: rule[a].when.{key}: {sentence}"]


def test_a_huge_number_in_a_canary_is_told() -> None:
    text = GOOD.replace("when", "share = 0.1\nwhen").replace("603", "0x" + "F" * 5000)
    assert [sentence.partition(";")[0] for sentence in mistakes(text)] == [
        "rules.toml:5: rule[a].when.status: this is outside of what rules can speak of"
    ]


IN_THEN = [
    ("status = 302", "status", "302 is not possible; write a whole number from 400 to 699"),
    ('status = "404"', "status", '"404" is not possible; write a whole number from 400 to 699, or "from-q850"'),
    (f"status = 0x{'F' * 5000}", "status", "this is not possible; write a whole number from 400 to 699"),
    ("status = 487", "status", "487 steers the protocol; write another status from 400 to 699"),
    ("status = 608", "status", "608 is for machines alone (RFC 8688); write another status from 400 to 699"),
    ('phrase = "a\\r\\nVia: x"', "phrase", "the text holds a line end or another control character; write it on one line"),
    ("phrase = 4", "phrase", '4 is not text; write it in "quotes"'),
    (f'phrase = "{"x" * 257}"', "phrase", "the text has 257 characters; write at most 256"),
    ("q850 = 0", "q850", '0 is not possible; write a cause from 1 to 127, "coherent", "keep" or "drop"'),
    ('q850 = "same"', "q850", '"same" is not possible; write a cause from 1 to 127, "coherent", "keep" or "drop"'),
    ("retry_after = true", "retry_after", "true is not possible; write seconds, or false to remove the header"),
    ("retry_after = -1", "retry_after", "-1 is not possible; write seconds, or false to remove the header"),
    ('hunt = "go"', "hunt", '"go" is not one of the choices; write "continue", "stop"'),
    ('label = ""', "label", "the text is empty; write something, or remove the key"),
    ('remove = ["Subject", "v"]', "remove[1]", "Via belongs to one side of the call; leave it to the gateway"),
    ('remove = "a:b"', "remove", '"a:b" is not a header name; write one such as "X-Reason"'),
    ('set.Contact = "x"', "set.Contact", "Contact belongs to one side of the call; leave it to the gateway"),
    ('set.i = "x"', "set.i", "Call-ID belongs to one side of the call; leave it to the gateway"),
    ('set.reason = "x"', "set.reason", "Reason cannot be edited here; use then.q850 and then.original"),
    ('set.Retry-After = "5"', "set.Retry-After", "Retry-After cannot be edited here; use then.retry_after"),
    ('set.X-A = "a\\nb"', "set.X-A", "the text holds a line end or another control character; write it on one line"),
    ("set.X-A = 5", "set.X-A", '5 is not text; write it in "quotes"'),
    ('set = "X-A: 1"', "set", '"X-A: 1" names no header; write set.NAME = "value"'),
    ("statsu = 404", "statsu", 'this key is not known; did you mean "status"?'),
    ('original = "reason"', "", "the rule does nothing; write then.status, another action, or then.pass = true"),
    ("pass = false", "", "the rule does nothing; write then.status, another action, or then.pass = true"),
    ('pass = "yes"', "pass", '"yes" is neither true nor false; write true or false'),
]  # fmt: skip


@pytest.mark.parametrize(("line", "key", "sentence"), IN_THEN)
def test_a_mistake_in_then(line: str, key: str, sentence: str) -> None:
    text = f'version = 1\n[[rule]]\nname = "a"\nwhen.status = 603\nthen.{line}\n'
    where = f"rule[a].then.{key}" if key else "rule[a].then"
    assert f"rules.toml:5: {where}: {sentence}" in mistakes(text)


@pytest.mark.parametrize("status", [401, 407, 422, 423, 428, 436, 437, 438, 487, 491])
def test_no_rule_can_make_an_answer_that_steers_the_protocol(status: int) -> None:
    text = f'version = 1\n[[rule]]\nname = "a"\nthen.status = {status}\n'
    assert mistakes(text) == [
        f"rules.toml:4: rule[a].then.status: {status} steers the protocol; write another status from 400 to 699"
    ]


def test_a_rule_that_passes_cannot_rewrite_as_well() -> None:
    text = 'version = 1\n[[rule]]\nname = "a"\nthen.pass = true\nthen.status = 404\nthen.remove = "X"\n'
    why = "a rule with then.pass = true changes nothing; remove one of the two"
    assert mistakes(text) == [
        f"rules.toml:5: rule[a].then.status: {why}",
        f"rules.toml:6: rule[a].then.remove: {why}",
    ]


WHOLE_FILES = [
    ("", "rules.toml:1: version: the version is missing; write version = 1 at the top of the file"),
    ("version = 2", "rules.toml:1: version: version 2 is not known; write version = 1"),
    ("version = true", "rules.toml:1: version: version true is not known; write version = 1"),
    ('version = "1"', 'rules.toml:1: version: version "1" is not known; write version = 1'),
    ("version = 1\nrules = 5", 'rules.toml:2: rules: this key is not known; did you mean "rule"?'),
    ("version = 1\nrule = 5", "rules.toml:2: rule: 5 is a number; write [[rule]] above its keys"),
    (f'{GOOD}[[rule]]\nname = "a"\nthen.status = 410', 'rules.toml:7: rule[a].name: "a" is the name of the rule in line 2 too; give it another'),
    ("version = 1\n\n[[rule]]\nthen.status = 404", 'rules.toml:3: rule[0]: the rule has no name; write name = "…", which records and screens will show'),
    ('version = 1\n[[rule]]\nname = " "\nthen.status = 404', "rules.toml:3: rule[ ].name: the name is empty or cannot be printed; write a short name"),
    (f'version = 1\n[[rule]]\nname = "{"x" * 81}"\nthen.status = 404', f"rules.toml:3: rule[{'x' * 81}].name: the name has 81 characters; write at most 80"),
    ('version = 1\n[[rule]]\nname = "a"\nmode = "on"\nthen.status = 404', 'rules.toml:4: rule[a].mode: "on" is not one of the choices; write enforce, shadow or off'),
    ('version = 1\n[[rule]]\nname = "a"', "rules.toml:2: rule[a].then: the rule does nothing; write then.status, another action, or then.pass = true"),
    ('version = 1\n[[rule]]\nname = "a"\nwhen = 5\nthen.status = 404', "rules.toml:4: rule[a].when: 5 is a number; write when.KEY = …"),
    ('version = 1\n[[rule]]\nname = "a"\nthne.status = 404\nthen.status = 404', 'rules.toml:4: rule[a].thne: this key is not known; did you mean "then"?'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "sentence"), WHOLE_FILES)
def test_a_mistake_in_the_file(text: str, sentence: str) -> None:
    assert mistakes(text) == [sentence]


def test_every_mistake_of_a_file_is_reported_in_its_order() -> None:
    text = (
        'version = 1\n[[rule]]\nname = "a"\nwhen.status = 6\nwhen.q850 = 0\nthen.status = 1\n'
        '[[rule]]\nname = "b"\nwhen.rang = 1\nthen.hunt = "x"\n'
    )
    assert [sentence.split(": ")[0] for sentence in mistakes(text)] == [
        f"rules.toml:{line}" for line in (4, 5, 6, 9, 10)
    ]


def test_trunks_are_not_checked_where_none_are_known() -> None:
    assert rules("when.from = 'anything'\nthen.status = 404", None).rules


def test_a_file_that_cannot_be_read_is_one_mistake(tmp_path: Path) -> None:
    with pytest.raises(SettingsErrors) as caught:
        load_rules(tmp_path / "none.toml", None)
    assert str(caught.value) == f"{tmp_path}/none.toml: there is no such file; check the path"
    (tmp_path / "bad.toml").write_text("version = = 1")
    with pytest.raises(SettingsErrors) as caught:
        load_rules(tmp_path / "bad.toml", None)
    assert str(caught.value).startswith(f"{tmp_path}/bad.toml:1: ")


def test_a_file_of_no_rules_passes_everything() -> None:
    assert mistakes("version = 1") == []


def test_the_version_hash_names_the_text() -> None:
    one, two = rules("then.status = 404"), rules("then.status = 410")
    assert one.version_hash == rules("then.status = 404").version_hash != two.version_hash
    assert len(one.version_hash) == 12


def test_rules_that_are_refused_tell_the_lists_that_they_ask_for(tmp_path: Path) -> None:
    (tmp_path / "there.txt").write_text("+4930111\n")
    file = tmp_path / "rules.toml"
    file.write_text(GOOD.replace("status = 603", "called.list = ['there.txt', 'missing.txt']"))
    with pytest.raises(SettingsErrors) as refusal:
        load_rules(file, None)
    assert refusal.value.files == (tmp_path / "there.txt", tmp_path / "missing.txt")
