"""Calls that come back to us, and whether they would do so for ever (RFC 3261 16.3 step 4, RFC 7332).

What a back-to-back user agent sends has a Call-ID and a Via of its own, so Max-Forwards, one less on each
leg, is what ends a loop in the end. Behind peers that are proxies it is found sooner: an INVITE that descends
from one of ours brings our Via with it, whose branch nobody can guess. That alone is no loop: a PBX that
dials its own number gets the call back from the carrier, rightly. It is one when the same caller calls the
same number from the same trunk as in a call that it descends from: it would go the same way again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Request

from .credentials import user_of
from .leg import CalleeLeg
from .record import CallRecord

if TYPE_CHECKING:
    from .call import Call

_BRANCH = re.compile(rb";\s*+branch\s*+=\s*+([\w.\-]++)", re.IGNORECASE)


class Descent:
    """Which calls descend from which, for those few that do."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._parents: dict[Call, Call] = {}

    def parent_of(self, request: Request) -> Call | None:
        """Return the call, not yet answered, whose INVITE this one descends from, or None."""
        if not request.repeated(b"Via") and b"," not in request.index[b"Via"]:
            return None
        for value in request.values(b"Via"):
            for branch in _BRANCH.findall(value):
                client = self._endpoint.clients.get(branch)
                leg = None if client is None else user_of(client)
                if isinstance(leg, CalleeLeg):
                    return leg.call
        return None

    def is_loop(self, parent: Call, record: CallRecord) -> bool:
        """Tell whether a call with this record would go the way of one that it descends from."""
        way = (record.caller_trunk, record.caller, record.called)
        return any(
            way == (call.record.caller_trunk, call.record.caller, call.record.called)
            for call in self._ancestors(parent)
        )

    def add(self, call: Call, parent: Call) -> None:
        """Note that a call descends from another."""
        self._parents[call] = parent

    def forget(self, call: Call) -> None:
        """A call is over."""
        if self._parents:
            self._parents.pop(call, None)

    def _ancestors(self, call: Call | None) -> Iterator[Call]:
        while call is not None:
            yield call
            call = self._parents.get(call)
