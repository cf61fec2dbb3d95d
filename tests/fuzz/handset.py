"""A phone of its own make: it behaves as the RFCs ask, and does what chance tells it, when chance tells it.

It shares no code with the gateway but the parser, so that the two cannot be wrong together. It calls, rings,
forks, answers, rejects, gives up, asks for credentials, talks inside the dialog, refreshes, refers and hangs
up; it repeats what is not answered and ignores what comes twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

from gateway.sip.message import Request, Response, parse
from tests.helpers import GATEWAY, SDP, Net
from tests.peer import Address, target_of, text

from .conduct import OWN_PHRASE
from .jobs import Jobs
from .talk import Habits, Talk

T1, T2, TIMEOUT = 0.5, 4.0, 32.0  # seconds


class Handset:
    """One phone at one address."""

    def __init__(
        self, net: Net, jobs: Jobs, address: Address, user: str, chance: Random, habits: Habits
    ) -> None:
        self._net, self._jobs, self._address, self._user = net, jobs, address, user
        self._chance, self._habits = chance, habits
        self._count = itertools.count(1)
        self._talks: dict[tuple[str, str], Talk] = {}  # by Call-ID and our tag
        self._asked: dict[tuple[str, str], tuple[str, Talk]] = {}  # what for, by branch and method
        self._open: dict[tuple[str, str], bytes] = {}  # requests to repeat
        self._seen: set[tuple[bytes, bytes]] = set()
        self._said: dict[tuple[bytes, bytes], bytes] = {}  # final responses
        self._invites: dict[bytes, tuple[Request, Talk]] = {}  # by branch
        self._acked: set[tuple[bytes, int, bytes]] = set()  # Call-ID, CSeq number and our tag of each ACK
        self.unacknowledged = 0  # answers that nobody ever acknowledged
        net.attach(address, self._receive)

    def _pick(self, *choices: float) -> float:
        return self._chance.choice(choices)

    def _is_so(self, likelihood: float) -> bool:
        return self._chance.random() < likelihood

    # -- the wire ---------------------------------------------------------------------------------------

    @property
    def _contact(self) -> str:
        return f"Contact: <sip:{self._user}@{self._address[0]}:{self._address[1]}>"

    def _put(self, lines: list[str], body: bytes) -> bytes:
        described = ["Content-Type: application/sdp"] if body else []
        head = "\r\n".join([*lines, *described, f"Content-Length: {len(body)}", "", ""])
        data = head.encode() + body
        self._net.transmit(data, self._address, GATEWAY)
        return data

    def _request(
        self,
        method: str,
        talk: Talk,
        what: str = "",
        *,
        body: bytes = b"",
        headers: Sequence[str] = (),
        seq: int = 0,
        branch: str = "",
        target: str = "",
        remote: str = "",
    ) -> str:
        """Send a request, repeat it until it is answered, and return its branch."""
        if not seq:
            talk.seq += 1
        branch = branch or f"z9hG4bK{self._user}{next(self._count)}"
        host, port = self._address
        lines = [
            f"{method} {target or talk.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};branch={branch}",
            "Max-Forwards: 70",
            f"From: {talk.local}",
            f"To: {remote or talk.remote}",
            f"Call-ID: {talk.call_id}",
            f"CSeq: {seq or talk.seq} {method}",
            *headers,
        ]
        if method not in ("ACK", "BYE", "CANCEL", "PRACK", "INFO", "OPTIONS"):
            lines.append(self._contact)
        data = self._put(lines, body)
        if method != "ACK":
            key = (branch, method)
            self._open[key] = data
            self._asked[key] = (what, talk)
            self._jobs.after(T1, lambda: self._repeat(key, T1, self._net.now + TIMEOUT - T1))
        return branch

    def _repeat(self, key: tuple[str, str], wait: float, until: float) -> None:
        data = self._open.get(key)
        if data is None:
            return
        if self._net.now >= until:
            del self._open[key]
            return
        self._net.transmit(data, self._address, GATEWAY)
        longer = wait * 2 if key[1] == "INVITE" else min(T2, wait * 2)
        self._jobs.after(longer, lambda: self._repeat(key, longer, until))

    def _reply(
        self,
        request: Request,
        status: int,
        tag: str = "",
        headers: Sequence[str] = (),
        body: bytes = b"",
    ) -> bytes:
        to = text(request, b"To")
        if status > 100 and not request.to_tag:
            to += f";tag={tag}"
        lines = [f"SIP/2.0 {status} {OWN_PHRASE.decode()}"]
        lines += [line.decode() for line in request.lines(b"Via")]
        lines += [f"{name}: {text(request, name.encode())}" for name in ("From", "Call-ID", "CSeq")]
        lines += [f"To: {to}", *headers]
        if status < 300:
            lines.append(self._contact)
        data = self._put(lines, body)
        if status >= 200:
            self._said[request.via.branch, request.method] = data
            if request.method == b"INVITE":
                key = (request.call_id, request.cseq[0], request.to_tag or tag.encode())
                self._jobs.after(T1, lambda: self._say_again(key, data, T1, self._net.now + TIMEOUT - T1))
        return data

    def _say_again(self, key: tuple[bytes, int, bytes], data: bytes, wait: float, until: float) -> None:
        if key in self._acked or self._net.now >= until:
            return
        self._net.transmit(data, self._address, GATEWAY)
        longer = min(T2, wait * 2)
        self._jobs.after(longer, lambda: self._say_again(key, data, longer, until))

    def _receive(self, data: bytes, _source: Address) -> None:
        message = parse(data)
        if isinstance(message, Response):
            self._on_response(message)
        else:
            self._on_request(message)

    # -- calling ----------------------------------------------------------------------------------------

    def call(self, called: str) -> None:
        """Call a number."""
        habits, number = self._habits, next(self._count)
        tag, call_id = f"{self._user}t{number}", f"{self._user}{number}x"
        uri = f"sip:{called}@{GATEWAY[0]}"
        local = f"<sip:{self._user}@{self._address[0]}>;tag={tag}"
        talk = Talk(call_id, local, f"<{uri}>", uri, 0, has_offered=self._is_so(habits.offer))
        headers = ["Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, OPTIONS, MESSAGE, REFER, NOTIFY"]
        if self._is_so(habits.reliable):
            headers.append("Supported: 100rel")
        if habits.timer:
            headers += ["Supported: timer"] + ["Session-Expires: 90"] * self._is_so(0.5)
        body = SDP if talk.has_offered else b""
        talk.branch = self._request("INVITE", talk, "call", body=body, headers=headers)
        self._talks[call_id, tag] = talk
        if self._is_so(habits.give_up):
            give_up = self._cancel if self._is_so(0.8) else self._end_early
            self._jobs.after(6 * self._chance.random(), lambda: give_up(talk))

    def _cancel(self, talk: Talk) -> None:
        if talk.state != "early":
            return
        if not talk.was_heard:  # RFC 3261 9.1
            self._jobs.after(0.3, lambda: self._cancel(talk))
            return
        self._request("CANCEL", talk, seq=1, branch=talk.branch)

    def _end_early(self, talk: Talk) -> None:
        """End an early dialog with BYE, as a caller may (RFC 3261 15)."""
        if talk.state == "early" and talk.early is not None:
            target, remote = talk.early
            self._request("BYE", talk, target=target, remote=remote)

    def _on_response(self, response: Response) -> None:
        key = (response.via.branch.decode(), response.cseq[1].decode())
        what, talk = self._asked.get(key, ("", None))
        if response.status >= 200 or key[1] == "INVITE":
            self._open.pop(key, None)
        if talk is None:
            return
        if what == "call":
            self._on_progress(talk, response) if response.status < 200 else self._on_final(talk, response)
        elif response.status >= 200 and what in ("re-INVITE", "UPDATE"):
            self._on_modified(talk, key[0], what, response)

    def _on_progress(self, talk: Talk, response: Response) -> None:
        talk.was_heard = True
        if response.has(b"Contact"):
            talk.early = (target_of(response).decode(), text(response, b"To"))
        if not response.has(b"RSeq") or talk.state != "early" or talk.early is None:
            return
        number = int(response.need(b"RSeq"))
        if (response.to_tag, number) in talk.taken:
            return
        talk.taken.add((response.to_tag, number))
        target, remote = talk.early
        body = SDP if response.body and not talk.has_offered else b""
        rack = [f"RAck: {number} {response.cseq[0]} INVITE"]
        self._request("PRACK", talk, body=body, headers=rack, target=target, remote=remote)

    def _on_final(self, talk: Talk, response: Response) -> None:
        if response.status >= 300:
            talk.state = "over"
            uri = text(response, b"To")
            self._request("ACK", talk, seq=1, branch=talk.branch, remote=uri)
        elif talk.state == "early":
            talk.state = "up"
            talk.remote = text(response, b"To")
            talk.target = target_of(response).decode()
            if b"refresher=uac" in (response.get(b"Session-Expires") or b""):
                talk.refresh = 45
            self._jobs.after(self._pick(0, 0, 0.02, 0.4, 1.5), lambda: self._acknowledge(talk))
        elif talk.is_acked and text(response, b"To") == talk.remote:
            self._acknowledge(talk)

    def _acknowledge(self, talk: Talk) -> None:
        body = SDP if not talk.has_offered and not talk.taken else b""
        self._request("ACK", talk, seq=1, body=body)
        if not talk.is_acked:
            talk.is_acked = True
            self._live(talk)

    # -- what both do in a call -------------------------------------------------------------------------

    def _live(self, talk: Talk) -> None:
        """Do this and that in a call that is up, and hang up."""
        at = 0.0
        for _ in range(self._chance.choice((0, 0, 1, 2, 4))):
            at += self._pick(0, 0.01, 0.5, 3)
            self._jobs.after(at, lambda: self._act(talk))
        self._jobs.after(at + self._pick(0, 0.01, 1, 8, 8, 100), lambda: self._hang_up(talk))
        if talk.refresh:
            self._jobs.after(talk.refresh, lambda: self._refresh(talk))

    def _act(self, talk: Talk) -> None:
        if talk.state != "up":
            return
        what = self._chance.choice(("INVITE", "INVITE", "UPDATE", "INFO", "MESSAGE", "OPTIONS", "REFER"))
        body = SDP if self._is_so(0.7) else b""
        if what not in ("INVITE", "UPDATE"):
            self._request(what, talk, headers=["Refer-To: <sip:99@192.0.2.1>"] if what == "REFER" else [])
        elif talk.pending or talk.is_asked:  # RFC 3261 14.1, RFC 3311 5.1
            return
        elif what == "UPDATE":
            talk.pending = self._request(what, talk, what, body=body)
        else:
            talk.pending = branch = self._request(what, talk, "re-INVITE", body=body)
            if self._is_so(0.2):
                seq = talk.seq
                self._jobs.after(0.4, lambda: self._cancel_again(talk, branch, seq))

    def _cancel_again(self, talk: Talk, branch: str, seq: int) -> None:
        if talk.pending == branch and (branch, "INVITE") not in self._open:
            self._request("CANCEL", talk, seq=seq, branch=branch)

    def _on_modified(self, talk: Talk, branch: str, what: str, response: Response) -> None:
        is_first = talk.pending == branch
        if is_first:
            talk.pending = ""
        if what == "re-INVITE":
            seq = response.cseq[0]
            if response.status >= 300:
                self._request("ACK", talk, seq=seq, branch=branch)
            else:
                self._request("ACK", talk, seq=seq, body=SDP if is_first else b"")
        if is_first and response.status in (408, 481):  # RFC 3261 12.2.1.2
            self._hang_up(talk)

    def _refresh(self, talk: Talk) -> None:
        if talk.state != "up":
            return
        if talk.pending or talk.is_asked:
            self._jobs.after(1, lambda: self._refresh(talk))
            return
        headers = ["Supported: timer", "Session-Expires: 90;refresher=uac"]
        talk.pending = self._request("UPDATE", talk, "UPDATE", headers=headers)
        self._jobs.after(talk.refresh, lambda: self._refresh(talk))

    def _hang_up(self, talk: Talk) -> None:
        if talk.state == "up":
            talk.state = "over"
            self._request("BYE", talk)

    # -- being called -----------------------------------------------------------------------------------

    def _on_request(self, request: Request) -> None:
        key = (request.via.branch, request.method)
        if request.method == b"ACK":
            self._on_ack(request)
        elif key in self._said:
            self._net.transmit(self._said[key], self._address, GATEWAY)
        elif key not in self._seen:
            self._seen.add(key)
            if not self._challenges(request):
                self._on_new_request(request)

    def _challenges(self, request: Request) -> bool:
        if not self._habits.asks or request.method == b"CANCEL":
            return False
        if request.has(b"Authorization") or request.has(b"Proxy-Authorization"):
            return False
        if request.method != b"INVITE" and self._is_so(0.5):
            return False
        status, name = self._chance.choice(((401, "WWW-Authenticate"), (407, "Proxy-Authenticate")))
        nonce = next(self._count)
        self._reply(request, status, "ask", [f'{name}: Digest realm="carrier", nonce="{nonce}", qop="auth"'])
        return True

    def _on_new_request(self, request: Request) -> None:
        method = request.method
        if method == b"CANCEL":
            self._on_cancel(request)
        elif not request.to_tag:
            self._ring(request, None)
        else:
            talk = self._talks.get((request.call_id.decode(), request.to_tag.decode()))
            if talk is None or (talk.state == "over" and method != b"BYE"):
                self._reply(request, 481)
            else:
                self._on_inside(talk, request)

    def _on_ack(self, ack: Request) -> None:
        self._acked.add((ack.call_id, ack.cseq[0], ack.to_tag))
        talk = self._talks.get((ack.call_id.decode(), ack.to_tag.decode()))
        if talk is None or talk.invite is None or talk.is_acked or ack.cseq[0] != talk.invite.cseq[0]:
            return
        talk.is_acked = True
        if talk.state == "up":
            self._live(talk)

    def _ring(self, invite: Request, first: Talk | None) -> None:
        """Take an INVITE: ring, perhaps in two places, and say something final in the end."""
        habits, number = self._habits, next(self._count)
        tag = f"{self._user}t{number}"
        local = f"{text(invite, b'To')};tag={tag}"
        target = target_of(invite).decode()
        seq = self._chance.choice((0, 100))
        talk = Talk(invite.call_id.decode(), local, text(invite, b"From"), target, seq)
        talk.invite, talk.tag, talk.rseq = invite, tag, self._chance.randrange(1, 500)
        self._talks[talk.call_id, tag] = talk
        self._invites[invite.via.branch] = (invite, talk)
        if first is not None:
            talk.forks, first.forks = [first], [talk]
        elif self._is_so(habits.fork):
            self._ring(invite, talk)
        demanded, offered = (b",".join(invite.values(key)) for key in (b"Require", b"Supported"))
        is_reliable = b"100rel" in demanded or (b"100rel" in offered and self._is_so(0.6))
        if self._is_so(0.6):
            self._reply(invite, 100)
        at = 0.0
        for _ in range(self._chance.choice((0, 1, 1, 2, 3))):
            at += self._pick(0, 0.01, 0.3, 1.5)
            self._jobs.after(at, lambda: self._progress(talk, invite, is_reliable))
        at += self._pick(0, 0.01, 0.3, 2, 5)
        status = self._chance.choice((200, 200, 200, 200, 486, 603, 404, 503, 480, 302))
        self._jobs.after(at, lambda: self._decide(talk, invite, status))

    def _progress(self, talk: Talk, invite: Request, is_reliable: bool) -> None:
        if talk.state != "early" or talk.out:
            return
        if not is_reliable:
            self._reply(invite, self._chance.choice((180, 183)), talk.tag)
            return
        talk.rseq += 1
        describes = not talk.has_described and (not invite.body or self._is_so(0.4))
        talk.has_described |= describes
        headers = ["Require: 100rel", f"RSeq: {talk.rseq}"]
        talk.out = self._reply(invite, 183, talk.tag, headers, SDP if describes else b"")
        data = talk.out
        self._jobs.after(T1, lambda: self._progress_again(talk, data, T1, self._net.now + TIMEOUT - T1))

    def _progress_again(self, talk: Talk, data: bytes, wait: float, until: float) -> None:
        if talk.out is not data or talk.state != "early":
            return
        if self._net.now >= until:
            talk.out = b""
            return
        self._net.transmit(data, self._address, GATEWAY)
        self._jobs.after(wait * 2, lambda: self._progress_again(talk, data, wait * 2, until))

    def _decide(self, talk: Talk, invite: Request, status: int) -> None:
        if talk.state != "early":
            return
        if talk.out:  # RFC 3262 3
            self._jobs.after(0.3, lambda: self._decide(talk, invite, status))
            return
        if status >= 300:
            talk.state = "over"
            if all(fork.state == "over" for fork in talk.forks):
                headers = ["Contact: <sip:other@192.0.2.4:5060>"] if status == 302 else []
                self._reply(invite, status, talk.tag, headers)
            return
        talk.state = "up"
        headers = self._agree_on_timer(talk, invite)
        self._reply(invite, 200, talk.tag, headers, b"" if talk.has_described else SDP)
        self._jobs.after(TIMEOUT + 0.5, lambda: self._miss_ack(talk))
        for fork in talk.forks:  # whoever forked this gives it up, but it may have answered by then
            if fork.state == "early" and (fork.out or self._is_so(0.6)):
                fork.state = "over"
            self._decide(fork, invite, status)

    def _agree_on_timer(self, talk: Talk, invite: Request) -> list[str]:
        """Answer a session interval (RFC 4028 9)."""
        asked = invite.get(b"Session-Expires")
        if not self._habits.timer or asked is None or b"timer" not in b",".join(invite.values(b"Supported")):
            return []
        who = "uas" if b"refresher=uac" not in asked and self._is_so(0.5) else "uac"
        if who == "uas":
            talk.refresh = 45
        return [f"Session-Expires: 90;refresher={who}", "Require: timer"]

    def _miss_ack(self, talk: Talk) -> None:
        if not talk.is_acked and talk.state == "up":
            self.unacknowledged += 1
            talk.state = "over"

    def _on_cancel(self, cancel: Request) -> None:
        invite, talk = self._invites.get(cancel.via.branch, (None, None))
        if invite is None or talk is None:
            self._reply(cancel, 481, "none")
            return
        self._reply(cancel, 200, talk.tag)
        forks = [talk, *talk.forks]
        if (invite.via.branch, b"INVITE") in self._said:
            return
        if invite.to_tag:
            talk.is_asked = False
        else:
            for fork in forks:
                fork.state = "over"
        self._reply(invite, 487, talk.tag)

    def _on_inside(self, talk: Talk, request: Request) -> None:
        method = request.method
        if method == b"BYE":
            was_early = talk.state == "early"
            talk.state = "over"
            self._reply(request, 200)
            if was_early and talk.invite is not None and all(fork.state == "over" for fork in talk.forks):
                self._reply(talk.invite, 487, talk.tag)
        elif method == b"PRACK":
            talk.out = b""
            self._reply(request, 200)
        elif method == b"INVITE":
            self._on_reinvite(talk, request)
        elif method == b"UPDATE":
            if request.body and talk.pending:
                self._reply(request, 491)
                return
            wants = request.get(b"Session-Expires") or b""
            agreed = self._habits.timer and b"refresher=uac" in wants
            headers = ["Session-Expires: 90;refresher=uac", "Require: timer"] if agreed else []
            self._reply(request, 200, headers=headers, body=SDP if request.body else b"")
        elif method == b"REFER":
            self._reply(request, 202)
            self._jobs.after(self._pick(0, 0.2), lambda: self._notify(talk, "active;expires=60"))
            self._jobs.after(self._pick(0.3, 1, 9), lambda: self._notify(talk, "terminated"))
        else:
            status = self._chance.choice((200, 200, 405)) if method != b"NOTIFY" else 200
            self._jobs.after(self._pick(0, 0, 0.01, 0.3, 2), lambda: self._reply(request, status))

    def _notify(self, talk: Talk, state: str) -> None:
        self._request("NOTIFY", talk, headers=["Event: refer", f"Subscription-State: {state}"])

    def _on_reinvite(self, talk: Talk, invite: Request) -> None:
        if talk.pending:  # RFC 3261 14.2
            self._reply(invite, 491)
            return
        if talk.is_asked:
            self._reply(invite, 500, headers=["Retry-After: 1"])
            return
        talk.is_asked = True
        self._invites[invite.via.branch] = (invite, talk)
        status = self._chance.choice((200, 200, 200, 200, 488))

        def answer() -> None:
            if (invite.via.branch, b"INVITE") not in self._said:
                talk.is_asked = False
                self._reply(invite, status, body=SDP if status == 200 else b"")

        self._jobs.after(self._pick(0, 0, 0.01, 0.3, 2), answer)
