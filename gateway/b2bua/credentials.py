"""Requests to a trunk on which the gateway has an account: 401 and 407 are answered here (RFC 3261 22).

:func:`ask` sends whatever we send to a trunk. Where the trunk has no account that is ``Endpoint.request`` and
nothing else. Where it has one, the request goes out with the credentials that served last, and a challenge
is answered by the same request with the next CSeq number; its user hears of neither. In a dialog with several
addresses to go to, ``elsewhere.py`` stands between.

Credentials for a fresh nonce that are challenged all the same are refused, unless that nonce is called stale.
Then the user gets 403, not the challenge: nobody behind the gateway has this account, so a 401 or 407
would ask the caller for a password that it cannot know. The original stands in the Reason.
"""

from __future__ import annotations

from functools import partial

from gateway.routing.trunk import Trunk
from gateway.sip.dialog import Dialog
from gateway.sip.digest import Account, Key, Session, parse_challenges
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Response
from gateway.sip.phrases import phrase_for
from gateway.sip.transaction import ClientTransaction, ClientUser, InviteClient

from .elsewhere import Elsewhere, Follow

MAX_REPEATS = 4
"""Challenges that one request answers: a proxy's, the peer's behind it, and each once more when stale."""
_CHALLENGED = (401, 407)
_CHALLENGES = (b"WWW-Authenticate", b"Proxy-Authenticate")


def ask(
    endpoint: Endpoint,
    trunk: Trunk,
    method: bytes,
    dialog: Dialog,
    lines: bytes,
    body: bytes,
    user: ClientUser | None,
    now: float,
    hops: int,
    follow: Follow | None = None,
) -> ClientTransaction:
    """Send a request (not ACK) to a trunk and return its transaction, as :meth:`Endpoint.request` does.

    ``follow`` is told of the transaction that takes its place when the request is repeated with credentials,
    or at another address: whoever may CANCEL it, or needs its CSeq number, must know.
    """
    if trunk.account is None and not dialog.others:
        return endpoint.request(method, dialog, lines, body, user, now, hops)
    send = partial(_ask_here, endpoint, trunk, method, dialog, lines, body, hops, follow)
    if dialog.others:
        return Elsewhere(dialog, user, follow, send).send(now)
    return send(user, now)


def _ask_here(
    endpoint: Endpoint,
    trunk: Trunk,
    method: bytes,
    dialog: Dialog,
    lines: bytes,
    body: bytes,
    hops: int,
    follow: Follow | None,
    user: ClientUser | None,
    now: float,
) -> ClientTransaction:
    """Send a request to the one address that its dialog has."""
    account = trunk.account
    if account is None:
        return endpoint.request(method, dialog, lines, body, user, now, hops)
    return _Asked(endpoint, account, method, dialog, lines, body, user, hops, follow).send(now)


def user_of(transaction: ClientTransaction) -> ClientUser | None:
    """Return whoever a transaction works for, though an account may stand between."""
    user = transaction.user
    return user.user if isinstance(user, _Asked) else user


class _Asked:
    """One request that may be challenged. Stands between its transactions and its user."""

    __slots__ = (
        "_account",
        "_answered",
        "_body",
        "_dialog",
        "_endpoint",
        "_follow",
        "_hops",
        "_lines",
        "_method",
        "_repeats",
        "_sessions",
        "user",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        account: Account,
        method: bytes,
        dialog: Dialog,
        lines: bytes,
        body: bytes,
        user: ClientUser | None,
        hops: int,
        follow: Follow | None,
    ) -> None:
        self._endpoint = endpoint
        self._account = account
        self._method = method
        self._dialog = dialog
        self._lines = lines
        self._body = body
        self.user = user
        self._hops = hops
        self._follow = follow
        self._sessions: dict[Key, Session] = dict(account.sessions)
        self._answered: set[Key] = set()  # challenged on this very request
        self._repeats = 0

    def send(self, now: float) -> ClientTransaction:
        """Send the request with what credentials there are."""
        method, dialog, account = self._method, self._dialog, self._account
        credentials = b""
        for key, session in self._sessions.items():
            credentials += session.line(method, dialog.target, self._body)
            if session.is_spent:
                account.forget(key)
        if method == b"INVITE":
            dialog.credentials = credentials
        lines = credentials + self._lines
        return self._endpoint.request(method, dialog, lines, self._body, self, now, self._hops)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        """Answer a challenge; hand everything else up."""
        if response.status in _CHALLENGED:
            if isinstance(transaction, InviteClient) and transaction.cancelled:
                # Its user gave it up before the challenge came, so it is not sent again (RFC 3261 9.1).
                response = Response(487, phrase_for(487), [], {})
            elif self._meets(response):
                client = self.send(now)
                if self._follow is not None:
                    self._follow(client)
                return
            else:
                self._account.refused += 1
                _refuse(response)
        if self.user is not None:
            self.user.on_response(transaction, response, now)

    def on_no_response(self, transaction: ClientTransaction, status: int, now: float) -> None:
        """Hand it up."""
        if self.user is not None:
            self.user.on_no_response(transaction, status, now)

    def _meets(self, response: Response) -> bool:
        """Prepare the answer to a challenge; False when there is none that has not failed already.

        Credentials that were sent ahead may have been made of an old nonce, so they may fail once
        (RFC 3261 22.2, RFC 7616 3.3).
        """
        challenges = parse_challenges(response)
        if not challenges or self._repeats >= MAX_REPEATS:
            return False
        for challenge in challenges:
            used = self._sessions.get(challenge.key)
            same = used is not None and used.challenge.nonce == challenge.nonce
            if not challenge.stale and (same or challenge.key in self._answered):
                self._account.forget(challenge.key)
                return False
        self._repeats += 1
        for challenge in challenges:
            self._answered.add(challenge.key)
            self._sessions[challenge.key] = self._account.answer(challenge, self._endpoint.new_token())
        return True


def _refuse(challenge: Response) -> None:
    """Make a challenge that our account could not meet a 403; what it was stands in the Reason."""
    original = challenge.status
    challenge.status, challenge.phrase = 403, phrase_for(403)
    challenge.rows = [row for row in challenge.rows if row[0] not in _CHALLENGES]
    for key in _CHALLENGES:
        challenge.index.pop(key, None)
    if b"Reason" not in challenge.index:
        value = challenge.index[b"Reason"] = b'SIP;cause=%d;text="%b"' % (original, phrase_for(original))
        challenge.rows.append((b"Reason", b"Reason: " + value))
