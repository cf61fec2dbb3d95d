"""Calls over TCP and TLS between real peers: SIPp on TCP, Kamailio on TLS with certificates both ways."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest
import trustme

from tests.e2e.baresip import Baresip
from tests.e2e.peers import Gateway, Lab, Peer

pytestmark = pytest.mark.e2e


def config(
    lab: Lab, target: str, *, listen: str = "", gateway: str = "", carrier: str = "", console: str = ""
) -> str:
    """A gateway.toml with UDP and TCP listeners, a PBX, and one carrier."""
    at = lab.at(lab.gateway_port)
    return f"""\
[gateway]
listen = ["udp:{at}", "tcp:{at}"{listen}]
drain = "2s"
{gateway}
[console]
listen = "{console}"
[ledger]
url = ""
[[trunk]]
name = "pbx"
kind = "pbx"
source = ["{lab.host}"]
target = ["sip:{lab.at(lab.pbx_port)}"]
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["carrier.example"]
target = ["{target}"]
{carrier}
[[route]]
from = ["pbx"]
to = ["carrier"]
[[route]]
from = ["carrier"]
to = ["pbx"]
"""


def tcp_gateway(lab: Lab) -> None:
    lab.gateway_from(config(lab, f"sip:{lab.at(lab.carrier_port)};transport=tcp"))


@pytest.mark.parametrize("over", ["u1", "t1", "tn"])
def test_answered_calls_cross_to_a_carrier_on_tcp(either_lab: Lab, over: str) -> None:
    lab = either_lab
    carrier = lab.carrier("uas_answered", over="t1", calls=20)
    tcp_gateway(lab)
    sockets = ("-max_socket", "100")
    caller = lab.caller("uac_answered", over=over, calls=20, rate=50, extra=sockets).succeeds()
    carrier.succeeds()

    assert {m.one("Via").split()[0] for m in carrier.received()} == {"SIP/2.0/TCP"}
    sent = len(carrier.received())
    assert sent == 3 * 20, "nothing is sent twice over TCP"
    assert {m.start for m in caller.received()} == {
        "SIP/2.0 100 Trying", "SIP/2.0 180 Ringing", "SIP/2.0 200 OK",
    }  # fmt: skip


def test_a_carrier_on_tcp_hangs_up_on_a_caller_on_udp(either_lab: Lab) -> None:
    carrier = either_lab.carrier("uas_hangs_up", over="t1")
    tcp_gateway(either_lab)
    either_lab.caller("uac_hung_up").succeeds()
    carrier.succeeds()


def test_a_carrier_on_udp_hangs_up_on_a_caller_on_tcp(lab: Lab) -> None:
    carrier = lab.carrier("uas_hangs_up")
    lab.gateway_from(config(lab, f"sip:{lab.at(lab.carrier_port)}"))
    lab.caller("uac_hung_up", over="t1").succeeds()
    carrier.succeeds()


def test_a_carrier_on_tcp_refuses(lab: Lab) -> None:
    carrier = lab.carrier("uas_rejected", over="t1", ANSWER="603 Decline")
    tcp_gateway(lab)
    lab.caller("uac_rejected", over="t1", STATUS="603").succeeds()
    carrier.succeeds()


@pytest.mark.parametrize(("over", "protocol"), [("t1", "TCP"), ("u1", "UDP")])
def test_a_large_invite_goes_over_tcp_where_the_carrier_has_it_3261_18_1_1(
    lab: Lab, over: str, protocol: str
) -> None:
    carrier = lab.carrier("uas_rejected", over=over, ANSWER="486 Busy Here")
    lab.gateway_from(config(lab, f"sip:{lab.at(lab.carrier_port)}"))
    lab.caller("uac_rejected", STATUS="486", CALLER=f"Subject: {'x' * 1300}").succeeds()
    carrier.succeeds()
    vias = [message.one("Via").split()[0] for message in carrier.received()]
    assert vias == [f"SIP/2.0/{protocol}"] * 2, "the INVITE and its ACK"


def test_stock_sipp_calls_stock_sipp_over_tcp(lab: Lab) -> None:
    carrier = lab.carrier("-sn uas", over="t1", calls=5)
    tcp_gateway(lab)
    lab.caller("-sn uac", over="t1", calls=5).succeeds()
    carrier.succeeds()


def test_calls_cross_while_hundreds_of_connections_dawdle(lab: Lab) -> None:
    carrier = lab.carrier("uas_answered", over="t1", calls=20)
    tcp_gateway(lab)
    with contextlib.ExitStack() as stack:
        dawdling = [
            stack.enter_context(socket.create_connection((lab.host, lab.gateway_port))) for _ in range(800)
        ]
        for connection in dawdling[::2]:
            connection.send(b"INVITE sip:1001@gateway SIP/2.0\r\nVia: ")
        lab.caller("uac_answered", over="t1", calls=20, rate=50).succeeds()
        carrier.succeeds()


# -- TLS -------------------------------------------------------------------------------------------------


def write_signed(ca: trustme.CA, folder: Path, name: str, *identities: str) -> tuple[Path, Path]:
    """Write a certificate and its key, and return where."""
    leaf = ca.issue_cert(*identities)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    leaf.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    return cert, key


class Border:
    """Kamailio at the carrier's border, over TLS towards the gateway and UDP towards the carrier."""

    def __init__(self, lab: Lab) -> None:
        if not any(Path("/usr/lib").glob("*/kamailio/modules/tls.so")):
            pytest.skip("Kamailio has no TLS (Debian package kamailio-tls-modules, see tests/peers.txt)")
        self.lab = lab
        self.ca = trustme.CA()
        self.ca.cert_pem.write_to_path(lab.folder / "ca.pem")
        self.port, self.tls_port, self.gateway_tls_port = (lab.free_port() for _ in range(3))

    def sign(self, name: str, *identities: str) -> tuple[Path, Path]:
        """Write a certificate and its key, and return where."""
        return write_signed(self.ca, self.lab.folder, name, *identities)

    def start(
        self, identity: str, keys: str = "", scenario: str = "kamailio", console: str = "", **marks: str
    ) -> Peer:
        """Start Kamailio with a certificate that names it, and the gateway in front of it: with further keys
        of the carrier, what stands in Kamailio's scenario, and where the gateway's console listens.
        """
        lab = self.lab
        cert, key = self.sign("kamailio", identity)
        tls = "\n".join(
            [
                'loadmodule "tls.so"',
                'modparam("tls", "tls_method", "TLSv1.2+")',
                f'modparam("tls", "certificate", "{cert}")',
                f'modparam("tls", "private_key", "{key}")',
                f'modparam("tls", "ca_list", "{lab.folder}/ca.pem")',
                'modparam("tls", "verify_certificate", 1)',
                'modparam("tls", "require_certificate", 1)',
            ]
        )
        proxy = lab.kamailio(self.port, lab.carrier_port, self.tls_port, tls, scenario, **marks)
        lab.wait_bound(proxy, self.tls_port, "tcp")
        self.sign("gateway", "gw.example")
        lab.gateway_from(
            config(
                lab,
                f"sip:{lab.at(self.tls_port)};transport=tls",
                listen=f', "tls:{lab.at(self.gateway_tls_port)}"',
                gateway='tls_cert = "gateway.pem"\ntls_key = "gateway.key"\ntls_ca = "ca.pem"',
                carrier=f'tls_ca = "ca.pem"\n{keys}',
                console=console,
            )
        )
        return proxy


@pytest.fixture
def border(lab: Lab) -> Border:
    return Border(lab)


def seen(proxy: Peer) -> list[str]:
    lines = proxy.errors.read_text().splitlines()
    return [line.partition("in dialog: ")[2].strip() for line in lines if "in dialog: " in line]


def test_a_call_from_udp_goes_out_over_tls_with_certificates_both_ways(border: Border) -> None:
    lab = border.lab
    carrier = lab.carrier("uas_answered")
    # Kamailio is known by its address, which its certificate names (RFC 5922, iPAddress).
    proxy = border.start(lab.host)
    lab.caller("uac_answered").succeeds()
    carrier.succeeds()

    assert seen(proxy) == ["ACK by its route set", "BYE by its route set"]
    vias = [m.all("Via") for m in carrier.received()]
    assert [via[1].split()[0] for via in vias] == ["SIP/2.0/TLS"] * 3


def test_a_carrier_behind_tls_hangs_up(border: Border) -> None:
    lab = border.lab
    carrier = lab.carrier("uas_hangs_up")
    border.start(lab.host)
    lab.caller("uac_hung_up").succeeds()
    carrier.succeeds()


def test_an_account_behind_tls_is_registered_and_answers_its_challenges_3261_22(
    border: Border, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = border.lab
    monkeypatch.setenv("CARRIER_PASSWORD", "s3cret")
    account = 'username = "gw"\npassword_env = "CARRIER_PASSWORD"\nregister = true\n'
    carrier = lab.carrier("uas_answered", calls=3)
    marks = {"ALGORITHM": "SHA-256", "USER": "gw", "CARRIER_PORT": str(lab.carrier_port)}
    proxy = border.start(lab.host, account, "kamailio_account", **marks)
    caller = lab.caller("uac_answered", calls=3).succeeds()
    carrier.succeeds()

    (gateway,) = [peer for peer in lab.peers if isinstance(peer, Gateway)]
    assert "trunk carrier: registered at" in gateway.says("registered at")
    heard = proxy.errors.read_text()
    assert ";transport=tls>" in heard.partition("registered: gw at ")[2].partition("\n")[0]
    assert (heard.count("accepted: INVITE of gw"), heard.count("accepted: BYE of gw")) == (3, 3)
    assert not any(message.start.startswith(("SIP/2.0 401", "SIP/2.0 407")) for message in caller.received())


def test_a_border_whose_certificate_names_another_gets_no_call(border: Border) -> None:
    lab = border.lab
    border.start("other.example")
    lab.caller("uac_rejected", STATUS="503").succeeds()
    (gateway,) = [peer for peer in lab.peers if peer.name == "gateway"]
    assert "certificate names another: other.example" in gateway.errors.read_text()


def test_a_certificate_that_is_replaced_is_put_to_work(border: Border) -> None:
    lab = border.lab
    border.start(lab.host)
    (gateway,) = [peer for peer in lab.peers if peer.name == "gateway"]
    for write, said in (
        (lambda: (lab.folder / "gateway.pem").write_text("nonsense"), "certificates in force stay"),
        (lambda: border.sign("gateway", "gw.example"), "new certificates are in force"),
    ):
        write()
        deadline = time.monotonic() + 10
        while said not in gateway.errors.read_text():
            assert time.monotonic() < deadline, gateway.evidence()
            time.sleep(0.05)


@pytest.mark.parametrize("over", ["tcp", "tls"])
def test_a_phone_on_a_stream_calls_a_carrier_on_udp_and_is_hung_up(lab: Lab, over: str) -> None:
    """It checks our certificate, and has none of its own: it is known by its address."""
    ca, tls_port = trustme.CA(), lab.free_port()
    ca.cert_pem.write_to_path(lab.folder / "ca.pem")
    write_signed(ca, lab.folder, "gateway", lab.host)
    carrier = lab.carrier("uas_hangs_up")
    listen, keys = f', "tls:{lab.at(tls_port)}"', 'tls_cert = "gateway.pem"\ntls_key = "gateway.key"'
    lab.gateway_from(config(lab, f"sip:{lab.at(lab.carrier_port)}", listen=listen, gateway=keys))
    at = {"tcp": lab.gateway_port, "tls": tls_port}[over]
    phone = Baresip(lab, "phone", lab.pbx_port, over=over, at=at, ca=lab.folder / "ca.pem")
    phone.do("dial", f"sip:+4930123456@{lab.at(at)};transport={over}")
    phone.waits_for("CALL_ESTABLISHED")
    phone.waits_for("CALL_CLOSED")
    carrier.succeeds()
    assert carrier.received()[0].one("Via").startswith("SIP/2.0/UDP ")
