"""The rules that a configuration means: its file, or the shipped rules where it names none and has none."""

from __future__ import annotations

from gateway.config import Config
from gateway.rules.ruleset import RuleSet
from gateway.rules.schema import compile_rules, load_rules
from gateway.rules.shipped import shipped_rules


def configured_rules(config: Config) -> RuleSet:
    """Return the compiled rules of a configuration.

    A `rules` key in the file must name a file that is there. Without the key, and with the embedded default
    configuration, ./rules.toml serves if it exists and else the shipped rules. Raises SettingsErrors.
    """
    named = not config.is_embedded and "rules" in config.source.data.get("gateway", {})
    if not named and not config.gateway.rules.exists():
        return compile_rules(shipped_rules(), config.trunk_kinds)
    return load_rules(config.gateway.rules, config.trunk_kinds)
