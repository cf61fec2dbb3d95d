"""What one process does and several cannot do yet: refused with a sentence, never done wrong."""

from __future__ import annotations

import sys

from gateway.config import Config, SettingsError
from gateway.rules import RuleSet


def unsupported(config: Config, rules: RuleSet) -> list[SettingsError]:
    """Return what stands in the way of serving this with several workers."""
    errors = []
    remedy = "write workers = 1"
    path = ("gateway", "workers")
    if not sys.platform.startswith("linux"):
        errors.append(config.source.error(path, "several workers need Linux", remedy))
    if rules.watches:
        problem = "rules that count earlier calls are served by one worker only"
        errors.append(config.source.error(path, problem, f"{remedy}, or leave these rules out"))
    if any(rule.canary is not None for rule in rules.rules):
        problem = "rules with a share are served by one worker only"
        errors.append(config.source.error(path, problem, f"{remedy}, or leave these rules out"))
    return errors
