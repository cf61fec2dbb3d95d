"""What the tables cannot show: the messages that transactions make, and what they keep and drop."""

from __future__ import annotations

import pytest

from gateway.sip.message import Request, parse
from gateway.sip.transaction import InviteServer, NonInviteServer

from .lone import TCP, Lone, request, response


def only_request(lone: Lone) -> Request:
    """The one message on the wire."""
    [data] = lone.sent
    message = parse(data)
    assert isinstance(message, Request)
    return message


def fresh(lone: Lone) -> Lone:
    lone.sent.clear()
    lone.told.clear()
    return lone


# -- INVITE client: its ACK (RFC 3261 17.1.1.3) ---------------------------------------------------------


@pytest.mark.parametrize("status", [300, 486, 503, 603])
def test_the_ack_for_a_failure_repeats_the_invite_and_takes_its_to_from_the_response(status: int) -> None:
    lone = fresh(Lone().invite_client())
    lone.transaction.receive(response(status, b"theirs"), lone.now)
    ack = only_request(lone)
    assert (ack.method, ack.uri) == (b"ACK", b"sip:b@192.0.2.3")
    assert [ack.via.branch] == [b"z9hG4bKours"]
    assert len(ack.lines(b"Via")) == 1
    assert ack.get(b"From") == b"<sip:a@192.0.2.1>;tag=ours"
    assert ack.get(b"To") == b"<sip:b@192.0.2.3>;tag=theirs"
    assert ack.call_id == b"two"
    assert ack.cseq == (1, b"ACK")
    assert ack.get(b"Route") == b"<sip:192.0.2.9;lr>"
    assert ack.max_forwards == 70
    assert (ack.get(b"Content-Length"), ack.body) == (b"0", b"")


def test_a_repeated_failure_gets_the_same_ack_and_the_user_hears_it_once() -> None:
    lone = fresh(Lone().invite_client())
    for _ in range(3):
        lone.transaction.receive(response(486), lone.now)
    assert len(lone.sent) == 3
    assert len(set(lone.sent)) == 1
    assert lone.told == ["486"]


def test_a_failure_without_a_to_is_acknowledged_with_the_to_of_the_invite() -> None:
    bare = response(486)
    del bare.index[b"To"]
    lone = fresh(Lone().invite_client())
    lone.transaction.receive(bare, lone.now)
    assert only_request(lone).get(b"To") == b"<sip:b@192.0.2.3>"


def test_a_2xx_is_never_acknowledged_here_and_the_user_hears_each_copy() -> None:
    """RFC 3261 13.2.2.4: that ACK is the user's; RFC 6026 7.2: so it must see every 2xx."""
    lone = fresh(Lone().invite_client())
    for tag in (b"one", b"one", b"two"):
        lone.transaction.receive(response(200, tag), lone.now)
    assert lone.sent == []
    assert lone.told == ["200", "200", "200"]


def test_after_a_provisional_response_an_invite_is_not_repeated() -> None:
    lone = fresh(Lone().invite_client())
    lone.transaction.receive(response(100), lone.now)
    lone.run(600)
    assert lone.sent == []
    assert not lone.gone, "the phone may ring for as long as the call's own timeout lets it"


# -- INVITE client: CANCEL (RFC 3261 9.1) ----------------------------------------------------------------


def test_a_cancel_waits_for_the_first_provisional_response() -> None:
    lone = fresh(Lone().invite_client())
    lone.transaction.cancel(b"Reason: SIP;cause=200\r\n", lone.now)
    assert lone.sent == []
    lone.transaction.receive(response(100), lone.now)
    cancel = only_request(lone)
    assert (cancel.method, cancel.uri) == (b"CANCEL", b"sip:b@192.0.2.3")
    assert cancel.via.branch == b"z9hG4bKours"
    assert cancel.cseq == (1, b"CANCEL")
    assert cancel.get(b"To") == b"<sip:b@192.0.2.3>"
    assert cancel.get(b"From") == b"<sip:a@192.0.2.1>;tag=ours"
    assert cancel.get(b"Route") == b"<sip:192.0.2.9;lr>"
    assert cancel.get(b"Reason") == b"SIP;cause=200"
    assert lone.told == ["100"]


def test_while_a_cancel_waits_the_invite_is_repeated_and_gives_up_by_timer_b() -> None:
    lone = fresh(Lone().invite_client())
    lone.transaction.cancel(b"", lone.now)
    lone.run(40)
    assert lone.sent == [b"INVITE of ours"] * 6
    assert lone.told == ["no response: 408"]


def test_after_a_provisional_response_a_cancel_goes_out_at_once_and_once() -> None:
    lone = fresh(Lone().invite_client().in_state("PROCEEDING"))
    lone.transaction.cancel(b"", lone.now)
    lone.transaction.cancel(b"", lone.now)
    lone.transaction.receive(response(180), lone.now)
    assert only_request(lone).method == b"CANCEL"


@pytest.mark.parametrize("state", ["COMPLETED", "ACCEPTED", "TERMINATED"])
def test_a_cancel_after_the_final_response_is_nothing(state: str) -> None:
    lone = fresh(Lone().invite_client().in_state(state))
    lone.transaction.cancel(b"", lone.now)
    assert lone.sent == []
    assert not lone.transaction.cancelled


def test_a_peer_that_never_ends_its_cancelled_invite_is_given_64_t1() -> None:
    lone = fresh(Lone().invite_client().in_state("PROCEEDING"))
    lone.run(100)
    lone.transaction.cancel(b"", lone.now)
    lone.run(31.9)
    assert lone.told == []
    lone.run(0.2)
    assert lone.told == ["no response: 408"]
    assert lone.gone


def test_a_2xx_that_crosses_the_cancel_is_the_users_business() -> None:
    lone = fresh(Lone().invite_client().in_state("PROCEEDING"))
    lone.transaction.cancel(b"", lone.now)
    lone.transaction.receive(response(200), lone.now)
    assert lone.transaction.state.name == "ACCEPTED"
    assert lone.told == ["200"]


# -- which status is which input -------------------------------------------------------------------------

STATES_AFTER = [(100, "PROCEEDING"), (199, "PROCEEDING"), (200, "ACCEPTED"), (299, "ACCEPTED")]
STATES_AFTER += [(300, "COMPLETED"), (487, "COMPLETED"), (699, "COMPLETED")]


@pytest.mark.parametrize(("status", "state"), STATES_AFTER)
def test_statuses_sort_into_provisional_success_and_failure(status: int, state: str) -> None:
    client = Lone().invite_client()
    client.transaction.receive(response(status), client.now)
    assert client.transaction.state.name == state
    server = Lone().invite_server()
    server.transaction.respond(status, b"Any", b"t", b"", b"", server.now)
    assert server.transaction.state.name == state


@pytest.mark.parametrize(("status", "state"), [(200, "COMPLETED"), (486, "COMPLETED")])
def test_outside_invite_a_final_response_is_a_final_response(status: int, state: str) -> None:
    client = Lone().non_invite_client()
    client.transaction.receive(response(status, method=b"INFO"), client.now)
    assert client.transaction.state.name == state
    server = Lone().non_invite_server()
    server.transaction.respond(status, b"Any", b"t", b"", b"", server.now)
    assert server.transaction.state.name == state


# -- servers: what they answer (RFC 3261 8.2.6) ---------------------------------------------------------


def test_a_response_copies_via_from_call_id_cseq_and_adds_our_tag() -> None:
    lone = Lone().invite_server()
    lone.transaction.respond(180, b"Ringing", b"mine", b"X-Any: 1\r\n", b"body", lone.now)
    [data] = lone.sent
    assert data.startswith(b"SIP/2.0 180 Ringing\r\n")
    got = parse(data)
    asked = request()
    for key in (b"From", b"Call-ID", b"CSeq"):
        assert got.get(key) == asked.get(key)
    assert got.get(b"To") == b"<sip:b@192.0.2.1>;tag=mine"
    assert got.via.branch == asked.via.branch
    assert (got.get(b"x-any"), got.body) == (b"1", b"body")


def test_a_100_has_no_tag_and_keeps_the_timestamp() -> None:
    """RFC 3261 8.2.6.1, 8.2.6.2."""
    lone = Lone()
    lone.watch(
        InviteServer,
        request(lines=b"Timestamp: 54\r\n"),
        lone.flow,
        False,
    )
    lone.transaction.respond(100, b"Trying", b"mine", b"", b"", lone.now)
    got = parse(lone.sent[0])
    assert got.get(b"To") == b"<sip:b@192.0.2.1>"
    assert got.get(b"Timestamp") == b"54"


def test_a_request_inside_a_dialog_is_answered_with_the_tag_it_has() -> None:
    lone = Lone()
    lone.watch(NonInviteServer, request(b"INFO", to_tag=b"theirs"), lone.flow, True)
    lone.transaction.respond(200, b"OK", b"mine", b"", b"", lone.now)
    assert parse(lone.sent[0]).get(b"To") == b"<sip:b@192.0.2.1>;tag=theirs"


def test_a_retransmission_before_any_response_has_nothing_to_repeat() -> None:
    """RFC 3261 17.2.1: the 100 is the user's to send at once; 17.2.2: in Trying it is discarded."""
    for lone in (Lone().invite_server(), Lone().non_invite_server()):
        lone.feed("REQUEST")
        assert lone.sent == []


def test_a_retransmission_gets_the_latest_provisional_response_then_the_final_one() -> None:
    lone = Lone().invite_server()
    for status in (100, 180, 183):
        lone.transaction.respond(status, b"Any", b"mine", b"", b"", lone.now)
        lone.feed("REQUEST")
        assert lone.sent[-1] == lone.sent[-2]
        assert lone.sent[-1].startswith(b"SIP/2.0 %d " % status)
    lone.transaction.reject(486, b"mine", lone.now)
    lone.feed("REQUEST")
    assert lone.sent[-1] == lone.sent[-2]
    assert lone.sent[-1].startswith(b"SIP/2.0 486 Busy Here\r\n")


def test_the_ack_of_a_failure_silences_it() -> None:
    lone = Lone().invite_server().in_state("COMPLETED")
    lone.run(1.7)
    assert len(lone.sent) == 2
    lone.feed("ACK")
    lone.feed("REQUEST")
    lone.run(600)
    assert len(lone.sent) == 2
    assert lone.told == [], "a rejection that was acknowledged or not is nobody's business"
    assert lone.gone


def test_the_acknowledgement_of_a_2xx_silences_it_and_the_transaction_lives_on_until_timer_l() -> None:
    """RFC 6026 7.1: to absorb retransmissions of the INVITE, which must not ring the phone again."""
    lone = Lone().invite_server().in_state("ACCEPTED")
    lone.run(1.0)
    assert len(lone.sent) == 1
    lone.transaction.acknowledged(lone.now)
    lone.run(20)
    lone.feed("REQUEST")
    assert len(lone.sent) == 1
    assert not lone.gone
    lone.run(600)
    assert lone.gone
    assert lone.told == []


@pytest.mark.parametrize("local_is_tcp", [False, True])
def test_the_user_may_be_told_of_a_missing_ack_and_note_it_as_acknowledged(local_is_tcp: bool) -> None:
    """Whoever hangs up because the ACK never came closes its books on the way."""
    lone = Lone(TCP) if local_is_tcp else Lone()
    lone.invite_server().in_state("ACCEPTED").run(40)
    assert lone.told == ["no ACK"]
    lone.transaction.acknowledged(lone.now)
    assert lone.transaction.state.name == "TERMINATED"


@pytest.mark.parametrize("status", [100, 180, 183, 199, 408])
def test_outside_invite_the_clock_alone_says_100_and_nobody_408(status: int) -> None:
    """RFC 4320 4.1, 4.2: a 100 at once would be too early over UDP, any other has lost a race that none can
    win; and who has waited long enough for a 408 has given up itself.
    """
    for seconds in (0, 4, 33, 100):
        lone = Lone().non_invite_server()
        lone.run(seconds)
        state, sent = lone.transaction.state, len(lone.sent)
        lone.transaction.respond(status, b"Any", b"mine", b"", b"", lone.now)
        assert (lone.transaction.state, len(lone.sent)) == (state, sent)
        lone.run(600)
        [trying] = lone.sent
        assert trying.startswith(b"SIP/2.0 100 Trying\r\n")
        assert lone.gone
        assert len(lone.timers) == 0


# -- what is kept ----------------------------------------------------------------------------------------


def test_a_server_drops_the_request_with_its_final_response() -> None:
    for lone, status in (
        (Lone().invite_server(), 200),
        (Lone().invite_server(), 486),
        (Lone().non_invite_server(), 200),
    ):
        assert lone.transaction.request is not None
        lone.transaction.respond(status, b"Any", b"mine", b"", b"", lone.now)
        assert lone.transaction.request is None
        assert lone.transaction.echo == b""


def test_the_user_is_dropped_as_soon_as_nothing_more_can_come_for_it() -> None:
    rejected = Lone().invite_client().in_state("COMPLETED")
    assert rejected.transaction.user is None
    assert rejected.transaction.dialog is None
    answered = Lone().invite_client().in_state("ACCEPTED")
    assert answered.transaction.user is answered, "a fork may answer too"
    answered.run(40)
    assert answered.transaction.user is None
    assert Lone().non_invite_client().in_state("COMPLETED").transaction.user is None
    assert Lone().invite_server().in_state("COMPLETED").transaction.user is None
    assert Lone().non_invite_server().in_state("COMPLETED").transaction.user is None
    assert Lone().non_invite_server().in_state("SILENT").transaction.user is None


def test_a_finished_transaction_keeps_only_the_bytes_it_may_have_to_repeat() -> None:
    assert Lone().invite_client().in_state("ACCEPTED").transaction.last == b""
    assert Lone().invite_client().in_state("COMPLETED").transaction.last.startswith(b"ACK ")
    assert Lone().non_invite_client().in_state("COMPLETED").transaction.last == b""
    assert Lone().invite_server().in_state("CONFIRMED").transaction.last == b""
    assert Lone().invite_server().in_state("COMPLETED").transaction.last == b"486 of ours"
    assert Lone().non_invite_server().in_state("COMPLETED").transaction.last == b"200 of ours"
    silent = Lone().non_invite_server().in_state("SILENT").transaction
    assert (silent.last, silent.echo, silent.request) == (b"", b"", None)
