"""Which rules and which ledger the commands work with, found in the way `gateway run` finds them."""

from __future__ import annotations

from pathlib import Path

from gateway.config import Config
from gateway.ledger.database import LedgerError
from gateway.rules import RuleSet, load_rules
from gateway.rules.configured import configured_rules


def read_rules(path: Path | None, config: Config) -> RuleSet:
    """Return the rules at `path`, or those that `config` means. Raises SettingsErrors.

    The two trunks of the embedded default are no measure for the names in a rule file that was given alone.
    """
    if path is None:
        return configured_rules(config)
    return load_rules(path, None if config.is_embedded else config.trunk_kinds)


def ledger_url(config: Config) -> str:
    """Return the URL of the configured ledger. Raises LedgerError when there is none."""
    if not config.ledger.url:
        place = f"{config.source.file}:{config.source.line('ledger', 'url')}"
        raise LedgerError(f'{place}: ledger.url: the ledger is off; write url = "sqlite:///var/gateway.db"')
    return config.ledger.url
