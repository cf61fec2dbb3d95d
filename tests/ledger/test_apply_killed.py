"""kill -9 while rules are applied: no half-applied rules, neither in the file nor in the ledger."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from gateway.ledger.canaries import history
from gateway.ledger.database import open_for_reading
from gateway.rules import load_rules
from tests.ledger.victim import run_and_kill

CONFIG = """\
[gateway]
rules = "rules.toml"
[ledger]
url = "sqlite:///gateway.db"
[[trunk]]
name = "pbx"
source = ["10.0.0.1"]
"""
VICTIM = """
import itertools, time
from gateway.commands.rules import rollback
from gateway.ledger.canaries import STOPPED, CanaryEvent
from gateway.ledger.canaries import keep as keep_event
from gateway.ledger.database import open_for_writing, parse_url
from gateway.ledger.versions import keep, version_of
from gateway.rules import compile_rules, load_rules
from gateway.toml_source import TomlSource
from tests.ledger.test_apply_killed import TEXTS

engine = open_for_writing(parse_url("sqlite:///gateway.db"))

def apply(rules):
    with engine.begin() as connection:
        keep(connection, version_of(rules, time.time()))
        keep_event(connection, CanaryEvent(1.0, STOPPED, "r0", "id", rules.version_hash, "", ""))

versions = [compile_rules(TomlSource.parse(text, "rules.toml"), None) for text in TEXTS]
for rules in versions:
    apply(rules)
for turn in itertools.count():
    assert rollback(versions[turn % 2].version_hash, config="gateway.toml") == 0
    apply(load_rules("rules.toml", None))
    print("applied", flush=True)
"""
RULE = '[[rule]]\nname = "r{}"\nwhen.status = 603\nthen.status = {}\n'
TEXTS = tuple(
    "version = 1\n" + "".join(RULE.format(number, status) for number in range(200)) for status in (404, 410)
)


def test_a_process_killed_while_it_applies_rules_leaves_whole_ones(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(CONFIG)
    applied = 0
    for turn in range(1, 6):
        said = run_and_kill(VICTIM, cwd=tmp_path, lines=10, after=turn * 0.013)  # no moment is special
        applied += said.count("applied")
        assert (tmp_path / "rules.toml").read_text() in TEXTS
        assert len(load_rules(tmp_path / "rules.toml", None).rules) == 200
        with sqlite3.connect(tmp_path / "gateway.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = connection.execute("SELECT hash, text FROM rule_versions").fetchall()
        connection.close()
        assert all(hashlib.sha256(text.encode()).hexdigest()[:12] == name for name, text in kept)
        assert len(kept) >= applied, "what was told to be applied is kept"
        with open_for_reading(f"sqlite:///{tmp_path / 'gateway.db'}").connect() as reader:
            events = history(reader, 100_000)
        # One transaction each; a version that is in force already is not kept twice.
        assert len(kept) <= len(events) <= len(kept) + turn
