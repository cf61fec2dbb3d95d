"""MESSAGE and OPTIONS of real peers: SIPp with bodies of any kind and size, and sipsak."""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.peers import Lab, need
from tests.e2e.test_streams import tcp_gateway

pytestmark = pytest.mark.e2e

LONG = "".join(f"line {number:04} of twenty kilobytes\r\n" for number in range(640))
MULTIPART = (
    "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    "--b\r\nContent-Type: application/pidf+xml\r\n\r\n<presence/>\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("kind", "body", "over"),
    [
        ("text/plain", LONG, "t1"),
        ("text/plain", LONG, "u1"),
        ("multipart/mixed;boundary=b", MULTIPART, "u1"),
        ("application/x-private", "v=0\r\n\r\n\x01\x7f~ \t \r\n", "t1"),
        ("text/plain;charset=utf-8", "Grüße, 电话 ☎\r\n", "u1"),
        ("application/x-private", bytes(range(0x80, 0x100)).decode(errors="surrogateescape"), "t1"),
    ],
)
def test_a_message_of_any_kind_and_size_crosses_3428_4(lab: Lab, kind: str, body: str, over: str) -> None:
    """20 kB from UDP go out on TCP too: what is too large for a datagram's path is the next hop's matter."""
    (lab.folder / "body").write_bytes(body.encode(errors="surrogateescape"))
    carrier = lab.carrier("uas_outside", over="t1", METHOD="MESSAGE")
    tcp_gateway(lab)
    marks = {"KIND": kind, "FILE": str(lab.folder / "body")}
    sender = lab.caller("uac_message", over=over, **marks).succeeds()
    carrier.succeeds()
    (message,) = carrier.received()
    assert (message.one("Content-Type"), message.body) == (kind, body + "\r\n")  # which SIPp adds
    assert message.one("Content-Length") == sender.sent()[0].one("Content-Length")


def sipsak(lab: Lab, *options: str) -> tuple[int, str]:
    """Run sipsak as the PBX against the gateway: exit code and what it printed."""
    need("sipsak")
    command = ("sipsak", "-l", str(lab.pbx_port), "-vvv", *options)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_sipsak_asks_a_user_behind_the_gateway_what_it_can_3261_11(lab: Lab) -> None:
    carrier = lab.carrier("uas_outside", over="t1", METHOD="OPTIONS")
    tcp_gateway(lab)
    code, said = sipsak(lab, "-s", f"sip:1001@{lab.at(lab.gateway_port)}")
    assert code == 0, said
    carrier.succeeds()
    (options,) = carrier.received()
    assert options.start == f"OPTIONS sip:1001@{lab.at(lab.carrier_port)} SIP/2.0"
    assert options.one("User-Agent").startswith("sipsak")


def test_a_request_of_sipsak_without_hops_left_goes_no_further_3261_16_3(lab: Lab) -> None:
    tcp_gateway(lab)
    code, said = sipsak(lab, "-m", "0", "-s", f"sip:1001@{lab.at(lab.gateway_port)}")
    assert code != 0
    assert "SIP/2.0 483 Too Many Hops" in said
