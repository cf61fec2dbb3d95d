"""Which rules the commands work with, found in the way `gateway run` finds them."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config
from gateway.rules import RuleSet, compile_rules, load_rules, shipped_rules


def read_rules(path: Path | None, config: Config, *, embedded: bool) -> RuleSet:
    """Return the rules at `path`, or those that `config` names. Raises SettingsErrors.

    `embedded` says that `config` is the embedded default. Its rules.toml need not be there: the shipped rules
    stand in. And its two trunks are no measure for the names in a rule file that was given alone.
    """
    place = path or config.gateway.rules
    trunks = None if embedded and path is not None else config.trunk_kinds
    if embedded and path is None and not place.exists():
        return compile_rules(shipped_rules(), trunks)
    return load_rules(place, trunks)
