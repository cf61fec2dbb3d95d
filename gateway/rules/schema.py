"""Reads a rule file into a `RuleSet`, and collects everything that is wrong with it.

Each mistake is reported with its line, its key and what would be right; a bad rule does not hide the mistakes
of the next, and a file with any mistake gives no rules at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.rules import values
from gateway.rules.canary import Canary, canary_of, read_stop_when
from gateway.rules.conditions import on_status_of_cause
from gateway.rules.rule import FROM_Q850, Actions, Rule
from gateway.rules.ruleset import RuleSet
from gateway.rules.then import read_then
from gateway.rules.when import WhenReader
from gateway.settings_table import Table, words_of
from gateway.toml_source import SettingsError, SettingsErrors, TomlSource

VERSION = 1
"""The version of the language that this reads."""

MODES = ("enforce", "shadow", "off")
_LEAST_SHARE = 0.0001
_LONGEST_NAME = 80


def load_rules(path: str | Path, trunks: Mapping[str, str] | None) -> RuleSet:
    """Read and compile the rule file at `path`; see `compile_rules`. Raises SettingsErrors."""
    try:
        source = TomlSource.read(path)
    except SettingsError as error:
        raise SettingsErrors([error]) from None
    return compile_rules(source, trunks)


def compile_rules(source: TomlSource, trunks: Mapping[str, str] | None) -> RuleSet:
    """Compile a rule file.

    `trunks` (name -> kind) are the trunks that rules may name; None accepts any. Number lists are looked for
    beside the rule file. Raises SettingsErrors with every mistake in the file, and the lists it asks for.
    """
    errors: list[SettingsError] = []
    top = Table(source, (), source.data, errors)
    version = top.value("version")
    if version is None:
        top.fail("version", "the version is missing", f"write version = {VERSION} at the top of the file")
    elif version != VERSION or isinstance(version, bool):
        written = values.as_written(version)
        top.fail("version", f"version {written} is not known", f"write version = {VERSION}")
    reader = _RuleReader(trunks, Path(source.file).parent)
    rules: dict[str, Rule] = {}
    for index, table in enumerate(top.tables("rule")):
        rule = reader.read(table, index)
        if rule.name in rules:
            line = source.line("rule", rules[rule.name].index)
            table.fail("name", f'"{rule.name}" is the name of the rule in line {line} too', "give it another")
        if rule.name:
            rules[rule.name] = rule
    top.done()
    if errors:
        raise SettingsErrors(errors, reader.when.files)
    return RuleSet(source, rules.values(), reader.when.files)


class _RuleReader:
    """Reads the rules of one file."""

    def __init__(self, trunks: Mapping[str, str] | None, directory: Path) -> None:
        self.when = WhenReader(trunks, directory)
        self._actions: dict[str, Actions] = {}

    def read(self, table: Table, index: int) -> Rule:
        """Read one [[rule]]. Mistakes go to the table's errors; what they spoil is left out."""
        name = table.text("name", "")
        if "name" not in table:
            table.fail((), "the rule has no name", 'write name = "…", which records and screens will show')
        elif isinstance(table.data["name"], str) and not (name.strip() and name.isprintable()):
            table.fail("name", "the name is empty or cannot be printed", "write a short name")
        elif len(name) > _LONGEST_NAME:
            table.fail("name", f"the name has {len(name)} characters", f"write at most {_LONGEST_NAME}")
        description = table.text("description", "")
        mode = table.choice("mode", "enforce", MODES)
        when = self.when.read(table.table("when"))
        actions = self._read_then(table.table("then"))
        canary = _read_canary(table, name, mode)
        table.done()
        conditions = when.conditions
        if actions.status == FROM_Q850:
            conditions = (*conditions, on_status_of_cause())
        return Rule(name, description, mode, index, when.statuses, when.methods, conditions, actions, canary)

    def _read_then(self, table: Table) -> Actions:
        """Read a `then` table, or find the actions of an earlier one that says the same."""
        words = words_of(table.data)
        actions = self._actions.get(words)
        if actions is None:
            mistakes = len(table.errors)
            actions = read_then(table)
            if len(table.errors) == mistakes:
                self._actions[words] = actions
        return actions


def _read_canary(table: Table, name: str, mode: str) -> Canary | None:
    """Read `share` and `stop_when`."""
    share = table.value("share")
    stop_when = table.parsed("stop_when", None, read_stop_when)
    if share is None:
        if "stop_when" in table:
            problem = "the rule decides about all calls, so that there are none to compare with"
            table.fail("stop_when", problem, "write share = 0.1, or remove the key")
        return None
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not _LEAST_SHARE <= share < 1:
        remedy = f"write a share from {_LEAST_SHARE} to less than 1, such as 0.1, or remove the key"
        table.fail("share", f"{values.as_written(share)} is not possible", remedy)
        return None
    if mode != "enforce":
        table.fail(
            "share", f'mode "{mode}" decides about no calls', 'write mode = "enforce", or remove the key'
        )
        return None
    return canary_of(name, share, stop_when, table.data)
