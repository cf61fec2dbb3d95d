"""What the answer to a REGISTER says of phones other than the one that asked (RFC 3261 10.2.4, 10.3)."""

from __future__ import annotations

import pytest

from tests.b2bua.registering import AOR, PHONE, REGISTRAR, bound, granted, register, token_of
from tests.helpers import Net, text


def two_phones(net: Net) -> tuple[str, str]:
    """Two phones of alice are registered; the tokens that the registrar knows them by."""
    first = bound(net)
    net.run(0.1)
    got = register(net, "<sip:alice@192.0.2.78:5067>")
    second = token_of(text(got, b"Contact"))
    granted(net, got, *(f"<sip:{token}@192.0.2.1:5060>;expires=600" for token in (first, second)))
    net.run(0.1)
    return first, second


@pytest.mark.parametrize("listed", [(), ("<sip:",)])
@pytest.mark.parametrize("expires", [600, 0])
def test_an_answer_without_a_list_speaks_of_no_other_phone_3261_10_3(
    listed: tuple[str, ...], expires: int
) -> None:
    """Some registrars list nothing, against 10.3: then it is no news that they do not list the other one."""
    net = Net(REGISTRAR)
    first, second = two_phones(net)
    got = register(net, "<sip:alice@192.0.2.78:5067>", expires=expires)
    granted(net, got, *listed)
    left = [first, second] if expires else [first]
    assert [token.decode() for token in net.core.contacts] == left
    phone = net.peer(PHONE, "alice")
    net.carrier.request("MESSAGE", uri=f"sip:{first}@192.0.2.1", to=AOR)
    phone.take("MESSAGE")


def test_a_fetch_that_lists_nothing_unbinds_nobody_3261_10_2_3() -> None:
    net = Net(REGISTRAR)
    two_phones(net)
    granted(net, register(net, expires=None))
    assert len(net.core.bindings) == 2


def test_star_unbinds_every_phone_3261_10_2_2() -> None:
    net = Net(REGISTRAR)
    two_phones(net)
    granted(net, register(net, "*", expires=0))
    assert len(net.core.bindings) == 0


def test_a_star_that_is_refused_unbinds_nobody_3261_10_3() -> None:
    net = Net(REGISTRAR)
    two_phones(net)
    net.carrier.reply(register(net, "*", expires=0), 403)
    net.pbx.take(403)
    assert len(net.core.bindings) == 2


@pytest.mark.parametrize("contact", ["<sip:alice@192.0.2.77:5066>", "*"])
def test_a_list_that_another_phone_has_overtaken_does_not_speak_of_it_3261_10_3(contact: str) -> None:
    """The registrar made it before it bound the other one; only the answers came the other way round."""
    net = Net(REGISTRAR)
    first = register(net, contact, expires=600 if contact != "*" else 0)
    net.run(0.1)
    second = register(net, "<sip:alice@192.0.2.78:5067>")
    net.run(0.1)
    listed = [text(first, b"Contact")] if contact != "*" else []
    granted(net, second, *(f"{ours};expires=600" for ours in [*listed, text(second, b"Contact")]))
    granted(net, first, *(f"{ours};expires=600" for ours in listed))
    assert token_of(text(second, b"Contact")) in [token.decode() for token in net.core.contacts]
    assert len(net.core.bindings) == len(listed) + 1


def test_a_removal_that_a_later_register_has_overtaken_removes_nothing_3261_10_2() -> None:
    net = Net(REGISTRAR)
    token = bound(net)
    net.run(0.1)
    removal = register(net, "<sip:alice@192.0.2.77:5066>", expires=0)
    net.run(0.1)
    granted(net, register(net, "<sip:alice@192.0.2.77:5066>"), f"<sip:{token}@192.0.2.1:5060>;expires=600")
    granted(net, removal)
    assert list(net.core.contacts) == [token.encode()]
