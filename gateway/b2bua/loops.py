"""Requests that come back to us, and whether they would do so for ever (RFC 3261 16.3 step 4, RFC 7332).

What a back-to-back user agent sends has a Call-ID and a Via of its own, so Max-Forwards, one less on each
leg, is what ends a loop in the end. Behind peers that are proxies it is found sooner: a request that descends
from one of ours brings our Via with it, whose branch nobody can guess. That alone is no loop: a PBX that
dials its own number gets the call back from the carrier, rightly. It is one when the same caller calls the
same number from the same trunk as in a request that it descends from: it would go the same way again. The
records that are made of requests say all that; those of MESSAGE, OPTIONS and their like are used here only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Request

from .credentials import user_of
from .leg import CalleeLeg
from .outside import OutsideRelay
from .record import CallRecord

_BRANCH = re.compile(rb";\s*+branch\s*+=\s*+([\w.\-]++)", re.IGNORECASE)


class Descent:
    """Which requests descend from which, for those few that do, by their records."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._parents: dict[str, CallRecord] = {}  # by the id of the descendant's record

    def parent_of(self, request: Request) -> CallRecord | None:
        """Return the record of the request, not yet answered, that this one descends from, or None."""
        if request.has_one_via:
            return None
        for value in request.values(b"Via"):
            for branch in _BRANCH.findall(value):
                client = self._endpoint.clients.get(branch)
                user = None if client is None else user_of(client)
                if isinstance(user, CalleeLeg):
                    return None if user.call is None else user.call.record
                if isinstance(user, OutsideRelay):
                    return user.record
        return None

    def is_loop(self, parent: CallRecord, record: CallRecord) -> bool:
        """Tell whether a request with this record would go the way of one that it descends from."""
        way = (record.caller_trunk, record.caller, record.called)
        return any(
            way == (ancestor.caller_trunk, ancestor.caller, ancestor.called)
            for ancestor in self._ancestors(parent)
        )

    def add(self, record: CallRecord, parent: CallRecord) -> None:
        """Note that a request descends from another."""
        self._parents[record.id] = parent

    def forget(self, record: CallRecord) -> None:
        """A call or a relay is over."""
        if self._parents:
            self._parents.pop(record.id, None)

    def _ancestors(self, record: CallRecord | None) -> Iterator[CallRecord]:
        while record is not None:
            yield record
            record = self._parents.get(record.id)
