"""Nobody gets a line of its own into what the gateway says: CR LF, escaped or folded, stays what it is.

Each test puts the beginnings of a forged header wherever the gateway takes a peer's words apart and puts them
together anew: numbers, hidden topology, redirections, names of dialogs, phrases, Reasons, challenges.
"""

from __future__ import annotations

import re
from itertools import product

import pytest

from gateway.sip.message import MalformedMessageError, parse
from tests.b2bua.account import ACCOUNT
from tests.helpers import CONFIG, GATEWAY, SDP, Address, End, Net, establish, text

NUMBERS = """
numbers = {region = "DE", send = "national", called_out = [["^", "9"]], caller_out = [["^", "8"]]}
hide_topology = true
redirect = "follow"
keep = ["X-Kept"]
"""
ALL = CONFIG.replace('name = "carrier"\n', f'name = "carrier"\n{ACCOUNT}{NUMBERS}').replace(
    'name = "pbx"\n',
    'name = "pbx"\nhide_topology = true\nnumbers = {region = "GB"}\nsession_timer = "90s"\n',
)
RULES = """
version = 1
[[rule]]
name = "r"
when.status = [486, 603]
when.reason_text = "."
then.status = 480
then.original = "header"
"""
EVIL = (
    "%0d%0aEvil:%201",
    "%0D%0A%0D%0AEvil:%201",
    "\\r\\nEvil:1",
    "\x0b\x0cEvil:1",
    "%00%0a",
    "\x85Evil:1",
    "\r\n Evil: 1",
    "\r\n\tEvil: 1",
    "\x00Evil:1",
)
NAMES = (
    "P-Asserted-Identity", "History-Info", "Refer-To", "Call-Info", "Warning", "Replaces",
    "Contact", "Diversion", "In-Reply-To", "Record-Route", "Reason", "Subject",
    "Session-Expires", "X-Kept", "Max-Breadth",
)  # fmt: skip
_FORGED = re.compile(rb"(?m)^evil", re.IGNORECASE)


class Watched(Net):
    """A net that looks for forged lines in all that leaves the gateway."""

    said = 0

    def transmit(self, data: bytes, source: Address, destination: Address, transport: str = "udp") -> None:
        if source == GATEWAY:
            self.said += 1
            head = data.partition(b"\r\n\r\n")[0]
            assert not _FORGED.search(data), data
            assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n"), data
            try:
                parse(data)
            except MalformedMessageError as error:
                assert data.startswith(b"SIP/2.0 400 "), error
        super().transmit(data, source, destination, transport)


def plain(evil: str) -> str:
    """Fit for a URI, which has no white space."""
    return re.sub(r"\s", "", evil)


def try_to(net: Watched, **invite: object) -> None:
    """Send an INVITE that may be refused, and end what comes of it."""
    net.pbx.invite(**invite)  # type: ignore[arg-type]
    net.run(300)
    net.pbx.forget()
    net.carrier.forget()


@pytest.mark.parametrize("evil", EVIL)
def test_requests_3261_7_3_1(evil: str) -> None:
    net = Watched(ALL, RULES)
    bare = plain(evil)
    for user in (f"030{bare}123456", f"+49{bare}", f"x;phone-context={bare}", f"a:{bare}"):
        from_ = f"<sip:{user}@h>;tag=1"
        try_to(net, uri=f"sip:{user}@192.0.2.1", to=f"<sip:{user}@192.0.2.1>", from_=from_)
        try_to(net, uri=f"tel:{user}", to=f'"{evil}" <tel:{user}>')
    values = (
        f'<sip:a{bare}@h;x={bare}?Replaces={bare}>;y="{evil}"',
        f'399 h "{evil}"',
        f'{evil};to-tag={evil};from-tag="{evil}"',
        f"<tel:030{bare}>;a=<{evil}>",
    )
    for name, value in product(NAMES, values):
        send(net, name, value)
    assert net.said
    net.assert_all_freed()


def send(net: Watched, name: str, value: str) -> None:
    """An INVITE and a REFER with a header line that is not split where it is folded."""
    for method in ("INVITE", "REFER"):
        lines = [
            f"{method} sip:1001@192.0.2.1 SIP/2.0",
            f"Via: SIP/2.0/UDP 192.0.2.2;branch={net.pbx.new_branch().decode()}",
            "From: <sip:1@h>;tag=1\r\nTo: <sip:1001@h>",
            f"Call-ID: {net.said}-{method}\r\nCSeq: 1 {method}",
            f"Contact: <sip:pbx@192.0.2.2>\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n",
        ]
        net.pbx.send("\r\n".join(lines).encode("latin-1"))
        net.run(300)
        net.pbx.forget()
        net.carrier.forget()


@pytest.mark.parametrize("evil", EVIL)
def test_responses_and_redirections_3261_8_1_3_4(evil: str) -> None:
    bare = plain(evil)
    lines = [
        f'Reason: Q.850;cause=16;text="{evil}"',
        f'Reason: SIP;cause=603;text="{evil}";location={bare}',
        f"Contact: <sip:030{bare}1@192.0.2.1>",
        f"Contact: <sip:b{bare}@192.0.2.3;x={bare}>",
        f"Contact: <tel:030{bare}>",
        f'Warning: 399 {bare} "{evil}"',
        f"Call-Info: <{bare}>",
        f'WWW-Authenticate: Digest realm="{evil}", nonce="{evil}", opaque="{evil}", qop="auth"',
        f'Proxy-Authenticate: Digest realm="\\{evil}", nonce={bare}, algorithm=SHA-256',
        f"Retry-After: 5 ({evil})",
        f"Session-Expires: 90;refresher={bare}",
        f"Min-SE: {bare}",
        f"Require: {bare}",
        f"RSeq: {bare}",
        f"Record-Route: <sip:{bare};lr>",
    ]
    for status, line in product((183, 200, 302, 401, 407, 422, 486, 603, 607), lines):
        net = Watched(ALL, RULES)
        net.pbx.invite(headers="Supported: timer")
        offer = net.carrier.take_request("INVITE")
        ends = "\r\n".join(
            f"{key}: {text(offer, key.encode())}" for key in ("Via", "From", "Call-ID", "CSeq")
        )
        to = f"To: {text(offer, b'To')};tag=1"
        answer = f"SIP/2.0 {status} {bare}\r\n{ends}\r\n{to}\r\n{line}\r\nContent-Length: 0\r\n\r\n"
        net.carrier.send(answer.encode("latin-1"))
        net.run(300)
        assert net.said > 2


@pytest.mark.parametrize("evil", EVIL)
def test_inside_a_dialog_3261_12_2(evil: str) -> None:
    net = Watched(CONFIG.replace('name = "pbx"\n', 'name = "pbx"\nhide_topology = true\n'))
    caller, callee = establish(net)
    for line in (
        f"Contact: <sip:{plain(evil)}@192.0.2.3;a={plain(evil)}?b={plain(evil)}>",
        f"RAck: {plain(evil)}",
    ):
        for method in ("UPDATE", "PRACK", "REFER", "NOTIFY"):
            callee.request(method, contact=False, headers=line)
            net.run(60)
            net.carrier.forget()
    net.pbx.forget()
    End.request(caller, "UPDATE", body=SDP)
    net.run(60)
    assert net.said > 5
