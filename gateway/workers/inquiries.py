"""Requests that speak of what another worker has.

A request belongs to the owner of its Call-ID, but it may name a dialog or a call that is elsewhere (Replaces,
Join, Target-Dialog, Refer-To, In-Reply-To), or be for a contact that was registered through the first worker.
Its owner then sends it round: an :class:`Inquiry` goes to each worker that must know, gathers what it is
told, and comes back, and the request is served as if all of that had been here. Nobody waits or remembers
anything meanwhile; where an inquiry is lost, the request comes again.
"""

from __future__ import annotations

import re

from gateway.b2bua.bindings import Binding
from gateway.b2bua.contacts import Contact
from gateway.b2bua.core import B2bua
from gateway.b2bua.naming import named_by, names_others, trunk_of
from gateway.b2bua.record import CallRecord
from gateway.b2bua.registration import dialled
from gateway.routing.route import Plan
from gateway.routing.trunk import Trunk, TrunkTable
from gateway.sip.dialog import Dialog
from gateway.sip.flow import Flow
from gateway.sip.message import Request
from gateway.sip.uri import Uri

from .endpoint import WorkerEndpoint
from .mesh import Mesh
from .notes import DialogEnd, FarContact, Inquiry, Legs
from .ownership import FIRST, owner_of_call

_CONTACT = re.compile(rb"sips?:([0-9a-f]{16})@")
_MOST = 16  # names that a request may ask about


class _OfTrunk:
    """Who owns a dialog in another worker: all that is asked of it here is its trunk."""

    def __init__(self, trunk: Trunk) -> None:
        self.trunk = trunk

    def on_request(self, *_: object) -> None:
        """Never called: the dialog is not open here."""

    def on_ack(self, *_: object) -> None:
        """Never called, likewise."""


class _Account:
    """A registration of the gateway's own, which the first worker has."""

    def __init__(self, registrar: str) -> None:
        self.registrar = registrar

    def reach(self, request: Request, uri: Uri, trunks: TrunkTable, _now: float) -> tuple[Uri, Plan | None]:
        """Return whom a request to this contact is for; the routes know the way."""
        return dialled(request, uri, trunks.by_name[self.registrar]), None


class Inquiries:
    """The inquiries of one worker, its own and those of others."""

    def __init__(self, mesh: Mesh, endpoint: WorkerEndpoint, b2bua: B2bua) -> None:
        self._mesh = mesh
        self._endpoint = endpoint
        self._b2bua = b2bua
        endpoint.asks = self.asks

    def asks(self, request: Request, data: bytes, flow: Flow) -> bool:
        """Send a request round if it speaks of what others may have; tell whether it does."""
        match = None
        if self._mesh.index != FIRST:
            match = _CONTACT.match(request.uri)
        names = names_others(request)
        if (match is None and not names) or request.method in (b"ACK", b"CANCEL"):
            return False
        token = match[1] if match is not None and match[1] not in self._b2bua.contacts else b""
        dialogs, calls = named_by(request) if names else ([], [])
        del dialogs[_MOST:], calls[_MOST:]
        wanted = {owner_of_call(call_id, self._mesh.workers) for call_id in calls}
        wanted |= {owner_of_call(dialog[0], self._mesh.workers) for dialog in dialogs}
        if token:
            wanted.add(FIRST)
        wanted.discard(self._mesh.index)
        if not wanted:
            return False
        left = sorted(wanted)
        name = self._endpoint.book.name_of(flow)
        note = Inquiry(self._mesh.index, left[1:], name, data, dialogs, calls, token)
        self._mesh.tell(left[0], note)
        return True

    def heed(self, inquiry: Inquiry, now: float) -> None:
        """Add what is known here to another's inquiry and send it on; or go on with one of our own."""
        if inquiry.asker != self._mesh.index:
            self._answer(inquiry)
            to = inquiry.left.pop(0) if inquiry.left else inquiry.asker
            self._mesh.tell(to, inquiry)
            return
        flow = self._endpoint.book.flow_of(*inquiry.flow)
        contact = self._learn(inquiry)
        if contact is not None:
            self._b2bua.contacts[inquiry.token] = contact
        try:
            self._endpoint.resume(inquiry.data, flow, now)
        finally:
            if contact is not None:
                del self._b2bua.contacts[inquiry.token]

    # -- what the others are told -----------------------------------------------------------------------

    def _answer(self, inquiry: Inquiry) -> None:
        names, dialogs = self._b2bua.names, self._endpoint.dialogs
        for call_id, first, second in inquiry.dialogs:
            for tags in ((first, second), (second, first)):
                dialog = dialogs.get(tags)
                if dialog is None or dialog.twin is None or not dialog.is_called(call_id):
                    continue
                inquiry.ends.append((self._end(dialog), self._end(dialog.twin)))
                break
        for call_id in inquiry.calls:
            record = names.call(call_id.decode("utf-8", "replace"))
            if record is not None:
                legs = (record.caller_call_id, record.callee_call_id, record.caller_trunk)
                inquiry.legs.append(Legs(*legs, record.callee_trunk))
        if inquiry.token and self._mesh.index == FIRST:
            inquiry.contact = self._contact(inquiry.token)

    def _end(self, dialog: Dialog) -> DialogEnd:
        flow = self._endpoint.book.name_of(dialog.flow)
        tags = (dialog.local_tag, dialog.remote_tag)
        return DialogEnd(dialog.call_id, *tags, dialog.target, flow, trunk_of(dialog).name)

    def _contact(self, token: bytes) -> FarContact | None:
        contact = self._b2bua.contacts.get(token)
        if contact is None:
            return None
        if not isinstance(contact, Binding):
            return FarContact(token, contact.registrar)
        flow = self._endpoint.book.name_of(contact.flow)
        return FarContact(
            token, contact.registrar, contact.source, contact.contact, flow, contact.path, contact.expires_at
        )

    # -- what they told ---------------------------------------------------------------------------------

    def _learn(self, inquiry: Inquiry) -> Contact | None:
        """Take what the others know, and return the contact that the request is for, if it is one."""
        names = self._b2bua.names
        for call_id, first, second in inquiry.dialogs:
            for tags in ((first, second), (second, first)):
                known = names.foreign.get(tags)
                if known is not None and known.is_called(call_id):
                    names.forget_dialog(known)  # unless it is told of again
        for ends in inquiry.ends:
            dialog, twin = (self._dialog(end) for end in ends)
            if dialog is not None and twin is not None:
                dialog.twin, twin.twin = twin, dialog
                names.remember_dialog(dialog)
        for legs in inquiry.legs:
            names.note(
                CallRecord(
                    id="",
                    caller_call_id=legs.caller_call_id,
                    callee_call_id=legs.callee_call_id,
                    caller_trunk=legs.caller_trunk,
                    callee_trunk=legs.callee_trunk,
                    caller="",
                    called="",
                    invited_at=0.0,
                )
            )
        contact = inquiry.contact
        if contact is None:
            return None
        if contact.flow is None:
            return _Account(contact.registrar) if contact.registrar in self._trunks.by_name else None
        flow = self._endpoint.book.flow_of(*contact.flow)
        made = Binding(
            contact.source, contact.registrar, contact.contact, contact.token, self._endpoint.flows, flow
        )
        made.path = contact.path
        made.expires_at = contact.expires_at
        return made

    def _dialog(self, end: DialogEnd) -> Dialog | None:
        trunk = self._trunks.by_name.get(end.trunk)
        if trunk is None:
            return None
        flow = self._endpoint.book.flow_of(*end.flow)
        tags = (end.local_tag, b"", end.remote_tag)
        return Dialog(_OfTrunk(trunk), end.call_id, b"", *tags, end.target, flow)

    @property
    def _trunks(self) -> TrunkTable:
        return self._b2bua.trunks()
