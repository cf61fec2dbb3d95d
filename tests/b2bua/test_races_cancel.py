"""CANCEL that comes too early, too late or for something else, and answers that cross it (RFC 3261 9).

The plain crossings (before any 1xx, after each of them, against a 2xx and a rejection) are in test_cancel.py.
"""

from __future__ import annotations

import pytest

from tests.helpers import SDP, End, Net, begin, give_up, hang_up
from tests.peer import rebuild


def test_a_cancel_that_overtakes_its_invite_gets_481_and_the_call_goes_on_3261_9_2() -> None:
    net = Net()
    net.weather.loss = 1.0
    invite = net.pbx.invite()
    net.weather.loss = 0.0
    net.pbx.cancel(invite)
    net.pbx.take(481)
    net.pbx.again(invite)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 180)
    # The caller gives up in another way: its CANCEL has had its answer.
    End.of_caller(net.pbx, invite, net.pbx.take_response(180)).request("BYE", contact=False)
    net.pbx.take(200)
    net.pbx.ack(invite, net.pbx.take_response(487))
    net.carrier.take("CANCEL")
    net.assert_all_freed()


def test_a_cancel_with_another_branch_cancels_nothing_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 100)
    other = rebuild(invite).replace(b"INVITE", b"CANCEL").replace(invite.via.branch, b"z9hG4bKother")
    net.pbx.send(other)
    net.pbx.take(481)
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    net.assert_all_freed()


def test_a_cancel_from_the_callee_cancels_nothing_3261_9_2() -> None:
    net = Net()
    _invite, offer = begin(net)
    net.carrier.send(rebuild(offer).replace(b"INVITE sip", b"CANCEL sip").replace(b"1 INVITE", b"1 CANCEL"))
    net.carrier.take(481)
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.take(486)
    net.assert_all_freed()


def test_each_2xx_after_the_cancel_is_acknowledged_and_hung_up_once_3261_9_1() -> None:
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    give_up(net, invite)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    for _ in range(3):  # the callee's 2xx comes again, as if our ACK was lost
        net.carrier.reply(offer, 200, body=SDP)
    assert net.carrier.take_request("ACK").to_tag == b"carrier"
    bye = net.carrier.take_request("BYE")
    net.carrier.take("ACK")
    net.carrier.take("ACK")
    net.carrier.reply(bye, 200)
    net.carrier.reply(offer, 200, tag="another-phone", body=SDP)  # a fork that answered as well
    assert net.carrier.take_request("ACK").to_tag == b"another-phone"
    net.carrier.reply(net.carrier.take_request("BYE"), 200)
    net.pbx.nothing()
    net.assert_all_freed()


def test_a_cancel_and_the_answer_cross_on_the_wire_of_the_caller_3261_9_2() -> None:
    """The 2xx is out when the CANCEL comes: 200 for the CANCEL, and the call stands until a BYE ends it."""
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 200, body=SDP)
    net.pbx.cancel(invite)
    answer = net.pbx.take_response(200)
    assert answer.cseq[1] == b"INVITE"
    assert net.pbx.take_response(200).cseq[1] == b"CANCEL"
    net.carrier.nothing()
    net.pbx.ack(invite, answer)
    net.carrier.take("ACK")
    hang_up(End.of_caller(net.pbx, invite, answer), End.of_callee(net.carrier, offer))
    net.assert_all_freed()


def test_late_18x_and_rejections_after_the_cancel_change_nothing_3261_9_2() -> None:
    net = Net()
    invite, offer = begin(net)
    give_up(net, invite)
    net.carrier.reply(offer, 180)
    net.carrier.reply(net.carrier.take_request("CANCEL"), 200)
    net.carrier.reply(offer, 183, tag="late")
    net.carrier.reply(offer, 603)  # instead of 487: some do
    net.carrier.take("ACK")
    net.carrier.reply(offer, 180)
    net.pbx.nothing()
    net.carrier.nothing()
    assert net.only_record.emitted_status == 487
    net.assert_all_freed()


def test_a_cancel_from_another_host_cancels_nothing_3261_22_1() -> None:
    """Its Via says that it is the caller's; but that is only its word, and branches can be guessed."""
    net = Net()
    invite, offer = begin(net)
    net.carrier.reply(offer, 180)
    net.pbx.take(180)
    net.backup.send(rebuild(invite).replace(b"INVITE", b"CANCEL"))
    net.backup.take(481)
    net.pbx.nothing()
    net.carrier.nothing()
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()


def test_two_hosts_that_chose_the_same_branch_and_name_have_a_call_each() -> None:
    """Both stand behind NATs, at the same private address, and count their branches up."""
    net = Net()
    invite, offer = begin(net)
    net.backup.send(rebuild(invite).replace(invite.call_id, b"another-call").replace(b";tag=", b";tag=x"))
    net.backup.take(100)
    net.pbx.forget()
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))


@pytest.mark.parametrize("numbers", [1, 2])
def test_the_bye_to_an_answer_that_crosses_the_cancel_counts_on_3261_12_2_1_1(numbers: int) -> None:
    """A lower number than the PRACKs had would be refused with 500, and the callee would stay up."""
    net = Net()
    invite = net.pbx.invite(headers="Supported: 100rel")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    for number in range(1, numbers + 1):
        net.carrier.reply(offer, 183, body=SDP, headers=f"Require: 100rel\nRSeq: {number}")
        end = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
        end.seq += number - 1
        end.request("PRACK", headers=f"RAck: {number} 1 INVITE", contact=False)
        net.carrier.reply(net.carrier.take_request("PRACK"), 200)
        net.pbx.take(200)
    net.pbx.cancel(invite)
    net.carrier.take("CANCEL")
    net.carrier.reply(offer, 200, body=SDP)
    assert net.carrier.take_request("ACK").cseq == (1, b"ACK")
    assert net.carrier.take_request("BYE").cseq == (2 + numbers, b"BYE")


def test_the_bye_to_a_fork_that_answers_late_counts_on_3261_13_2_2_4() -> None:
    net = Net()
    invite = net.pbx.invite(headers="Supported: 100rel")
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 183, tag="one", body=SDP, headers="Require: 100rel\nRSeq: 1")
    end = End.of_caller(net.pbx, invite, net.pbx.take_response(183))
    end.request("PRACK", headers="RAck: 1 1 INVITE", contact=False)
    net.carrier.reply(net.carrier.take_request("PRACK"), 200)
    net.pbx.take(200)
    net.carrier.reply(offer, 200, tag="two", body=SDP)
    net.pbx.ack(invite, net.pbx.take_response(200))
    net.carrier.take("ACK")
    net.carrier.reply(offer, 200, tag="one", body=SDP)
    assert net.carrier.take_request("ACK").cseq == (1, b"ACK")
    assert net.carrier.take_request("BYE").cseq == (3, b"BYE")
