"""The rules that come with the gateway: for a start without a rule file, and to copy from."""

from __future__ import annotations

from importlib.resources import files

from gateway.toml_source import TomlSource

FILE = "rules.toml (shipped)"
"""The name under which the shipped rules appear in messages."""


def shipped_rules() -> TomlSource:
    """Return the text of the shipped rules, ready for `compile_rules`."""
    return TomlSource.parse(files("gateway").joinpath("rules.toml").read_text(encoding="utf-8"), FILE)
