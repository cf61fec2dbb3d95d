"""Targets that are down, silent, full or unwilling, with SIPp and bare sockets as the targets."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.peers import Lab

pytestmark = pytest.mark.e2e

QUICK = '[timers]\nt1 = "20ms"\n'


class Target(socketserver.UDPServer):
    """A target that answers OPTIONS once it is told to, and never an INVITE. `asked` has the methods."""

    def __init__(self, place: tuple[str, int]) -> None:
        super().__init__(place, Answer)
        self.asked: list[str] = []
        self.answers = False


class Answer(socketserver.BaseRequestHandler):
    server: Target

    def handle(self) -> None:
        data, sock = self.request
        start, *lines = data.decode().split("\r\n")
        self.server.asked.append(start.split()[0])
        if self.server.answers and start.startswith("OPTIONS "):
            names = ("via:", "from:", "to:", "call-id:", "cseq:")
            kept = [line for line in lines if line.lower().startswith(names)]
            reply = "\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""])
            sock.sendto(reply.encode(), self.client_address)


@contextmanager
def target_at(lab: Lab, port: int) -> Iterator[Target]:
    """Run such a target at a port."""
    with Target((lab.host, port)) as target:
        thread = threading.Thread(target=target.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield target
        finally:
            target.shutdown()
            thread.join()


def test_a_target_that_answers_no_pings_gets_no_calls_until_it_does_3261_11(lab: Lab) -> None:
    first, second = lab.free_port(), lab.carrier_port
    ping = "options_ping = 1\ndown_after = 1\nup_after = 1\n"
    carrier = lab.carrier("uas_answered")
    with target_at(lab, first) as target:
        gateway = lab.gateway(carriers={"first": first, "second": second}, keys={"first": ping}, more=QUICK)
        gateway.says(f"target first sip:{lab.at(first)} is down")
        lab.caller("uac_answered").succeeds()
        carrier.succeeds()
        assert set(target.asked) == {"OPTIONS"}
        target.answers = True
        gateway.says(f"target first sip:{lab.at(first)} is up")


def test_a_silent_target_is_left_after_64_t1_and_rests_3263_4_3(lab: Lab) -> None:
    first, second = lab.free_port(), lab.carrier_port
    carrier = lab.carrier("uas_answered", calls=3)
    with target_at(lab, first) as target:
        lab.gateway(carriers={"first": first, "second": second}, more=QUICK)
        lab.caller("uac_answered").succeeds()
        assert set(target.asked) == {"INVITE"}
        heard = len(target.asked)
        lab.caller("uac_answered", name="later", calls=2).succeeds()
        carrier.succeeds()
        assert len(target.asked) == heard, "it is tried after the others now"


def test_a_503_with_retry_after_sends_the_next_calls_elsewhere_3261_21_5_4(lab: Lab) -> None:
    second = lab.free_port()
    retry = {"ANSWER": "503 Service Unavailable", "HEADERS": "Retry-After: 60"}
    busy = lab.carrier("uas_rejected", name="busy", **retry)
    serving = lab.carrier("uas_answered", name="serving", port=second, calls=3)
    lab.gateway(carriers={"busy": lab.carrier_port, "serving": second})
    lab.caller("uac_answered").succeeds()
    busy.succeeds()  # it takes one call and ends
    lab.caller("uac_answered", name="later", calls=2).succeeds()
    serving.succeeds()


def test_a_full_trunk_is_passed_over_and_without_another_it_is_503_with_retry_after(lab: Lab) -> None:
    second = lab.free_port()
    for name, port in (("first", lab.carrier_port), ("second", second)):
        lab.carrier("-sn uas", name=name, port=port, calls=5)
    limits = {"first": "max_calls = 2", "second": "max_calls = 1"}
    lab.gateway(carriers={"first": lab.carrier_port, "second": second}, keys=limits)
    held = ("-d", "2000")
    caller = lab.caller("-sn uac", calls=5, rate=100, extra=held)
    caller.exit_code(30)
    finals = [m for m in caller.received() if m.method == "INVITE" and not m.start.startswith("SIP/2.0 1")]
    assert sorted(m.start for m in finals) == [
        *["SIP/2.0 200 OK"] * 3,
        *["SIP/2.0 503 Service Unavailable"] * 2,
    ]
    assert [m.one("Retry-After") for m in finals if " 503 " in m.start] == ["5", "5"]


def test_new_calls_beyond_a_rate_are_503_with_retry_after(lab: Lab) -> None:
    lab.carrier("-sn uas", calls=20)
    lab.gateway(keys={"pbx": "max_cps = 2"})
    caller = lab.caller("-sn uac", calls=20, rate=100)
    caller.exit_code(30)
    finals = [m for m in caller.received() if m.method == "INVITE" and not m.start.startswith("SIP/2.0 1")]
    refused = [m for m in finals if m.start == "SIP/2.0 503 Service Unavailable"]
    assert {m.one("Retry-After") for m in refused} == {"5"}
    assert 2 <= len(finals) - len(refused) < 10


def test_a_607_cancels_the_others_and_tells_them_so_8197_4(lab: Lab) -> None:
    second = lab.free_port()
    ringing = lab.carrier("uas_cancelled", name="ringing")
    unwanted = lab.carrier("uas_rejected", name="unwanted", port=second, ANSWER="607 Unwanted")
    lab.gateway(carriers={"ringing": lab.carrier_port, "unwanted": second}, route='strategy = "parallel"')
    caller = lab.caller("uac_rejected", STATUS="603").succeeds()
    for peer in (ringing, unwanted):
        peer.succeeds()
    (cancel,) = [m for m in ringing.received() if m.start.startswith("CANCEL ")]
    assert cancel.one("Reason") == 'SIP;cause=607;text="Unwanted"'
    assert 'SIP;cause=607;text="Unwanted"' in caller.received()[-1].all("Reason")
