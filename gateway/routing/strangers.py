"""Who was refused because no trunk has its address as a source: what the log tells an operator.

A carrier that calls from an address nobody wrote down hears 403, and only its address says why. Noting it
takes no clock and no log line, because whole floods come from strangers: who looks once a second tells of it.
"""

from __future__ import annotations

from typing import Final

from gateway.sip.flow import Flow

_MOST_NEW: Final = 16  # between two looks; who is left out is noted when it comes again
_MOST_TOLD: Final = 1_000


class Strangers:
    """Hosts without a trunk: each is told of once, until as many others have been."""

    def __init__(self) -> None:
        self._new: dict[str, Flow] = {}
        self._told: set[str] = set()

    def note(self, flow: Flow) -> None:
        """Take note of somebody who was refused on this flow."""
        host = flow.peer[0]
        if len(self._new) < _MOST_NEW and host not in self._told:
            self._new[host] = flow

    def news(self) -> list[Flow]:
        """Return how those came who have not been told of yet."""
        if not self._new:
            return []
        found, self._new = self._new, {}
        if len(self._told) + len(found) > _MOST_TOLD:
            self._told.clear()
        self._told.update(found)
        return list(found.values())
