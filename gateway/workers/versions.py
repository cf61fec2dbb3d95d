"""Configuration and rules as they are put to work by all workers at once.

The supervisor reads them first. What it found right it names by a digest, and asks each worker to read the
same; only when all have done so, do all switch. A worker that starts later is a copy of the supervisor, and
so has what is in force.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gateway.b2bua.core import Setup
from gateway.config import Config, load
from gateway.reading import lists_of, make_setup
from gateway.rules.configured import configured_rules
from gateway.toml_source import SettingsErrors
from gateway.watching import read_settled

from .board import LIMITED, Board, SharedLoad
from .unsupported import unsupported


class Version(NamedTuple):
    """What is to be put to work. ``digest`` is equal where the files were."""

    config: Config
    setup: Setup
    digest: str


def read_version(path: Path | None, before: Version | None, *, whole: bool) -> Version:
    """Read rules, and with ``whole`` the configuration. Raises SettingsErrors."""
    config = load(path) if whole or before is None else before.config
    lists: tuple[Path, ...] = () if before is None else before.setup.rules.files

    def read() -> Setup:
        if whole or before is None:
            return make_setup(config)
        return replace(before.setup, rules=configured_rules(config))

    setup, stamp = read_settled(read, lists_of, lists)
    errors = unsupported(config)
    if errors:
        raise SettingsErrors(errors)
    text = f"{config.source.text}\0{setup.rules.source.text}\0{stamp}"
    return Version(config, setup, hashlib.sha256(text.encode()).hexdigest()[:16])


def number_limits(setup: Setup, slots: dict[str, int]) -> bool:
    """Give each limited trunk that has none a number on the board; tell whether there is room for all."""
    for trunk in setup.trunks:
        if trunk.load is not None:
            slots.setdefault(trunk.name, len(slots))
    return len(slots) <= LIMITED


def share_limits(setup: Setup, board: Board, slots: dict[str, int], worker: int) -> list[SharedLoad]:
    """Have limited trunks count over all workers, and return what they count with."""
    found = []
    for trunk in setup.trunks:
        if trunk.load is not None and not isinstance(trunk.load, SharedLoad):
            limits = (trunk.load.max_calls, trunk.load.max_cps)
            trunk.load = SharedLoad(board, slots[trunk.name], worker, *limits)
        if isinstance(trunk.load, SharedLoad):
            found.append(trunk.load)
    return found
