"""A net that looks into every byte for what one side must not see of the other; and sides that say all."""

from __future__ import annotations

import re

from tests.helpers import CONFIG, GATEWAY, PBX, Address, Net

PBX_SIDE = (b"192.0.2.2", b"10.0.0.", b"corp.example", b"Softphone", b"pbx-call")
CARRIER_SIDE = (b"192.0.2.3", b"10.9.9.", b"core.example", b"Softswitch")
"""Addresses, names and equipment of each side; neither may be seen by the other."""
_MEDIA = re.compile(rb"^(?:[cm]=|a=(?:candidate|rtcp):)[^\r\n]*", re.MULTILINE)


def hidden(*trunks: str) -> str:
    return hide(CONFIG, *(trunks or ("pbx", "carrier")))


def hide(config: str, *trunks: str) -> str:
    """The configuration with ``hide_topology`` for these trunks."""
    for name in trunks:
        config = config.replace(f'name = "{name}"\n', f'name = "{name}"\nhide_topology = true\n')
    return config


class Watched(Net):
    """A net that looks into all that leaves the gateway for what must not be seen there."""

    seen = 0

    def transmit(self, data: bytes, source: Address, destination: Address, transport: str = "udp") -> None:
        if source == GATEWAY:
            self.seen += 1
            shown = _MEDIA.sub(b"", data)
            for secret in CARRIER_SIDE if destination == PBX else PBX_SIDE:
                assert secret not in shown, (
                    f"{secret!r} towards {destination}: {data.decode(errors='replace')}"
                )
        super().transmit(data, source, destination, transport)


def names(host: str) -> tuple[str, str]:
    """The domain and the equipment of the side that has this host."""
    return ("corp.example", "Softphone") if host.startswith("10.0.0.") else ("core.example", "Softswitch")


def sdp(user: str, host: str, version: int = 1) -> bytes:
    domain, name = names(host)
    return (
        f"v=0\r\no={user} 8000 {version} IN IP4 {host}\r\ns={name} at {host}\r\ni=about {host}\r\n"
        f"u=http://{host}/\r\ne=me@{domain}\r\np=+1 617 555-6011\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"a=tool:{name} 3\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001 IN IP4 {host}\r\n"
        f"a=candidate:1 1 UDP 2130706431 {host} 4000 typ host\r\na=rtpmap:0 PCMU/8000\r\n"
    ).encode()


def mixed(user: str, host: str) -> bytes:
    domain, _ = names(host)
    inner = f"Content-Type: application/pidf+xml\r\n\r\n<presence c='sip:a@{domain}:5070;x'/>"
    lines = [
        "--b0\r\nContent-Type: application/sdp",
        f"Content-ID: <s@{host}>\r\n",
        sdp(user, host).decode(),
        '--b0\r\nContent-Type: multipart/related;boundary="b 1"\r\n',
        f"--b 1\r\n{inner}\r\n--b 1--\r\n--b0--\r\n",
    ]
    return "\r\n".join(lines).encode()


def about(user: str, host: str) -> str:
    """Everything that a side can say of itself in headers."""
    domain, name = names(host)
    return f"""\
P-Asserted-Identity: "{user}" <sip:{user}@{host}:5070;transport=tcp;user=phone>, <tel:+4930123456>
P-Preferred-Identity: <sip:{user}@{host}>
Remote-Party-ID: <sip:{user}@{host}>;party=calling;screen=yes;host={host}
Diversion: "d" <sip:+4930@{host}>;reason=unconditional;x={host}
History-Info: <sip:1@{host}?Reason=SIP%3Bcause%3D302&X-Via={host}>;index=1, <sip:2@{domain}>;index=1.1
Referred-By: <sip:{user}@{domain}>;cid="20398823.2UWQFN309shb3@{host}"
Reply-To: <sip:{user}@{host}>
Call-Info: <http://{host}/photo.jpg>;purpose=icon, <sip:{host}>;answer-after=0
Alert-Info: <http://{host}/ring.wav>
Alert-Info: <urn:alert:service:call-waiting>
Error-Info: <sip:announcement@{host}>
Organization: {domain}
User-Agent: {name} 3
Server: {name}/7
Warning: 392 {host}:5060 "req_src_ip={host}", 370 {domain} "Insufficient bandwidth"
X-CID: 1@{host}
X-Vendor: {host}
X-Sip-Switch: {domain}
In-Reply-To: 7@{host}
Replaces: 7@{host};to-tag=1;from-tag=2
Join: 7@{host};to-tag=1;from-tag=2
Target-Dialog: 7@{host};local-tag=1;remote-tag=2
Path: <sip:{host};lr>
Service-Route: <sip:{host};lr>
P-Charging-Vector: icid-value=1;icid-generated-at={host};orig-ioi={domain}
P-Access-Network-Info: 3GPP-UTRAN-TDD;utran-cell-id-3gpp=23;"{host}"
P-Visited-Network-ID: {domain}
P-Called-Party-ID: <sip:1@{host}>
Geolocation: <cid:loc@{host}>
Content-ID: <loc@{host}>
User-to-User: 56a390f3;encoding=hex
Feature-Caps: *;+g.3gpp.atcf="<tel:+4930>";+g.3gpp.atcf-mgmt-uri="<sip:mgmt@{host}>";+sip.607
Identity-Info: <https://{domain}/cert>
Session-ID: ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000
Reason: Q.850;cause=16;text="Terminated"
Privacy: none"""


PBX_SAYS = about("1000", "10.0.0.5")
CARRIER_SAYS = about("trunk", "10.9.9.9")
ROUTE = "\nRecord-Route: <sip:192.0.2.2;lr;at=10.0.0.1>"
