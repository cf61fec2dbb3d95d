"""Headers that name a dialog: what one leg calls it, the other must call by its own name.

Replaces (RFC 3891), Join (RFC 3911), Target-Dialog (RFC 4538) and a Replaces inside Refer-To (RFC 3515,
RFC 5589) name a dialog by Call-ID and tags, as it is known on the side they come from. Whoever gets them
knows the call by the twin dialog on its own leg. A dialog that is not ours, or that the receiver's side
knows by that very name, is left as it came. In-Reply-To (RFC 3261 20.21) names calls by their Call-ID.
The Event of a subscription to one dialog (RFC 4235 4.2) does either, as it has both tags or not.

A request that opens nothing but speaks of a dialog of ours goes where that dialog goes, whatever its
Request-URI says: our Contact, which transfer targets are made of, names nobody behind us.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from typing import Final, Protocol, cast

from gateway.routing.locate import Address
from gateway.routing.route import Hop
from gateway.routing.trunk import Target, Trunk
from gateway.sip.dialog import Dialog
from gateway.sip.endpoint import Endpoint
from gateway.sip.errors import MalformedError
from gateway.sip.headers import parse_params
from gateway.sip.message import Request
from gateway.sip.rows import Rows, key_set
from gateway.sip.uri import parse_uri, unescape

from .record import CallRecord

_REPLACES = (b"to-tag", b"from-tag")
_TAGS: Final = {b"Replaces": _REPLACES, b"Join": _REPLACES, b"Target-Dialog": (b"local-tag", b"remote-tag")}
_NAMING: Final = key_set(frozenset((*_TAGS, b"Refer-To", b"In-Reply-To", b"Event")))
_IN_URI = re.compile(rb"([?&]Replaces=)([^&>]*)", re.IGNORECASE)
_UNSAFE = re.compile(
    rb"[^A-Za-z0-9\-_.!~*'()]"
)  # in a URI's headers (RFC 3261 25.1, hnv-unreserved left out)
_REMEMBERED = 10_000


class _OnTrunk(Protocol):
    """What every owner of a dialog is here: a leg of a call, or a side of a subscription."""

    trunk: Trunk


def trunk_of(dialog: Dialog) -> Trunk:
    """Return the trunk of an open dialog."""
    return cast(_OnTrunk, dialog.user).trunk


class Names:
    """What each side calls the dialogs and calls that pass through us."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.foreign: OrderedDict[tuple[bytes, bytes], Dialog] = OrderedDict()
        """Dialogs of other workers that requests have named here, by their tags (`remember_dialog`)."""
        self._noted: deque[CallRecord] = deque(maxlen=_REMEMBERED)
        self._by_call_id: dict[str, CallRecord] = {}

    def note(self, record: CallRecord) -> None:
        """Remember the Call-IDs of a call whose callee is settled, for an In-Reply-To to come.

        Nothing is looked up here, because nearly all calls are never spoken of again.
        """
        self._noted.append(record)

    def rename(self, request: Request, target: Trunk) -> Rows:
        """Return the request's rows with every dialog called as the side of ``target`` knows it; the very
        list that came when it names none.
        """
        if not request.has_any(_NAMING):
            return request.rows
        return [(key, self._rename(key, line, target)) for key, line in request.rows]

    def place(self, request: Request) -> Hop | None:
        """Return where a request outside of dialogs goes because it replaces, joins or speaks of a dialog
        that we hold (RFC 3891 3, RFC 3911 4, RFC 4538 6); None when it names none of ours.
        """
        for key, tags in _TAGS.items():
            value = request.get(key)
            if value is None:
                continue
            found = self._find(value, tags)
            if found is None:
                continue
            dialog, is_receivers = found
            if not is_receivers or key == b"Target-Dialog":
                dialog = cast(Dialog, dialog.twin)
            return _place_of(dialog)
        return None

    def _rename(self, key: bytes, line: bytes, target: Trunk) -> bytes:
        if key == b"Refer-To":
            return _IN_URI.sub(lambda found: found[1] + self._rename_escaped(found[2], target), line)
        value = line.partition(b":")[2]
        if key == b"In-Reply-To":
            calls = [item.strip() for item in value.split(b",")]
            called = [self._rename_call(call, target) for call in calls]
            return line if called == calls else b"In-Reply-To: " + b", ".join(called)
        if key == b"Event":
            return self._rename_event(line, value, target)
        tags = _TAGS.get(key)
        if tags is None:
            return line
        renamed = self._rename_value(value, tags, target)
        return line if renamed is None else b"%b: %b" % (key, renamed)

    def _rename_escaped(self, value: bytes, target: Trunk) -> bytes:
        named = unescape(value)
        renamed = self._rename_value(named, _REPLACES, target)
        if renamed is None and target.hide_topology:
            renamed = self._anonymous(named)
        return value if renamed is None else _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], renamed)

    def _anonymous(self, value: bytes) -> bytes | None:
        """Return the name of a dialog that the receiver has no part in, without a peer's Call-ID, or None.

        Its INVITE brings the name back to us: who is referred to a call on a third trunk (RFC 5589 7).
        """
        found = self._find(value, _REPLACES)
        if found is None or found[1]:
            return None
        return found[0].local_tag + b";" + value.partition(b";")[2]

    def _rename_event(self, line: bytes, value: bytes, target: Trunk) -> bytes:
        """Say which dialog a subscription is to. A single tag cannot be looked up, so it goes:
        the Call-ID alone means every dialog of that call.
        """
        params = _params(value)
        call_id = (params.get(b"call-id") or b"").strip(b'"')
        if not call_id:
            return line
        tags = [b"%b=%b" % (name, params[name] or b"") for name in _REPLACES if name in params]
        if len(tags) == len(_REPLACES):
            renamed = self._rename_value(b";".join([call_id, *tags]), _REPLACES, target, both_ways=True)
        else:
            renamed = self._rename_call(call_id, target)
        if renamed is None or renamed == call_id or b'"' in renamed:
            return line
        call_id, *tags = renamed.split(b";")
        named = (b"call-id", *_REPLACES)
        kept = [
            name if said is None else b"%b=%b" % (name, said)
            for name, said in params.items()
            if name not in named
        ]
        return b"Event: " + b";".join(
            [value.partition(b";")[0].strip(), b'call-id="%b"' % call_id, *tags, *kept]
        )

    def _rename_value(
        self, value: bytes, tags: tuple[bytes, bytes], target: Trunk, both_ways: bool = False
    ) -> bytes | None:
        """Return ``call-id;tag=..;tag=..`` as the receiver's side says it, other parameters kept, or None.

        ``both_ways``: who sends it may name its own dialog by its own tag first, too.
        """
        found = self._find(value, tags)
        if found is None:
            return None
        dialog, is_receivers = found
        twin = dialog.twin
        if twin is None or trunk_of(twin).name != target.name:
            return None
        ends = (twin.remote_tag, twin.local_tag)
        if is_receivers:
            if tags == _REPLACES and not both_ways:
                return None
            ends = ends[::-1]  # RFC 4538 is read both ways in the field: it keeps the side it speaks from
        said = {**_params(value), tags[0]: ends[0], tags[1]: ends[1]}
        pairs = [name if value is None else b"%b=%b" % (name, value) for name, value in said.items()]
        return b";".join([twin.call_id, *pairs])

    def _find(self, value: bytes, tags: tuple[bytes, bytes]) -> tuple[Dialog, bool] | None:
        """Return the dialog of ours that ``call-id;tag=..;tag=..`` names, and whether it is named as the
        peer at its far end knows it, who then is the receiver that is meant; None when it is not ours.

        The first tag is the receiver's own, the second its peer's. Who speaks of its own dialog with us
        means us by the receiver, and so the twin.
        """
        call_id, own, peers = _split(value, tags)
        for local, remote in ((own, peers), (peers, own)):
            dialog = self.dialog(call_id, local, remote)
            if dialog is not None:
                return dialog, local is not own
        return None

    def dialog(self, call_id: bytes, local_tag: bytes, remote_tag: bytes) -> Dialog | None:
        """Return the dialog of a pair that is known here by this name, or None."""
        key = (local_tag, remote_tag)
        dialog = self._endpoint.dialogs.get(key) or self.foreign.get(key)
        if dialog is None or dialog.twin is None or not dialog.is_called(call_id):
            return None
        return dialog

    def remember_dialog(self, dialog: Dialog) -> None:
        """Know a dialog that another worker has, and its twin: either name may be asked for."""
        for end in (dialog, cast(Dialog, dialog.twin)):
            self.foreign[end.key] = end
        if len(self.foreign) > 2 * _REMEMBERED:
            self.forget_dialog(next(iter(self.foreign.values())))

    def forget_dialog(self, dialog: Dialog) -> None:
        """Forget a dialog that another worker has, or had, and its twin."""
        twin = cast(Dialog, dialog.twin)
        for end in (dialog, twin):
            self.foreign.pop(end.key, None)
            end.twin = None

    def _rename_call(self, call_id: bytes, target: Trunk) -> bytes:
        """Return the Call-ID of the other leg of a call that ``target`` has, or had, a leg of."""
        said = call_id.decode("utf-8", "replace")
        record = self.call(said)
        if record is None:
            return call_id
        is_callers = record.caller_call_id == said
        other = record.callee_call_id if is_callers else record.caller_call_id
        trunk = record.callee_trunk if is_callers else record.caller_trunk
        return other.encode() if other and trunk == target.name else call_id

    def call(self, call_id: str) -> CallRecord | None:
        """Return the record of a call, answered or over, by the Call-ID of either leg; None when it is not
        known (any more).
        """
        while self._noted:
            noted = self._noted.popleft()
            self._remember(noted.caller_call_id, noted)
            self._remember(noted.callee_call_id, noted)
        return self._by_call_id.get(call_id)

    def _remember(self, call_id: str, record: CallRecord) -> None:
        if call_id:
            while len(self._by_call_id) >= 2 * _REMEMBERED:
                del self._by_call_id[next(iter(self._by_call_id))]
            self._by_call_id[call_id] = record


def names_others(request: Request) -> bool:
    """Tell whether a request may name a dialog or a call."""
    return request.has_any(_NAMING)


def named_by(request: Request) -> tuple[list[tuple[bytes, bytes, bytes]], list[bytes]]:
    """Return the dialogs that a request names, as (Call-ID, tag, tag), and the Call-IDs of calls."""
    dialogs = []
    for key, tags in _TAGS.items():
        dialogs += [_split(value, tags) for value in request.values(key)]
    for value in request.values(b"Refer-To"):
        dialogs += [_split(unescape(found), _REPLACES) for _, found in _IN_URI.findall(value)]
    calls = [item.strip() for value in request.values(b"In-Reply-To") for item in value.split(b",")]
    return dialogs, calls


def _split(value: bytes, tags: tuple[bytes, bytes]) -> tuple[bytes, bytes, bytes]:
    """Return Call-ID and tags of ``call-id;tag=..;tag=..``; what is missing is b""."""
    params = _params(value)
    return value.strip().partition(b";")[0].strip(), params.get(tags[0]) or b"", params.get(tags[1]) or b""


def _params(value: bytes) -> dict[bytes, bytes | None]:
    _, semicolon, rest = value.partition(b";")
    try:
        return parse_params(semicolon + rest)
    except MalformedError:
        return {}


def _place_of(dialog: Dialog) -> Hop | None:
    """Return the remote target of a dialog as a place to send a new request to, along the dialog's flow."""
    try:
        uri = parse_uri(dialog.target)
    except MalformedError:
        return None
    if uri.scheme not in (b"sip", b"sips"):
        return None
    flow = dialog.flow
    address = Address(flow.peer[0], flow.peer[1], flow.local.transport)
    target = Target(dialog.target, address.host, address.port, address.transport, False)
    return Hop(trunk_of(dialog), target, address, uri=dialog.target)
