"""Headers that name a dialog name it, on the other leg, as that leg knows it."""

from __future__ import annotations

import pytest

from gateway.sip.headers import parse_name_addr
from gateway.sip.message import Request
from gateway.sip.uri import unescape
from tests.helpers import CONFIG, End, Net, Peer, establish, hang_up, text

TAGS = {
    "Replaces": ("to-tag", "from-tag"),
    "Join": ("to-tag", "from-tag"),
    "Target-Dialog": ("local-tag", "remote-tag"),
}


def tag(address: str) -> str:
    return parse_name_addr(address.encode()).tag.decode()


def named_by(end: End, header: str) -> str:
    """The dialog as its own end speaks of it to whoever is at the other end: the receiver's tag first."""
    first, second = TAGS[header]
    return f"{end.call_id};{first}={tag(end.remote)};{second}={tag(end.local)}"


def known_to(end: End, header: str) -> str:
    """The same dialog as this end, which gets the header, knows it: its own tag first."""
    first, second = TAGS[header]
    return f"{end.call_id};{first}={tag(end.local)};{second}={tag(end.remote)}"


def reject(net: Net, invite: Request, got: Request, by: End, to: End) -> None:
    by.peer.reply(got, 486)
    by.peer.take("ACK")
    to.peer.ack(invite, to.peer.take_response(486))


@pytest.mark.parametrize("asking", ["caller", "callee"])
@pytest.mark.parametrize("header", TAGS)
def test_an_invite_names_the_other_legs_dialog_3891_3911_4538(header: str, asking: str) -> None:
    net = Net()
    caller, callee = establish(net)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    invite = one.peer.invite(headers=f"{header}: {named_by(one, header)};early-only")
    one.peer.take(100)
    got = other.peer.take_request("INVITE")
    name, _, rest = text(got, header.encode()).partition(";")
    wanted = known_to(other, header).partition(";")
    assert (name, set(rest.split(";"))) == (wanted[0], {*wanted[2].split(";"), "early-only"})
    reject(net, invite, got, other, one)
    hang_up(one, other)
    net.assert_all_freed()


@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_refer_to_with_replaces_names_the_other_legs_dialog_5589(asking: str) -> None:
    """Attended transfer: in one call somebody is referred to the far end of another."""
    net = Net()
    first = establish(net)
    second = establish(net)
    pick = 0 if asking == "caller" else 1
    one, other = first[pick], first[1 - pick]
    mine, theirs = second[pick], second[1 - pick]
    named = named_by(mine, "Replaces").replace(";", "%3B").replace("=", "%3D")
    one.request("REFER", headers=f'Refer-To: "Y" <sip:y@192.0.2.9?Replaces={named}&X-A=b>;x=1')
    got = other.peer.take_request("REFER")
    before, _, rest = text(got, b"Refer-To").partition("?Replaces=")
    replaces, ampersand, after = rest.partition("&")
    assert (before, ampersand + after) == ('"Y" <sip:y@192.0.2.9', "&X-A=b>;x=1")
    assert unescape(replaces.encode()).decode() == known_to(theirs, "Replaces")
    other.peer.reply(got, 202)
    one.peer.take(202)
    for calls in (first, second):
        hang_up(*calls)
    net.assert_all_freed()


@pytest.mark.parametrize(
    "value",
    [
        "nobody@knows;to-tag=a;from-tag=b",
        "no-tags@all",
        "bad;;;==",
        "",
    ],
)
def test_a_dialog_that_is_not_ours_keeps_its_name(value: str) -> None:
    net = Net()
    caller, callee = establish(net)
    invite = net.pbx.invite(headers=f"Replaces: {value}\nJoin: {value}")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    assert got.lines(b"Replaces") == [f"Replaces: {value}".encode()]
    assert got.lines(b"Join") == [f"Join: {value}".encode()]
    reject(net, invite, got, callee, caller)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_tags_of_one_call_with_the_call_id_of_another_are_no_dialog() -> None:
    net = Net()
    caller, callee = establish(net)
    value = "other@call;" + named_by(caller, "Replaces").partition(";")[2]
    invite = net.pbx.invite(headers=f"Replaces: {value}")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    assert text(got, b"Replaces") == value
    reject(net, invite, got, callee, caller)
    hang_up(caller, callee)
    net.assert_all_freed()


def test_a_side_that_knows_the_dialog_by_that_name_gets_it_as_it_came() -> None:
    """The carrier speaks of its own dialog, and the request goes to the carrier's side again."""
    net = Net()
    caller, callee = establish(net)
    value = known_to(callee, "Replaces")
    invite = net.pbx.invite(headers=f"Replaces: {value}")
    net.pbx.take(100)
    got = net.carrier.take_request("INVITE")
    assert text(got, b"Replaces") == value
    reject(net, invite, got, callee, caller)
    hang_up(caller, callee)
    net.assert_all_freed()


# -- In-Reply-To -------------------------------------------------------------------------------------------


def returned(net: Net, by: Peer, to: Peer, value: str) -> str:
    """What becomes of an In-Reply-To in an INVITE."""
    invite = by.invite(headers=f"In-Reply-To: {value}")
    by.take(100)
    got = to.take_request("INVITE")
    to.reply(got, 486)
    to.take("ACK")
    by.ack(invite, by.take_response(486))
    return text(got, b"In-Reply-To")


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize("asking", ["caller", "callee"])
def test_in_reply_to_names_a_call_as_the_other_leg_knows_it_3261_20_21(asking: str, is_up: bool) -> None:
    net = Net()
    caller, callee = establish(net)
    one, other = (caller, callee) if asking == "caller" else (callee, caller)
    if not is_up:
        hang_up(caller, callee)
    value = f"{one.call_id}, not-ours@all,{one.call_id}"
    assert returned(net, one.peer, other.peer, value) == f"{other.call_id}, not-ours@all, {other.call_id}"
    assert returned(net, one.peer, other.peer, other.call_id) == other.call_id  # its own name already
    if is_up:
        hang_up(caller, callee)
    net.assert_all_freed()


def test_a_call_that_was_missed_is_returned_3261_20_21() -> None:
    net = Net()
    missed = net.carrier.invite()
    net.carrier.take(100)
    got = net.pbx.take_request("INVITE")
    net.pbx.reply(got, 480)
    net.pbx.take("ACK")
    net.carrier.ack(missed, net.carrier.take_response(480))
    assert returned(net, net.pbx, net.carrier, got.call_id.decode()) == missed.call_id.decode()
    net.assert_all_freed()


def test_in_reply_to_names_nothing_to_a_trunk_that_had_no_part_in_the_call() -> None:
    net = Net(
        CONFIG.replace(
            'to = ["carrier"]',
            'called.prefix = "2"\nto = ["backup"]\n[[route]]\nfrom = ["pbx"]\nto = ["carrier"]',
        )
    )
    caller, callee = establish(net)
    invite = net.pbx.invite(uri="sip:2002@192.0.2.1", headers=f"In-Reply-To: {caller.call_id}")
    net.pbx.take(100)
    got = net.backup.take_request("INVITE")
    assert text(got, b"In-Reply-To") == caller.call_id
    net.backup.reply(got, 486)
    net.backup.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    hang_up(caller, callee)
    net.assert_all_freed()


def test_the_calls_that_in_reply_to_may_name_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.b2bua.naming._REMEMBERED", 2)
    net = Net()
    calls = []
    for _ in range(4):
        calls.append(establish(net))
        hang_up(*calls[-1])
        assert returned(net, net.pbx, net.carrier, calls[-1][0].call_id) == calls[-1][1].call_id
    assert returned(net, net.pbx, net.carrier, calls[0][0].call_id) == calls[0][0].call_id
    assert len(net.core.names._by_call_id) == 4
    net.assert_all_freed()
