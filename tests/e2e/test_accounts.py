"""Accounts at a carrier that wants credentials for everything and is a registrar: Kamailio."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.e2e.peers import Gateway, Lab, Message, Peer

pytestmark = pytest.mark.e2e

ACCOUNT = 'username = "gw"\npassword_env = "CARRIER_PASSWORD"\n'


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway is started with this environment."""
    monkeypatch.setenv("CARRIER_PASSWORD", "s3cret")


def carrier_with_accounts(
    lab: Lab, *, keys: str = ACCOUNT, algorithm: str = "MD5", user: str = "gw"
) -> tuple[Peer, Gateway, int]:
    """A Kamailio that asks for credentials, the gateway in front of it, and Kamailio's port."""
    border = lab.free_port()
    marks = {"ALGORITHM": algorithm, "USER": user, "CARRIER_PORT": str(lab.carrier_port)}
    kamailio = lab.kamailio(border, lab.carrier_port, scenario="kamailio_account", **marks)
    return kamailio, lab.gateway(carriers={"carrier": border}, keys={"carrier": keys}), border


def said(file: Path, what: str, limit: float = 10.0) -> list[str]:
    """What a peer said after the word `what`, in order, waited for."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = re.findall(rf"{what}: ([^\n]*)\n", file.read_text())
        if found:
            return [text.strip() for text in found]
        time.sleep(0.02)
    pytest.fail(f"{file.name} did not say {what!r} within {limit:.0f} s")


def statuses(messages: list[Message]) -> set[str]:
    """The statuses among them."""
    return {message.start.split()[1] for message in messages if message.start.startswith("SIP/2.0 ")}


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_the_gateway_answers_the_challenges_of_its_carrier_3261_22(lab: Lab, algorithm: str) -> None:
    kamailio, _, _ = carrier_with_accounts(lab, algorithm=algorithm)
    carrier = lab.carrier("uas_answered", calls=3)
    caller = lab.caller("uac_answered", calls=3).succeeds()
    carrier.succeeds()

    accepted = said(kamailio.errors, "accepted")
    assert sorted(accepted) == ["BYE of gw"] * 3 + ["INVITE of gw"] * 3
    assert not {"401", "407"} & statuses(caller.received())


def test_credentials_cover_the_body_where_the_carrier_wants_it_7616_3_4_3(lab: Lab) -> None:
    carrier = lab.carrier("uas_challenges", calls=2)
    lab.gateway(keys={"carrier": ACCOUNT})
    lab.caller("uac_answered", calls=2).succeeds()
    carrier.succeeds()
    credentials = [value for message in carrier.received() for value in message.all("Authorization")]
    assert len([value for value in credentials if "qop=auth-int" in value]) >= 2 * 2


def test_a_wrong_password_ends_as_403_to_the_caller(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRIER_PASSWORD", "guessed")
    _, gateway, _ = carrier_with_accounts(lab)
    caller = lab.caller("uac_rejected", STATUS="403").succeeds()
    final = caller.received()[-1]
    assert final.all("Proxy-Authenticate") == []
    assert final.one("Reason") == 'SIP;cause=407;text="Proxy Authentication Required"'
    gateway.stop()
    assert "guessed" not in gateway.errors.read_text()


def test_without_an_account_the_caller_answers_the_challenges_3261_22_3(lab: Lab) -> None:
    kamailio, _, _ = carrier_with_accounts(lab, keys="")
    carrier = lab.carrier("uas_answered")
    lab.caller("uac_authenticated").succeeds()
    carrier.succeeds()
    assert said(kamailio.errors, "accepted") == [
        "INVITE of alice",
        "BYE of alice",
    ]


def test_the_gateway_registers_takes_calls_at_its_contact_and_unregisters_3261_10_2(lab: Lab) -> None:
    keys = f'{ACCOUNT}register = true\nregister_expires = "90s"\n'
    kamailio, gateway, border = carrier_with_accounts(lab, keys=keys)
    assert said(gateway.errors, "trunk carrier") == [f"registered at sip:{lab.at(border)} for 90 s"]
    contact = said(kamailio.errors, "registered")[0]
    assert re.fullmatch(rf"gw at <sip:\w{{16}}@{lab.at(lab.gateway_port)}> expires 90", contact)

    pbx = lab.carrier("uas_answered", name="pbx", port=lab.pbx_port)
    lab.caller("uac_answered", name="outside", port=lab.carrier_port, to=border).succeeds()
    pbx.succeeds()
    assert pbx.received()[0].start == f"INVITE sip:+4930123456@{lab.at(lab.pbx_port)} SIP/2.0"

    assert gateway.stop() == 0
    assert said(kamailio.errors, "registered")[-1] == contact.replace("expires 90", "expires 0")
    assert gateway.errors.read_text().count("no longer registered") == 1


def test_a_registrar_that_is_fussy_gets_what_it_asks_for_3261_10_2_8(lab: Lab) -> None:
    registrar = lab.carrier("uas_registrar")
    keys = f'{ACCOUNT}register = true\nregister_expires = "60s"\n'
    gateway = lab.gateway(keys={"carrier": keys})
    registrar.succeeds()
    assert said(gateway.errors, "trunk carrier") == [
        f"registered at sip:{lab.at(lab.carrier_port)} for 1800 s"
    ]
    asked = registrar.received()
    assert [message.one("CSeq") for message in asked] == [f"{number} REGISTER" for number in (1, 2, 3, 4)]
    assert [message.one("Expires") for message in asked] == ["60", "60", "60", "1800"]
    assert len({message.one("Call-ID") for message in asked}) == 1


def test_a_phone_registers_through_the_gateway_and_is_called_3261_10_3(lab: Lab) -> None:
    kamailio, _, border = carrier_with_accounts(lab, keys='supports = ["607"]\n', user="alice")
    phone = lab.caller("uac_register", name="phone-registers").succeeds()
    answer = phone.received()[-1]
    own = f"<sip:alice@{lab.at(lab.pbx_port)};line=1>"
    assert re.fullmatch(rf"{re.escape(own)};q=0\.5;expires=1[12]\d", answer.one("Contact"))
    assert answer.one("Feature-Caps") == "*;+sip.607"
    (bound,) = said(kamailio.errors, "registered")
    assert re.fullmatch(rf"alice at <sip:\w{{16}}@{lab.at(lab.gateway_port)}>;q=0\.5 expires 120", bound)

    taken = lab.carrier("uas_answered", name="phone", port=lab.pbx_port)
    lab.caller("uac_answered", name="outside", port=lab.carrier_port, to=border).succeeds()
    taken.succeeds()
    assert taken.received()[0].start == f"INVITE sip:alice@{lab.at(lab.pbx_port)};line=1 SIP/2.0"
