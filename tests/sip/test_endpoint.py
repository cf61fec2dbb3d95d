"""The endpoint: which transaction or dialog a message belongs to."""

from __future__ import annotations

import pytest

from gateway.sip.flow import Flow
from gateway.sip.message import Request

from .served import PEER, STRANGER, TCP4, UDP4, Served, message, reply


@pytest.fixture
def served() -> Served:
    return Served()


# -- server transactions: RFC 3261 17.2.3 ---------------------------------------------------------------


def test_a_new_request_goes_up_once_and_its_retransmissions_do_not(served: Served) -> None:
    for _ in range(3):
        assert served.give(message()) == []
    assert len(served.up) == 1
    arrival = served.up[0]
    assert arrival.request.method == b"INVITE"
    assert arrival.uri is not None
    assert arrival.uri.user == b"b"
    assert arrival.source is served.flows.get(UDP4, PEER)


def test_a_retransmission_gets_the_last_response_again(served: Served) -> None:
    served.give(message())
    served.up[0].transaction.respond(180, b"Ringing", b"t", b"", b"", served.now)
    [ringing] = served.endpoint.drain()
    served.endpoint.receive([(message(), served.flows.get(UDP4, PEER))], served.now)
    assert served.endpoint.drain() == [ringing]


@pytest.mark.parametrize(
    "via",
    [
        b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKb",  # another branch
        b"SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKa",  # another sent-by host
        b"SIP/2.0/UDP 192.0.2.2:5062;branch=z9hG4bKa",  # another sent-by port
    ],
)
def test_branch_and_sent_by_tell_transactions_apart(served: Served, via: bytes) -> None:
    served.give(message())
    served.give(message(via=via, call_id=b"another"))
    assert len(served.up) == 2


def test_the_method_tells_transactions_apart(served: Served) -> None:
    served.give(message())
    served.give(message(b"MESSAGE", call_id=b"another"))
    assert len(served.up) == 2


def test_a_retransmission_is_known_by_branch_sent_by_and_method_alone(served: Served) -> None:
    """What else changed on the way is not looked at; not even whether it still is a sound request."""
    served.give(message())
    assert served.give(message(to=b"<<<", lines=b"Max-Forwards: 0\r\n")) == []
    assert len(served.up) == 1
    assert served.endpoint.malformed == {}


RFC2543 = [
    b"SIP/2.0/UDP 192.0.2.2:5060",
    b"SIP/2.0/UDP 192.0.2.2:5060;branch=1",
    b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK",
]


@pytest.mark.parametrize("via", RFC2543)
def test_without_the_magic_cookie_the_fields_of_rfc_2543_match(served: Served, via: bytes) -> None:
    """RFC 4475 3.2.1: a branch that is the bare cookie counts as none."""
    served.give(message(via=via))
    served.give(message(via=via))
    assert len(served.up) == 1
    served.give(message(via=via, call_id=b"another"))
    served.give(message(via=via, cseq=b"2", call_id=b"another"))
    served.give(message(via=via, uri=b"sip:c@192.0.2.1", cseq=b"3", call_id=b"another"))
    served.give(message(via=via, from_=b"<sip:a@192.0.2.2>;tag=other", call_id=b"another"))
    assert len(served.up) == 5


@pytest.mark.parametrize("via", RFC2543)
def test_an_rfc_2543_ack_finds_its_invite(served: Served, via: bytes) -> None:
    served.give(message(via=via))
    served.up[0].transaction.reject(486, b"ours", served.now)
    assert len(served.run(0.6)) == 2
    served.give(message(b"ACK", via=via, to=b"<sip:b@192.0.2.1>;tag=ours"))
    assert served.run(60) == []


@pytest.mark.parametrize("via", RFC2543)
def test_an_rfc_2543_cancel_finds_its_invite(served: Served, via: bytes) -> None:
    served.give(message(via=via))
    assert served.answer(message(b"CANCEL", via=via)).status == 200
    assert served.cancelled == [served.up[0].transaction]


@pytest.mark.parametrize(
    "via",
    [
        b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKa",
        b"SIP / 2.0 / UDP 192.0.2.2 : 5060 ; branch=z9hG4bKa",
        b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKa;rport, SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKother",
    ],
)
def test_the_ack_of_a_failure_ends_its_repetition_however_its_via_is_written(
    served: Served, via: bytes
) -> None:
    served.give(message())
    served.up[0].transaction.reject(486, b"ours", served.now)
    assert len(served.run(0.6)) == 2
    served.give(message(b"ACK", via=via, to=b"<sip:b@192.0.2.1>;tag=ours"))
    assert served.run(60) == []
    assert served.endpoint.servers == {}


def test_an_ack_with_another_branch_does_not_end_it(served: Served) -> None:
    served.give(message())
    served.up[0].transaction.reject(486, b"ours", served.now)
    served.drain()
    served.give(
        message(b"ACK", via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKstray", to=b"<sip:b@h>;tag=ours")
    )
    assert served.endpoint.dropped["stray ACK"] == 1
    assert len(served.run(0.6)) == 1


def test_an_ack_that_reuses_the_branch_of_an_answered_invite_goes_to_the_dialog(served: Served) -> None:
    """Some peers do that, against RFC 3261 13.2.2.4; the 2xx must not be repeated at them for it."""
    served.give(message(call_id=b"inside"))
    served.open_dialog()
    served.up[0].transaction.respond(200, b"OK", b"ours", b"", b"", served.now)
    served.drain()
    served.give(message(b"ACK", to=b"<sip:b@192.0.2.1>;tag=ours", call_id=b"inside"))
    assert [ack.call_id for ack in served.acks] == [b"inside"]


# -- CANCEL: RFC 3261 9.2 -------------------------------------------------------------------------------


def test_a_cancel_is_answered_and_told_to_whoever_answers_the_invite(served: Served) -> None:
    served.give(message())
    answer = served.answer(message(b"CANCEL"))
    assert (answer.status, answer.cseq) == (200, (1, b"CANCEL"))
    assert served.cancelled == [served.up[0].transaction]


def test_a_repeated_cancel_is_answered_again_and_told_once(served: Served) -> None:
    served.give(message())
    first = served.answer(message(b"CANCEL"))
    assert served.answer(message(b"CANCEL")).get(b"To") == first.get(b"To")
    assert len(served.cancelled) == 1


def test_a_cancel_for_nothing_gets_481(served: Served) -> None:
    assert served.answer(message(b"CANCEL")).status == 481
    assert served.cancelled == []


@pytest.mark.parametrize("method", [b"MESSAGE", b"BYE", b"REGISTER", b"SUBSCRIBE"])
def test_a_cancel_of_another_request_gets_200_and_cancels_nothing(served: Served, method: bytes) -> None:
    """RFC 3261 9.2: 200 says that there is such a transaction, whatever its method."""
    served.give(message(method))
    assert served.answer(message(b"CANCEL")).status == 200
    assert served.cancelled == []


def test_a_cancel_of_another_request_is_found_by_its_branch(served: Served) -> None:
    served.give(message(b"MESSAGE"))
    other = message(b"CANCEL", via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKb")
    assert served.answer(other).status == 481
    old = b"SIP/2.0/UDP 192.0.2.2:5060"
    served.give(message(b"MESSAGE", via=old, call_id=b"old"))
    assert served.answer(message(b"CANCEL", via=old, call_id=b"old")).status == 200


def test_a_cancel_cancels_no_cancel(served: Served) -> None:
    """RFC 3261 9.1: neither CANCEL nor ACK is what a CANCEL is for."""
    cancel = message(b"CANCEL")
    assert served.answer(cancel).status == 481
    assert served.answer(cancel).status == 481


@pytest.mark.parametrize("status", [200, 486])
def test_a_cancel_after_the_final_response_is_answered_and_changes_nothing(
    served: Served, status: int
) -> None:
    served.give(message())
    served.up[0].transaction.respond(status, b"Any", b"ours", b"", b"", served.now)
    served.drain()
    assert served.answer(message(b"CANCEL")).status == 200
    assert served.cancelled == []


def test_a_cancel_may_come_with_no_hops_left(served: Served) -> None:
    """RFC 3261 16.10: it goes no further than we do."""
    served.give(message())
    assert served.answer(message(b"CANCEL", lines=b"Max-Forwards: 0\r\n")).status == 200


# -- client transactions: RFC 3261 17.1.3 ---------------------------------------------------------------


def test_a_response_goes_to_the_request_with_its_branch_and_method(served: Served) -> None:
    _, request = served.send_invite()
    served.give(reply(request.via.branch, status=180))
    assert [response.status for response in served.responses] == [180]


def test_a_response_with_a_strange_branch_or_method_is_dropped(served: Served) -> None:
    _, request = served.send_invite()
    assert served.give(reply(b"z9hG4bKstrange")) == []
    assert served.give(reply(request.via.branch, b"BYE")) == []
    assert served.responses == []
    assert served.endpoint.dropped["stray response"] == 2


def test_invite_and_its_cancel_share_a_branch_and_keep_their_responses_apart(served: Served) -> None:
    transaction, request = served.send_invite()
    branch = request.via.branch
    served.give(reply(branch, b"CANCEL", 200))
    assert served.endpoint.dropped["stray response"] == 1, "no CANCEL was sent yet"
    served.give(reply(branch, status=180))
    transaction.cancel(b"", served.now)
    [cancel] = served.drain()
    assert isinstance(cancel, Request)
    assert (cancel.method, cancel.via.branch) == (b"CANCEL", branch)
    served.give(reply(branch, b"CANCEL", 200))
    assert [response.status for response in served.responses] == [180], "nobody hears of a CANCEL's answer"
    assert len(served.endpoint.clients) == 2
    [ack] = served.give(reply(branch, status=487))
    assert isinstance(ack, Request)
    assert ack.method == b"ACK"
    assert [response.status for response in served.responses] == [180, 487]


def test_a_cancel_is_repeated_until_it_is_answered(served: Served) -> None:
    transaction, request = served.send_invite()
    served.give(reply(request.via.branch, status=180))
    transaction.cancel(b"", served.now)
    served.drain()
    assert len(served.run(0.6)) == 1
    served.give(reply(request.via.branch, b"CANCEL", 481))
    assert served.run(4) == []


def test_a_malformed_response_never_reaches_the_transaction(served: Served) -> None:
    """RFC 3261 18.1.2: it is discarded. A 2xx that no dialog can be made of is as good as malformed."""
    _, request = served.send_invite()
    branch = request.via.branch
    good = reply(branch)
    for bad in (
        good.replace(b"To: <sip:a@192.0.2.2>", b"To: <sip:a@"),
        good.replace(b"CSeq: 1 ", b"CSeq: one "),
        good.replace(b"Content-Length: 0", b"Content-Length: 7"),
        reply(branch, lines=b"Record-Route: <sip:x>, <\r\n"),
    ):
        assert served.give(bad) == []
    assert served.responses == []
    assert sum(served.endpoint.malformed.values()) == 4
    served.give(good)
    assert [response.status for response in served.responses] == [200]


def test_a_broken_flow_ends_the_requests_that_went_over_it(served: Served) -> None:
    """RFC 3261 17.1.4, 8.1.3.1: as if a 503 had come."""
    transaction, _ = served.send_invite()
    other = Flow(UDP4, ("192.0.2.99", 5060))
    served.endpoint.flow_lost(other, served.now)
    assert served.silences == []
    served.endpoint.flow_lost(transaction.flow, served.now)
    assert served.silences == [503]
    assert served.endpoint.clients == {}


# -- merged requests: RFC 3261 8.2.2.2 ------------------------------------------------------------------


def test_a_second_copy_that_took_another_way_gets_482(served: Served) -> None:
    served.give(message())
    copy = message(via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKother-way")
    assert served.answer(copy).status == 482
    assert len(served.up) == 1


@pytest.mark.parametrize(
    "other", [{"call_id": b"another"}, {"cseq": b"2"}, {"from_": b"<sip:a@192.0.2.2>;tag=other"}]
)
def test_another_request_is_no_copy(served: Served, other: dict[str, bytes]) -> None:
    served.give(message())
    served.give(message(via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKother", **other))
    assert len(served.up) == 2


def test_a_copy_for_another_user_is_another_request(served: Served) -> None:
    """A proxy that forks a call to two numbers behind us changes nothing but the Request-URI (16.6)."""
    served.give(message(uri=b"sip:b@192.0.2.1"))
    served.give(message(uri=b"sip:c@192.0.2.1", via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKother"))
    assert [arrival.request.uri for arrival in served.up] == [b"sip:b@192.0.2.1", b"sip:c@192.0.2.1"]
    elsewhere = message(uri=b"sip:c@192.0.2.9", via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKthird")
    assert served.answer(elsewhere).status == 482


def test_when_the_first_is_over_and_forgotten_its_key_is_free(served: Served) -> None:
    served.give(message(b"MESSAGE"))
    served.up[0].transaction.reject(404, b"ours", served.now)
    served.run(40)
    served.give(message(b"MESSAGE", via=b"SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKagain"))
    assert len(served.up) == 2


def test_the_refused_copy_does_not_free_the_key_of_the_first(served: Served) -> None:
    served.give(message(b"MESSAGE"))
    for number in range(3):
        via = b"SIP/2.0/TCP 192.0.2.2:5060;branch=z9hG4bKcopy%d" % number
        served.answer(message(b"MESSAGE", via=via), local=TCP4)
        served.run(1)
        assert len(served.endpoint.servers) == 1, "a copy on a stream is forgotten at once"
    assert len(served.up) == 1


# -- dialogs --------------------------------------------------------------------------------------------

INSIDE = {"to": b"<sip:b@192.0.2.1>;tag=ours", "call_id": b"inside"}


def test_a_request_inside_a_dialog_goes_to_its_owner(served: Served) -> None:
    served.open_dialog()
    assert served.give(message(b"INFO", cseq=b"2", **INSIDE)) == []
    assert [arrival.request.method for arrival in served.inside] == [b"INFO"]
    assert served.up == []


@pytest.mark.parametrize(
    "other",
    [
        {"to": b"<sip:b@192.0.2.1>;tag=not-ours"},
        {"from_": b"<sip:a@192.0.2.2>;tag=not-theirs"},
        {"call_id": b"not-inside"},
    ],
)
@pytest.mark.parametrize("method", [b"BYE", b"INVITE", b"UPDATE", b"NOTIFY"])
def test_a_request_for_no_dialog_of_ours_gets_481(
    served: Served, method: bytes, other: dict[str, bytes]
) -> None:
    """RFC 3261 12.2.2: local tag, remote tag and Call-ID must all be right."""
    served.open_dialog()
    answer = served.answer(message(method, cseq=b"2", **(INSIDE | other)))
    assert answer.status == 481
    assert served.inside == []


def test_a_request_for_a_closed_dialog_gets_481(served: Served) -> None:
    dialog = served.open_dialog()
    served.endpoint.close(dialog)
    assert served.answer(message(b"BYE", cseq=b"2", **INSIDE)).status == 481


def test_closing_a_dialog_lets_go_of_its_user_and_its_twin(served: Served) -> None:
    dialog, twin = served.open_dialog(), served.open_dialog()
    dialog.twin, twin.twin = twin, dialog
    served.endpoint.close(dialog)
    assert dialog.user is None
    assert dialog.twin is None
    assert twin.twin is None


@pytest.mark.parametrize("cseq", [b"0", b"1"])
def test_a_cseq_that_does_not_rise_gets_500(served: Served, cseq: bytes) -> None:
    """RFC 3261 12.2.2."""
    served.open_dialog()
    answer = served.answer(message(b"INFO", cseq=cseq, **INSIDE))
    assert answer.status == 500
    assert answer.get(b"Retry-After") is not None
    assert served.inside == []


def test_a_cseq_may_rise_by_more_than_one(served: Served) -> None:
    """RFC 3261 12.2.2: by anything; requests between may have been challenged elsewhere."""
    served.open_dialog()
    via = b"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK%d"
    for number in (2, 1000, 2**31 - 1):
        served.give(message(b"INFO", cseq=b"%d" % number, via=via % number, **INSIDE))
    assert len(served.inside) == 3


def test_an_ack_goes_to_its_dialog_and_a_stray_one_nowhere(served: Served) -> None:
    served.open_dialog()
    served.give(message(b"ACK", **INSIDE))
    assert len(served.acks) == 1
    for other in ({"to": b"<sip:b@h>;tag=x"}, {"call_id": b"x"}, {"to": b"<sip:b@h>"}):
        assert served.give(message(b"ACK", **(INSIDE | other))) == []
    assert len(served.acks) == 1
    assert served.endpoint.dropped["stray ACK"] == 3


def test_a_request_in_a_dialog_is_served_wherever_it_comes_from(served: Served) -> None:
    """A phone's address changes under it; what proves the dialog are its tags."""
    served.open_dialog()
    served.strangers.add(STRANGER[0])
    assert served.give(message(b"INFO", cseq=b"2", **INSIDE), STRANGER) == []
    assert len(served.inside) == 1


def test_what_an_owner_cannot_read_is_answered_by_its_transaction(served: Served) -> None:
    """A header that only one method's user reads may be bad; the transaction must not wait for ever."""

    class Reader(Served):
        def on_request(self, *args: object) -> None:
            super().on_request(*args)
            _ = self.inside[-1].request.need(b"RAck")

    reader = Reader()
    reader.open_dialog()
    assert reader.answer(message(b"PRACK", cseq=b"2", **INSIDE)).status == 400
    assert reader.endpoint.malformed == {"RAck is missing": 1}
    reader.run(40)
    assert reader.endpoint.servers == {}
