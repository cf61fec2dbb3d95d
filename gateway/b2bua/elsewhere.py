"""A request inside a dialog that has more than one address to go to (RFC 3263 4.3).

Its next hop is a name with several addresses; or the peer named an address where it takes no connection, and
is still on the one that it opened: so do phones on TLS, which have no certificate to be called with. Where an
address fails (503, no way to send, silence), the dialog turns to the next one, and with it all that follows.
The request itself goes there too, with the next CSeq number, unless silence has met one that is no INVITE:
whoever asked has given up by then (RFC 4320 4.2).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.sip.dialog import Dialog
from gateway.sip.message import Response
from gateway.sip.transaction import ClientTransaction, ClientUser, InviteClient

Follow = Callable[[ClientTransaction], None]
Send = Callable[[ClientUser, float], ClientTransaction]
"""Sends the request to where its dialog points now, for this user."""


class Elsewhere:
    """One such request. Stands between its transactions and its ``user``; ``follow`` is told of each
    transaction that takes the place of the one before.
    """

    __slots__ = ("_dialog", "_follow", "_left", "_send", "_was_heard", "user")

    def __init__(self, dialog: Dialog, user: ClientUser | None, follow: Follow | None, send: Send) -> None:
        self.user = user
        self._dialog = dialog
        self._follow = follow
        self._send = send
        self._left = len(dialog.others)
        self._was_heard = False

    def send(self, now: float) -> ClientTransaction:
        """Send the request to the address that the dialog has."""
        return self._send(self, now)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Go elsewhere on a 503, which speaks for its whole host; hand everything else up."""
        self._was_heard = True
        host, dialog = transaction.flow.peer[0], self._dialog
        has_another = any(flow.peer[0] != host for flow in (dialog.flow, *dialog.others))
        if response.status == 503 and has_another and self._goes_on(transaction):
            self._again(now)
        elif self.user is not None:
            self.user.on_response(transaction, response, now)

    def on_no_response(self, transaction: ClientTransaction, status: int, now: float) -> None:
        """Go elsewhere, if anybody still waits for the answer."""
        is_alive = status == 408 and self._was_heard
        is_awaited = status != 408 or isinstance(transaction, InviteClient)
        if not is_alive and self._goes_on(transaction) and is_awaited:
            self._again(now)
        elif self.user is not None:
            self.user.on_no_response(transaction, status, now)

    def _goes_on(self, transaction: ClientTransaction) -> bool:
        """Turn the dialog to its next address, unless another request has done so; tell whether there was
        one that this request has not met, and the request is still wanted.
        """
        dialog = self._dialog
        if not self._left or not dialog.others:
            return False
        self._left -= 1
        if dialog.flow.peer == transaction.flow.peer:
            flow, *others = dialog.others
            dialog.others = (*others, dialog.flow)
            dialog.flow = flow
        return not (isinstance(transaction, InviteClient) and transaction.cancelled)

    def _again(self, now: float) -> None:
        self._was_heard = False
        transaction = self.send(now)
        if self._follow is not None:
            self._follow(transaction)


def is_gone(dialog: Dialog, transaction: ClientTransaction, status: int) -> bool:
    """Tell whether the peer of ``dialog`` counts as gone, since a request got no answer (RFC 3261 12.2.1.2).

    Only silence (408) says so; and not while the dialog has another address that was not asked, as after any
    request but INVITE, nor after a CANCEL, which is to be followed by nothing more (9.1).
    """
    if status != 408:
        return False
    return not transaction.cancelled if isinstance(transaction, InviteClient) else not dialog.others
