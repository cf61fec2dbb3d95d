"""A phone of the PBX registers through the gateway, and the registrar grants it."""

from __future__ import annotations

import re

from gateway.sip.message import Request, Response
from tests.helpers import CONFIG, Address, Net, Peer, text

REGISTRAR = CONFIG.replace(
    'target = ["sip:192.0.2.3:5060"]', 'target = ["sip:192.0.2.3"]\nsupports = ["607"]'
)
TWO_TRUNKS = REGISTRAR.replace('from = ["pbx"]', 'from = ["pbx", "backup"]')
PHONE: Address = ("192.0.2.77", 5066)
AOR = "<sip:alice@example.org>"
OURS = re.compile(r"<sip:([0-9a-f]{16})@192\.0\.2\.1:5060>")


def register(net: Net, *contacts: str, expires: int | None = 600, **more: str) -> Request:
    """The PBX registers contacts for alice; what the registrar gets of it."""
    lines = [f"Contact: {contact}" for contact in contacts]
    if expires is not None:
        lines.append(f"Expires: {expires}")
    headers = "\n".join(lines) + "\n" + more.pop("headers", "")
    uri = more.pop("uri", "sip:192.0.2.1")
    net.pbx.request("REGISTER", uri=uri, from_=f"{AOR};tag=1", to=AOR, contact=False, headers=headers)
    return net.carrier.take_request("REGISTER")


def granted(net: Net, got: Request, *contacts: str, headers: str = "") -> Response:
    """The registrar answers with these contacts; what the PBX gets of it."""
    lines = [f"Contact: {contact}" for contact in contacts]
    net.carrier.reply(got, 200, contact=False, headers="\n".join([*lines, headers]))
    return net.pbx.take_response(200)


def token_of(line: str) -> str:
    """The user part of our contact in a header line."""
    found = OURS.search(line)
    assert found, line
    return found[1]


def bound(net: Net, expires: int = 600) -> str:
    """One phone is registered; the token that the registrar knows it by."""
    got = register(net, "<sip:alice@192.0.2.77:5066>")
    token = token_of(text(got, b"Contact"))
    granted(net, got, f"<sip:{token}@192.0.2.1:5060>;expires={expires}")
    return token


def registered_as(net: Net, contact: str, peer: Peer) -> str:
    """A phone of the PBX registers a contact from its own address; the URI that the registrar has."""
    lines = f"Contact: <{contact}>\nExpires: 600"
    peer.request("REGISTER", uri="sip:192.0.2.1", from_=f"{AOR};tag=1", to=AOR, contact=False, headers=lines)
    got = net.carrier.take_request("REGISTER")
    token = token_of(text(got, b"Contact"))
    net.carrier.reply(got, 200, contact=False, headers=f"Contact: <sip:{token}@192.0.2.1:5060>;expires=600")
    peer.take_response(200)
    return f"sip:{token}@192.0.2.1"
