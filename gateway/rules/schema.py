"""Reads a rule file into a `RuleSet`, and collects everything that is wrong with it.

Each mistake is reported with its line, its key and what would be right; a bad rule does not hide the mistakes
of the next, and a file with any mistake gives no rules at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gateway.rules import values
from gateway.rules.rule import Rule
from gateway.rules.ruleset import RuleSet
from gateway.rules.then import read_then
from gateway.rules.when import read_when
from gateway.settings_table import Table
from gateway.toml_source import SettingsError, SettingsErrors, TomlSource

VERSION = 1
"""The version of the language that this reads."""

MODES = ("enforce", "shadow", "off")
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
    beside the rule file. Raises SettingsErrors with every mistake in the file.
    """
    errors: list[SettingsError] = []
    top = Table(source, (), source.data, errors)
    version = top.value("version")
    if version is None:
        top.fail("version", "the version is missing", f"write version = {VERSION} at the top of the file")
    elif version != VERSION or isinstance(version, bool):
        written = values.as_written(version)
        top.fail("version", f"version {written} is not known", f"write version = {VERSION}")
    rules: dict[str, Rule] = {}
    for index, table in enumerate(top.tables("rule")):
        rule = _read_rule(table, index, trunks, Path(source.file).parent)
        if rule.name in rules:
            line = rules[rule.name].line
            table.fail("name", f'"{rule.name}" is the name of the rule in line {line} too', "give it another")
        if rule.name:
            rules[rule.name] = rule
    top.done()
    if errors:
        raise SettingsErrors(errors)
    return RuleSet(source, rules.values())


def _read_rule(table: Table, index: int, trunks: Mapping[str, str] | None, directory: Path) -> Rule:
    name = table.text("name", "")
    if "name" not in table:
        table.fail((), "the rule has no name", 'write name = "…", which records and screens will show')
    elif isinstance(table.data["name"], str) and not (name.strip() and name.isprintable()):
        table.fail("name", "the name is empty or cannot be printed", "write a short name")
    elif len(name) > _LONGEST_NAME:
        table.fail("name", f"the name has {len(name)} characters", f"write at most {_LONGEST_NAME}")
    description = table.text("description", "")
    mode = table.choice("mode", "enforce", MODES)
    when = read_when(table.table("when"), trunks, directory)
    actions = read_then(table.table("then"))
    table.done()
    return Rule(
        name,
        description,
        mode,
        table.source.line(*table.path),
        index,
        when.statuses,
        when.methods,
        when.conditions,
        tuple(condition.test for condition in when.conditions if condition.key != "status"),
        actions,
    )
