"""A carrier on which the gateway has an account: how it challenges, and how the answer is checked."""

from __future__ import annotations

import hashlib

from gateway.sip.headers import parse_auth
from gateway.sip.message import Request
from tests.helpers import CONFIG, PASSWORD, SDP, End, Net

ACCOUNT = 'username = "gw"\npassword_env = "GW_PASSWORD"\n'
WITH_ACCOUNT = CONFIG.replace('name = "carrier"\n', f'name = "carrier"\n{ACCOUNT}')
HEADERS = {401: (b"WWW-Authenticate", b"Authorization"), 407: (b"Proxy-Authenticate", b"Proxy-Authorization")}


def asks(status: int = 401, nonce: str = "n1", more: str = ', qop="auth"') -> str:
    """The header line of a challenge."""
    return f'{HEADERS[status][0].decode()}: Digest realm="carrier", nonce="{nonce}"{more}'


def challenge(
    net: Net, request: Request, status: int = 401, nonce: str = "n1", more: str = ', qop="auth"'
) -> None:
    """The carrier challenges a request, and gets its ACK if that is an INVITE."""
    net.carrier.reply(request, status, headers=asks(status, nonce, more), tag="challenge")
    if request.method == b"INVITE":
        ack = net.carrier.take_request("ACK")
        assert (ack.via.branch, ack.cseq[0]) == (request.via.branch, request.cseq[0])


def credentials(request: Request, status: int = 401) -> dict[bytes, bytes]:
    """The parameters of the credentials in a request, proved right for its method, URI and body."""
    params = parse_auth(request.need(HEADERS[status][1])).params
    assert params[b"username"] == b"gw"
    assert params[b"uri"] == request.uri

    def md5(*parts: bytes) -> bytes:
        return hashlib.md5(b":".join(parts)).hexdigest().encode()

    secret = md5(b"gw", params[b"realm"], PASSWORD.encode())
    asked = [request.method, request.uri]
    if params.get(b"qop") == b"auth-int":
        asked.append(md5(request.body))
    middle = [params[b"nonce"]]
    if b"qop" in params:
        middle += [params[b"nc"], params[b"cnonce"], params[b"qop"]]
    assert params[b"response"] == md5(secret, *middle, md5(*asked))
    return params


def establish_with_account(net: Net) -> tuple[End, End, Request]:
    """A call whose INVITE was challenged; both ends, and the INVITE that was answered."""
    invite = net.pbx.invite()
    net.pbx.take(100)
    challenge(net, net.carrier.take_request("INVITE"))
    again = net.carrier.take_request("INVITE")
    net.carrier.reply(again, 200, body=SDP)
    answer = net.pbx.take_response(200)
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    return End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, again), again
