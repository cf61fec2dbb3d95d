"""Which rules the commands work with, found in the way `gateway run` finds them."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config
from gateway.rules import RuleSet, load_rules
from gateway.rules.configured import configured_rules


def read_rules(path: Path | None, config: Config) -> RuleSet:
    """Return the rules at `path`, or those that `config` means. Raises SettingsErrors.

    The two trunks of the embedded default are no measure for the names in a rule file that was given alone.
    """
    if path is None:
        return configured_rules(config)
    return load_rules(path, None if config.is_embedded else config.trunk_kinds)
