"""`gateway check`: every mistake is told with its place, and the exit code says how bad it is."""

from __future__ import annotations

from gateway.commands.check import check
from tests.commands.conftest import CONFIG, RULES, Place


def test_a_clean_configuration_is_summed_up_in_one_line(place: Place) -> None:
    place.write("rules.toml", RULES)
    assert place.run(check, config=place.write("gateway.toml", CONFIG)) == 0
    assert place.out == (
        "checked gateway.toml (2 trunks, 1 route) and rules.toml (2 rules): "
        "no mistakes, 2 notes (see --notes)\n"
    )
    assert place.err == ""


def test_the_embedded_default_with_the_shipped_rules_is_clean(place: Place) -> None:
    assert place.run(check) == 0
    assert place.out.startswith("checked the embedded default (2 trunks, 2 routes) and ")
    assert place.err == ""


def test_rules_that_do_not_work_now_are_counted(place: Place) -> None:
    text = RULES.replace("status = 603\nwhen.q", 'status = 603\nmode = "shadow"\nwhen.q').replace(
        'when.ringing = ">1s"', 'mode = "off"'
    )
    assert place.run(check, rules=place.write("idle.toml", text)) == 0
    assert "idle.toml (2 rules, 1 in shadow, 1 off): no mistakes" in place.out


def test_notes_are_printed_when_they_are_asked_for_and_do_not_count(place: Place) -> None:
    assert place.run(check, rules=place.write("rules.toml", RULES), show_notes=True) == 0
    first, second = place.err.splitlines()
    assert first.startswith("rules.toml:8: rule[dead-number].then.status: 6xx becomes 404, ")
    assert second.endswith(" (note)")


def test_a_rule_that_cannot_match_is_a_warning(place: Place) -> None:
    text = RULES + '\n[[rule]]\nname = "late"\nwhen.status = 487\nthen.status = 480\n'
    assert place.run(check, rules=place.write("rules.toml", text)) == 1
    assert place.err == (
        "rules.toml:19: rule[late].when.status: no rule is ever asked about these statuses, "
        "because guards protect them; remove the rule (warning)\n"
    )
    assert "(3 rules): 1 warning, 2 notes" in place.out


def test_every_mistake_in_both_files_is_told(place: Place) -> None:
    config = place.write(
        "gateway.toml", CONFIG.replace('kind = "pbx"', 'kind = "phone"').replace("to =", "too =")
    )
    rules = place.write(
        "rules.toml", RULES.replace("603", "6003", 1).replace("then.status = 486", "then.stat = 486")
    )
    assert place.run(check, config=config, rules=rules) == 2
    places = [line.split(": ", 2)[:2] for line in place.err.splitlines()]
    assert ["gateway.toml:13", "trunk[hq].kind"] in places
    assert ["rules.toml:6", "rule[dead-number].when.status"] in places
    assert ["rules.toml:15", "rule[phone-declined].then.stat"] in places
    assert all("; " in line for line in place.err.splitlines())
    assert place.out == ""


def test_rules_may_name_only_the_trunks_of_the_configuration(place: Place) -> None:
    config = place.write("gateway.toml", CONFIG)
    place.write("rules.toml", RULES.replace("kind:carrier", "wets"))
    assert place.run(check, config=config) == 2
    assert place.err.startswith("rules.toml:5: rule[dead-number].when.from")
    assert '"west"' in place.err


def test_rules_checked_alone_may_name_any_trunk(place: Place) -> None:
    rules = place.write("rules.toml", RULES.replace("kind:carrier", "carrier-west"))
    assert place.run(check, rules=rules) == 0


def test_a_file_that_is_not_there_is_an_error(place: Place) -> None:
    assert place.run(check, rules=place.path / "none.toml") == 2
    assert place.err == f"{place.path}/none.toml: there is no such file; check the path\n"


def test_a_rules_file_that_is_not_there_is_told_where_it_is_named(place: Place) -> None:
    config = place.write("gateway.toml", CONFIG.replace("rules.toml", "none.toml"))
    assert place.run(check, config=config) == 2
    assert place.err == (
        "gateway.toml:3: gateway.rules: there is no file none.toml; "
        "check the path, or leave the key out for the rules that come with the gateway\n"
    )


def test_json_holds_the_same_for_a_program(place: Place) -> None:
    text = RULES + '\n[[rule]]\nname = "late"\nwhen.status = 487\nthen.status = 480\n'
    assert place.run(check, rules=place.write("rules.toml", text), json=True) == 1
    assert place.json["errors"] == []
    assert len(place.json["notes"]) == 2
    assert place.json["warnings"] == [
        {
            "file": "rules.toml",
            "line": 19,
            "key": "rule[late].when.status",
            "problem": "no rule is ever asked about these statuses, because guards protect them",
            "remedy": "remove the rule",
            "rule": "late",
            "kind": "guarded",
        }
    ]
    assert place.run(check, rules=place.write("rules.toml", "version = 2\n"), json=True) == 2
    assert place.json["errors"][0]["line"] == 1


def test_a_certificate_that_is_none_is_a_mistake(place: Place) -> None:
    place.write("cert.pem", "garbage")
    place.write("key.pem", "garbage")
    text = CONFIG.replace("[console]", 'tls_cert = "cert.pem"\ntls_key = "key.pem"\n[console]')
    rules = place.write("rules.toml", RULES)
    assert place.run(check, config=place.write("gateway.toml", text), rules=rules) == 2
    assert place.err.startswith('gateway.toml:5: gateway.tls_cert: "cert.pem" cannot be used (')
    assert "no mistakes" not in place.out


def test_a_ledger_that_cannot_be_read_is_told_beside_all_else(place: Place) -> None:
    rules = place.write("rules.toml", RULES.replace("404", "40"))
    config = place.write("gateway.toml", CONFIG)
    assert place.run(check, config=config, rules=rules, ledger="sqlite:///none.db") == 2
    first, second = place.err.splitlines()
    assert place.out == ""
    assert first.startswith("rules.toml:8: ")
    assert second.startswith("there is no ledger at none.db; it is made by the first `gateway run`")
    assert place.run(check, config=config, rules=rules, ledger="sqlite:///none.db", json=True) == 2
    assert [each["file"] for each in place.json["errors"]] == ["rules.toml", ""]


def test_a_ledger_whose_url_is_none_is_a_mistake(place: Place) -> None:
    text = CONFIG.replace("sqlite:///gateway.db", "postgresql+psycopg://u:secret@h:abc/x")
    rules = place.write("rules.toml", RULES)
    assert place.run(check, config=place.write("gateway.toml", text), rules=rules) == 2
    assert place.err == (
        "gateway.toml:9: ledger.url: 'postgresql+psycopg://u:***@h:abc/x' is not a database URL; "
        "write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE\n"
    )
