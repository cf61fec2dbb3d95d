"""The rules that a configuration means: its file, or the shipped rules where it names none and has none."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config
from gateway.rules.ruleset import RuleSet
from gateway.rules.schema import compile_rules, load_rules
from gateway.rules.shipped import shipped_rules
from gateway.toml_source import SettingsErrors


def configured_rules(config: Config) -> RuleSet:
    """Return the compiled rules of a configuration.

    A `rules` key in the file must name a file that is there. Without the key, and with the embedded default
    configuration, ./rules.toml serves if it exists and else the shipped rules. Raises SettingsErrors.
    """
    named = not config.is_embedded and "rules" in config.source.data.get("gateway", {})
    path = config.gateway.rules
    if _is_there(path):
        return load_rules(path, config.trunk_kinds)
    if named:
        remedy = "check the path, or leave the key out for the rules that come with the gateway"
        raise SettingsErrors([config.source.error(("gateway", "rules"), f"there is no file {path}", remedy)])
    return compile_rules(shipped_rules(), config.trunk_kinds)


def _is_there(path: Path) -> bool:
    """Tell whether there is a file, or what may be one below a closed directory: reading it says why not."""
    try:
        return path.exists()
    except OSError:
        return True
