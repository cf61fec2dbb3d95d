"""Reading what a gateway is set up with, while it serves: in threads, and not for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import trio

from gateway.b2bua.core import Setup
from gateway.config import Config, SettingsError, SettingsErrors, passwords
from gateway.routing.route import Routes
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.rules.configured import configured_rules

LONGEST_READING = 60.0
"""Seconds that files may take to be read while the gateway serves."""
TOO_SLOW: Final = SettingsError(
    "",
    0,
    "",
    f"the files have not been read within {LONGEST_READING:g} s",
    "see that their file system answers",
)

T = TypeVar("T")


def make_setup(config: Config) -> Setup:
    """Make trunks, routes and rules of a configuration. Raises SettingsErrors."""
    secrets = passwords(config, os.environ)
    trunks = TrunkTable(Trunk(settings, secrets.get(settings.name, "")) for settings in config.trunks)
    return Setup(trunks, Routes(config, trunks), configured_rules(config))


def lists_of(setup: Setup) -> tuple[Path, ...]:
    """Return the number lists that a setup was made of."""
    return setup.rules.files


async def in_thread(read: Callable[..., T], *args: object) -> T:
    """Read files in a thread. One that never comes to its end, a pipe or on a server that is gone, does not
    keep the gateway from ending, nor for long from reading others. Raises SettingsErrors then, too.
    """
    with trio.move_on_after(LONGEST_READING):
        return await trio.to_thread.run_sync(read, *args, abandon_on_cancel=True)
    raise SettingsErrors([TOO_SLOW])
