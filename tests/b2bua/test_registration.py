"""A trunk that is kept registered (RFC 3261 10.2, RFC 5626 4.5), and calls to its contact."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gateway.b2bua.registration import Input, Registration, State
from gateway.routing.locate import Address, Waiter
from gateway.routing.trunk import Target
from gateway.sip.message import Request, Response
from gateway.sip.transaction import ImpossibleInputError
from tests.helpers import CARRIER2, CONFIG, Net, Peer, make_setup, text

ACCOUNT = 'username = "gw"\npassword_env = "GW_PASSWORD"\nregister = true\nregister_expires = "10m"\n'
REGISTERED = CONFIG.replace('name = "carrier"\n', f'name = "carrier"\n{ACCOUNT}').replace(
    'target = ["sip:192.0.2.3:5060"]', 'target = ["sip:192.0.2.3"]'
)
TWO = REGISTERED.replace('target = ["sip:192.0.2.3"]', 'target = ["sip:192.0.2.3", "sip:192.0.2.4:5060"]')


class Names:
    """A locator that answers when it is told to."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []

    def locate(self, _target: Target, waiter: Waiter, _now: float) -> None:
        """Let it wait."""
        self.waiters.append(waiter)

    def answer(self, net: Net, *hosts: str) -> None:
        """Tell the one that waits where its name leads."""
        (waiter,) = self.waiters
        self.waiters = []
        waiter.on_located(tuple(Address(host, 5060, "udp") for host in hosts), net.now)


class Registered:
    """A network whose gateway has begun to register, and what it said about that."""

    def __init__(self, config: str = REGISTERED, names: Names | None = None) -> None:
        self.net = Net(config)
        if names is not None:
            self.net.core.locator = names
        self.said: list[str] = []
        self.net.core.registrations.log = self.said.append
        self.update()

    def update(self) -> None:
        """What the gateway does at start, and after a reload."""
        self.net.core.begin(self.net.now)

    @property
    def one(self) -> Registration:
        """The one registration."""
        (registration,) = self.net.core.registrations.by_name.values()
        return registration

    def asked(self) -> Request:
        """The REGISTER that the registrar gets next."""
        return self.net.carrier.take_request("REGISTER")

    def grant(self, request: Request, expires: int = 600, **more: Any) -> None:
        """Answer it with the contact it registers."""
        contact = f"{text(request, b'Contact')};expires={expires}"
        self.net.carrier.reply(request, 200, contact=False, headers=f"Contact: {contact}", **more)

    def wait_for_register(self, most: float, registrar: Peer | None = None) -> float:
        """Let time pass until the next REGISTER; seconds that it took."""
        begun = self.net.now
        peer = registrar or self.net.carrier
        while not peer.inbox:
            self.net.run(0.5)
            assert self.net.now < begun + most, "no REGISTER came"
        return self.net.now - begun


def test_the_first_register_says_who_where_and_for_how_long_3261_10_2() -> None:
    it = Registered()
    got = it.asked()
    assert (got.uri, text(got, b"To")) == (b"sip:192.0.2.3", "<sip:gw@192.0.2.3>")
    assert re.fullmatch(r"<sip:gw@192\.0\.2\.3>;tag=\w+", text(got, b"From"))
    assert re.fullmatch(r"<sip:[0-9a-f]{16}@192\.0\.2\.1:5060>", text(got, b"Contact"))
    assert (text(got, b"Expires"), got.cseq[0]) == ("600", 1)
    assert it.one.state == State.TRYING
    it.grant(got)
    it.net.run()
    assert (it.one.state, it.one.status) == (State.REGISTERED, 200)
    assert it.one.expires_at == it.net.now + 600
    assert it.said == ["trunk carrier: registered at sip:192.0.2.3 for 600 s"]


def test_a_challenge_is_answered_and_the_nonce_serves_the_refresh_3261_22_2() -> None:
    it = Registered()
    first = it.asked()
    it.net.carrier.reply(first, 401, headers='WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"')
    second = it.asked()
    assert b"nc=00000001" in second.index[b"Authorization"]
    assert (second.call_id, second.cseq[0]) == (first.call_id, 2)
    it.grant(second)
    it.wait_for_register(600)
    third = it.asked()
    assert b"nc=00000002" in third.index[b"Authorization"]
    assert (third.call_id, third.cseq[0], third.from_tag) == (first.call_id, 3, first.from_tag)
    assert text(third, b"Contact") == text(first, b"Contact")


@pytest.mark.parametrize(("expires", "least", "most"), [(600, 450, 541), (60, 45, 55), (1, 5, 6)])
def test_the_refresh_comes_in_time_by_what_was_granted_3261_10_2_4(
    expires: int, least: float, most: float
) -> None:
    it = Registered()
    it.grant(it.asked(), expires)
    assert least <= it.wait_for_register(3600) <= most
    it.grant(it.asked(), expires)
    it.net.run()
    assert it.one.state == State.REGISTERED
    assert len(it.said) == 1  # nothing has changed


def test_the_expiry_counts_that_stands_with_our_contact_among_others_3261_10_2_4() -> None:
    it = Registered()
    got = it.asked()
    contacts = f"Contact: <sip:x@y>;expires=9, {text(got, b'Contact')};q=1;expires=120\nExpires: 7"
    it.net.carrier.reply(got, 200, contact=False, headers=contacts)
    it.net.run()
    assert it.one.expires_at == it.net.now + 120


@pytest.mark.parametrize(
    ("headers", "expires"),
    [("", 600), ("Expires: 70", 70), ('Contact: "\nExpires: 80', 80), ("Contact: *\nExpires: x", 600)],
)
def test_a_200_that_lists_our_contact_badly_grants_what_it_says_or_what_was_asked(
    headers: str, expires: int
) -> None:
    it = Registered()
    it.net.carrier.reply(it.asked(), 200, contact=False, headers=headers)
    it.net.run()
    assert (it.one.state, it.one.expires_at) == (State.REGISTERED, it.net.now + expires)


def test_a_423_is_followed_once_3261_10_2_8() -> None:
    it = Registered()
    it.net.carrier.reply(it.asked(), 423, headers="Min-Expires: 1800")
    longer = it.asked()
    assert text(longer, b"Expires") == "1800"
    it.net.carrier.reply(longer, 423, headers="Min-Expires: 3600")
    it.net.run()
    assert it.one.state == State.WAITING


@pytest.mark.parametrize("least", ["", "Min-Expires: 60", "Min-Expires: 999999999", "Min-Expires: x"])
def test_a_423_that_cannot_be_followed_is_a_failure(least: str) -> None:
    it = Registered()
    it.net.carrier.reply(it.asked(), 423, headers=least)
    it.net.run()
    assert (it.one.state, it.one.status) == (State.WAITING, 423)


def test_failures_wait_twice_as_long_each_time_up_to_half_an_hour_5626_4_5() -> None:
    it = Registered()
    for longest in (30, 60, 120, 240, 480, 960, 1800, 1800):
        it.net.carrier.reply(it.asked(), 403)
        it.net.run()
        assert it.one.state == State.WAITING
        assert longest / 2 <= it.wait_for_register(3600) <= longest + 1
    assert len(it.said) == 1
    assert re.fullmatch(
        r"trunk carrier: not registered \(403 Forbidden\); the next try is in \d+ s", it.said[0]
    )
    it.grant(it.asked())
    it.net.run()
    assert it.one.state == State.REGISTERED
    it.wait_for_register(600)
    it.net.carrier.reply(it.asked(), 500)
    assert it.wait_for_register(600) <= 31  # a success begins the count anew


def test_retry_after_is_heeded_within_an_hour_3261_20_33() -> None:
    it = Registered()
    it.net.carrier.reply(it.asked(), 503, headers="Retry-After: 300")
    assert 300 <= it.wait_for_register(3600) <= 301
    it.net.carrier.reply(it.asked(), 503, headers="Retry-After: 4000000000")
    assert 3600 <= it.wait_for_register(4000) <= 3601
    it.net.carrier.reply(it.asked(), 503, headers="Retry-After: soon")
    assert it.wait_for_register(3600) <= 121


def test_credentials_that_are_refused_are_a_failure_and_not_tried_in_a_row() -> None:
    it = Registered()
    for nonce in ("n1", "n2"):
        challenge = f'WWW-Authenticate: Digest realm="r", nonce="{nonce}"'
        it.net.carrier.reply(it.asked(), 401, headers=challenge)
    it.net.carrier.nothing()
    assert (it.one.state, it.one.status) == (State.WAITING, 403)


@pytest.mark.parametrize("status", [0, 408, 500, 503, 305])
def test_a_registrar_that_cannot_serve_is_followed_by_the_next_target_3263_4_3(status: int) -> None:
    it = Registered(TWO)
    first = it.asked()
    if status:
        it.net.carrier.reply(first, status)
    else:
        it.net.run(32.1)
        it.net.carrier.forget()
    second = it.net.backup.take_request("REGISTER")
    assert (second.uri, text(second, b"To")) == (b"sip:192.0.2.4:5060", "<sip:gw@192.0.2.4>")
    assert second.call_id != first.call_id
    contact = f"Contact: {text(second, b'Contact')};expires=600"
    it.net.backup.reply(second, 200, contact=False, headers=contact)
    it.net.run()
    assert it.said == ["trunk carrier: registered at sip:192.0.2.4:5060 for 600 s"]
    it.wait_for_register(600, it.net.backup)
    assert it.net.backup.take_request("REGISTER").cseq[0] == 2  # stays where it succeeded
    it.net.carrier.nothing()


def test_when_every_target_has_failed_the_first_one_is_tried_after_the_wait() -> None:
    it = Registered(TWO)
    it.net.carrier.reply(it.asked(), 500)
    it.net.backup.reply(it.net.backup.take_request("REGISTER"), 500)
    it.net.run()
    assert it.one.state == State.WAITING
    it.wait_for_register(31)
    it.asked()


def test_a_refusal_is_not_carried_to_the_next_target() -> None:
    it = Registered(TWO)
    it.net.carrier.reply(it.asked(), 403)
    it.net.backup.nothing()
    assert it.one.state == State.WAITING


def test_a_target_that_cannot_be_reached_at_all_is_a_failure() -> None:
    it = Registered(REGISTERED.replace('"sip:192.0.2.3"', '"sip:[2001:db8::1]", "sip:192.0.2.3"'))
    it.grant(it.asked())
    lone = Registered(REGISTERED.replace('"sip:192.0.2.3"', '"sip:[2001:db8::1]"'))
    assert (lone.one.state, lone.one.status) == (State.WAITING, 503)


def test_a_2xx_that_grants_nothing_is_a_failure() -> None:
    it = Registered()
    it.grant(it.asked(), 0)
    it.net.run()
    assert it.one.state == State.WAITING


def test_a_registrar_that_is_a_name_is_looked_up_and_all_its_addresses_tried_3263_4_3() -> None:
    names = Names()
    it = Registered(REGISTERED.replace("sip:192.0.2.3", "sip:registrar.example"), names)
    it.net.carrier.nothing()
    names.answer(it.net, "192.0.2.3", "192.0.2.4")
    first = it.asked()
    assert (first.uri, text(first, b"To")) == (b"sip:registrar.example", "<sip:gw@registrar.example>")
    it.net.carrier.reply(first, 503)
    second = it.net.backup.take_request("REGISTER")
    assert (second.uri, second.call_id, second.cseq[0]) == (first.uri, first.call_id, 2)
    it.net.backup.reply(second, 503)
    it.net.run()
    assert it.one.state == State.WAITING


def test_a_registrar_s_name_that_leads_nowhere_is_a_failure() -> None:
    names = Names()
    it = Registered(REGISTERED.replace("sip:192.0.2.3", "sip:registrar.example"), names)
    names.answer(it.net)
    assert (it.one.state, it.one.status) == (State.WAITING, 503)


def test_a_registration_that_ends_while_its_name_is_looked_up_sends_nothing() -> None:
    names = Names()
    it = Registered(REGISTERED.replace("sip:192.0.2.3", "sip:registrar.example"), names)
    it.net.core.registrations.stop(it.net.now)
    assert it.net.core.registrations.are_leaving
    names.answer(it.net, "192.0.2.3")
    it.net.carrier.nothing()
    assert not it.net.core.registrations.are_leaving


# -- the end -----------------------------------------------------------------------------------------------


def test_when_the_gateway_drains_the_contact_is_removed_3261_10_2_2() -> None:
    it = Registered()
    first = it.asked()
    it.grant(first)
    it.net.run(1)
    registrations = it.net.core.registrations
    registrations.stop(it.net.now)
    assert registrations.are_leaving
    last = it.asked()
    assert (text(last, b"Expires"), text(last, b"Contact")) == ("0", text(first, b"Contact"))
    assert (last.call_id, last.cseq[0]) == (first.call_id, 2)
    it.net.carrier.reply(last, 200, contact=False)
    it.net.run()
    assert not registrations.are_leaving
    assert not it.net.core.contacts
    assert it.said[-1] == "trunk carrier: no longer registered"
    it.net.run(600)
    it.net.carrier.nothing()
    it.net.assert_all_freed()


def test_a_register_that_is_out_is_waited_for_before_the_contact_is_removed_3261_10_2() -> None:
    it = Registered()
    first = it.asked()
    it.net.core.registrations.stop(it.net.now)
    it.net.core.registrations.stop(it.net.now)
    it.net.carrier.nothing()
    it.grant(first)
    assert text(it.asked(), b"Expires") == "0"
    it.net.run(33)
    assert not it.net.core.registrations.are_leaving  # silence ends it too


def test_a_registration_that_waits_ends_at_once() -> None:
    it = Registered()
    it.net.carrier.reply(it.asked(), 403)
    it.net.run()
    it.net.core.registrations.stop(it.net.now)
    assert not it.net.core.registrations.are_leaving
    it.net.run(3600)
    it.net.carrier.nothing()


def test_a_reload_keeps_what_is_unchanged_and_ends_what_is_gone() -> None:
    it = Registered()
    first = it.asked()
    it.grant(first)
    it.net.run()
    kept = it.one
    it.net.core.reload(make_setup(REGISTERED.replace("register = true", "register = true\nx_cid = false")))
    it.update()
    assert it.one is kept
    assert kept.trunk is it.net.core.setup.trunks.by_name["carrier"]
    it.net.carrier.nothing()
    it.net.core.reload(make_setup(REGISTERED.replace('username = "gw"', 'username = "other"')))
    it.update()
    gone = it.asked()
    assert (text(gone, b"Expires"), text(gone, b"To")) == ("0", "<sip:gw@192.0.2.3>")
    assert text(it.asked(), b"To") == "<sip:other@192.0.2.3>"
    it.net.core.reload(make_setup(CONFIG))
    it.update()
    assert not it.net.core.registrations.by_name


def test_the_account_s_name_is_escaped_in_the_address_of_record_3261_19_1_2() -> None:
    it = Registered(REGISTERED.replace('"gw"', '"g w@x>"'))
    assert text(it.asked(), b"To") == "<sip:g%20w%40x%3E@192.0.2.3>"


# -- calls to the contact ----------------------------------------------------------------------------------


def registered() -> tuple[Registered, str]:
    """A registered gateway, and the user part of its contact."""
    it = Registered()
    got = it.asked()
    it.grant(got)
    it.net.run()
    return it, text(got, b"Contact")[5:].partition("@")[0]


def test_the_contact_is_the_same_after_a_restart_and_another_for_another_account() -> None:
    """Some registrars refuse one more contact, and send calls to the one they have until it expires."""
    _, token = registered()
    assert registered()[1] == token
    others = {
        text(Registered(REGISTERED.replace(one, other)).asked(), b"Contact")
        for one, other in (("gw", "gw2"), ("10m", "11m"), ("sip:192.0.2.3", "sip:192.0.2.3;transport=udp"))
    }
    assert len(others) == 3
    assert not any(token in contact for contact in others)


def test_an_account_that_comes_back_while_it_leaves_keeps_its_contact() -> None:
    it, token = registered()
    it.net.core.reload(make_setup(CONFIG))
    it.update()
    leaving = it.asked()
    assert text(leaving, b"Expires") == "0"
    it.net.core.reload(make_setup(REGISTERED))
    it.update()
    it.net.carrier.reply(leaving, 200, contact=False)
    it.grant(it.asked())
    it.net.run()
    it.net.carrier.invite(uri=f"sip:{token}@192.0.2.1:5060", to="<sip:1001@x>")
    it.net.carrier.take(100)
    assert it.net.pbx.take_request("INVITE").uri == b"sip:1001@192.0.2.2:5060"


@pytest.mark.parametrize(
    ("to", "called"),
    [
        ("<sip:+15550100@carrier.example;user=phone>", b"+15550100"),
        ("<tel:+15550100>", b"+15550100"),
        ("<sip:gw@192.0.2.3>", b"gw"),
        ("<sip:carrier.example>", b"gw"),
        ("<sip:{token}@192.0.2.1>", b"gw"),  # Asterisk's Dial(PJSIP/account)
    ],
)
def test_a_call_to_our_contact_is_for_the_number_in_to_or_the_account(to: str, called: bytes) -> None:
    it, token = registered()
    invite = it.net.carrier.invite(uri=f"sip:{token}@192.0.2.1:5060", to=to.format(token=token))
    it.net.carrier.take(100)
    offer = it.net.pbx.take_request("INVITE")
    assert offer.uri == b"sip:%b@192.0.2.2:5060" % called
    it.net.pbx.reply(offer, 486)
    it.net.carrier.ack(invite, it.net.carrier.take_response(486))
    assert it.net.only_record.called == called.decode()


def test_the_contact_means_nothing_to_another_trunk() -> None:
    it, token = registered()
    it.net.backup.invite(uri=f"sip:{token}@192.0.2.1", to="<sip:1001@x>")
    it.net.backup.take(100)
    assert it.net.pbx.take_request("INVITE").uri == f"sip:{token}@192.0.2.2:5060".encode()
    assert it.net.backup.address == CARRIER2


def test_options_to_our_contact_are_answered_here() -> None:
    it, token = registered()
    it.net.carrier.request("OPTIONS", uri=f"sip:{token}@192.0.2.1")
    assert b"Allow" in it.net.carrier.take_response(200).index
    it.net.pbx.nothing()


# -- the table ---------------------------------------------------------------------------------------------


def begun_in(net: Net, state: State) -> Registration:
    """A registration in this state, as if it had come there."""
    trunk = net.core.setup.trunks.by_name["carrier"]
    registration = Registration(net.core, trunk, lambda _: None)
    registration.state = state
    registration.status = 503
    return registration


@pytest.mark.parametrize("cell", Registration.TABLE, ids=lambda cell: f"{cell[0].name}-{cell[1].name}")
def test_each_row_of_the_table_leads_where_it_says(cell: tuple[State, Input]) -> None:
    net = Net(REGISTERED)
    registration = begun_in(net, cell[0])
    detail = 600 if cell[1] == Input.GRANTED else Response(503, b"", [], {})
    registration.feed(cell[1], detail, net.now)
    assert registration.state == Registration.TABLE[cell][0]


def test_a_cell_that_is_not_in_the_table_is_loud() -> None:
    net = Net(REGISTERED)
    missing = {(state, given) for state in State for given in Input} - set(Registration.TABLE)
    assert missing
    for state, given in missing:
        with pytest.raises(ImpossibleInputError):
            begun_in(net, state).feed(given, None, net.now)
