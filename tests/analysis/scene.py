"""Writes calls as a capture shows them: hops from host to host, with a clock that each message moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.analysis.report import Finding, Report
from gateway.captures.pcap import Datagram

Address = tuple[str, int]

PBX, PROXY, CARRIER = ("198.51.100.1", 5060), ("198.51.100.2", 5060), ("203.0.113.3", 5060)
PHONE_A, PHONE_B, PHONE_C = ("198.51.100.11", 5060), ("198.51.100.12", 5060), ("198.51.100.13", 5060)
NUMBER = "+12155551212"
SDP = "v=0\r\no=- 0 0 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n"
START = 1_800_000_000.0


@dataclass
class Scene:
    """What is caught, in the order in which it is said."""

    at: float = START
    step: float = 0.005
    """Seconds that each message takes."""
    packets: list[Datagram] = field(default_factory=list)
    count: int = 0

    def wait(self, seconds: float) -> None:
        self.at += seconds

    def send(self, source: Address, destination: Address, text: str, point: int = 0) -> None:
        self.at += self.step
        number = len(self.packets) + 1
        self.packets.append(Datagram(self.at, source, destination, text.encode(), number, point))

    def invite(
        self,
        source: Address = PBX,
        destination: Address = PROXY,
        called: str = NUMBER,
        caller: str = "1001",
        *headers: str,
    ) -> Hop:
        """A call begins."""
        self.count += 1
        return Hop(self, source, destination, f"call-{self.count}@x", called, caller, (), headers).sent()

    def messages(self) -> list[Datagram]:
        """All that was caught, with a last packet a minute later, that shows the capture going on."""
        options = "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKo\r\nFrom: <sip:x>;tag=o\r\n"
        options += "To: <sip:x>\r\nCall-ID: options\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        last = Datagram(self.at + 60, PBX, PROXY, options.encode(), len(self.packets) + 1)
        return sorted([*self.packets, last], key=lambda packet: packet.at)

    def findings(self) -> list[Finding]:
        report = Report()
        report.read(self.messages())
        assert report.malformed == 0
        return report.findings

    def found(self) -> set[str]:
        """The names of what is found."""
        return {finding.kind.name for finding in self.findings()}

    def only(self, name: str) -> Finding:
        """The one finding that there is, which must have this name."""
        (finding,) = self.findings()
        assert finding.kind.name == name, finding
        return finding


@dataclass
class Hop:
    """An INVITE from one host to another, and what is said on that way."""

    scene: Scene
    source: Address
    destination: Address
    call_id: str
    called: str
    caller: str
    vias: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    cseq: int = 1
    tag: str = ""
    branch: str = ""
    point: int = 0

    def sent(self) -> Hop:
        self.scene.count += 1
        self.branch = f"z9hG4bK{self.scene.count}"
        host, port = self.source
        via = f"SIP/2.0/UDP {f'[{host}]' if ':' in host else host}:{port};branch={self.branch}"
        self.vias = (via, *self.vias)
        self.tag = f"t{self.scene.count}"
        self.again()
        return self

    def forward(self, destination: Address, called: str = "") -> Hop:
        """A proxy sends the call on: the same Call-ID, a Via more."""
        to = called or self.called
        return Hop(
            self.scene, self.destination, destination, self.call_id, to, self.caller, self.vias, self.headers
        ).sent()

    def leg(self, destination: Address, *headers: str, called: str = "") -> Hop:
        """A B2BUA sends the call on: another Call-ID."""
        return self.scene.invite(self.destination, destination, called or self.called, self.caller, *headers)

    def again(self) -> None:
        """The INVITE, once more."""
        self._request("INVITE", self.source, self.destination, self.vias, "", self.headers)

    def cancel(self, *headers: str) -> None:
        self._request("CANCEL", self.source, self.destination, self.vias[:1], "", headers)

    def ack(self) -> None:
        self._request("ACK", self.source, self.destination, self.vias[:1], self.tag, ())

    def ack_answer(self) -> None:
        """The ACK of a 2xx has a branch of its own."""
        self._request("ACK", self.source, self.destination, (self._new_via(),), self.tag, ())

    def inside(self, method: str, *, back: bool = False, branch: str = "") -> str:
        """A request in the dialog, from the caller, or from the callee; returns its Via."""
        source, destination = self.source, self.destination
        if back:
            source, destination = destination, source
        via = branch or self._new_via()
        self.cseq += not branch
        self._request(method, source, destination, (via,), self.tag, ())
        return via

    def says(self, line: str, *headers: str, body: str = "", method: str = "INVITE", via: str = "",
             back: bool = False) -> None:  # fmt: skip
        """A response of the callee's side, such as "180 Ringing"; `back`: of the caller's."""
        source, destination = (self.source, self.destination) if back else (self.destination, self.source)
        tag = "" if line.startswith("100") else self.tag
        if body:
            headers = (*headers, "Content-Type: application/sdp")
        self._send(f"SIP/2.0 {line}", method, source, destination, (via,) if via else self.vias, tag, headers,
                   body)  # fmt: skip

    def rejected(self, line: str, *headers: str) -> None:
        self.says(line, *headers)
        self.ack()

    def answered(self) -> None:
        self.says("200 OK", body=SDP)
        self.ack_answer()

    def hung_up(self) -> None:
        self.says("200 OK", method="BYE", via=self.inside("BYE"))

    def _new_via(self) -> str:
        self.scene.count += 1
        return f"SIP/2.0/UDP {self.source[0]}:{self.source[1]};branch=z9hG4bK{self.scene.count}"

    def _request(self, method: str, source: Address, destination: Address, vias: tuple[str, ...], tag: str,
                 headers: tuple[str, ...]) -> None:  # fmt: skip
        line = f"{method} sip:{self.called}@{self.destination[0]} SIP/2.0"
        self._send(line, method, source, destination, vias, tag, headers, "")

    def _send(self, line: str, method: str, source: Address, destination: Address, vias: tuple[str, ...],
              tag: str, headers: tuple[str, ...], body: str) -> None:  # fmt: skip
        lines = [line, *(f"Via: {via}" for via in vias)]
        lines += [f"From: <sip:{self.caller}@{PBX[0]}>;tag=caller", f"Call-ID: {self.call_id}"]
        lines += [f"To: <sip:{NUMBER}@x>{f';tag={tag}' if tag else ''}", f"CSeq: {self.cseq} {method}"]
        lines += [*headers, f"Content-Length: {len(body)}", "", body]
        self.scene.send(source, destination, "\r\n".join(lines), self.point)
