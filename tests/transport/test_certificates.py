"""Our own certificates over real loopback sockets: new ones without a restart, and bad ones refused."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from gateway.config import SettingsErrors
from gateway.config import parse as parse_config
from gateway.transport.tls import Certificates

from .station import (
    Wire,
    config_text,
    dial,
    dial_tls,
    listening,
    reply,
    request,
    scene,
    serving,
)
from .vault import Vault


def seen_by(wire: Wire) -> object:
    assert isinstance(wire.stream, trio.SSLStream)
    return wire.stream.getpeercert()["serialNumber"]


@scene
async def test_new_certificates_serve_new_connections_and_old_ones_go_on(vault: Vault) -> None:
    text = vault.text()
    async with serving(text) as station:
        first = await dial_tls(station.local("tls"), vault.client())
        vault.sign("gw", "gw.example")
        station.ports.certificates.load(parse_config(text))
        second = await dial_tls(station.local("tls"), vault.client())
        assert seen_by(first) != seen_by(second)
        for wire in (first, second):
            await wire.send(request(transport="TLS"))
            await wire.response(200)


@scene
async def test_a_listener_whose_certificate_a_reload_took_away_takes_nobody_in(vault: Vault) -> None:
    """And those that are in go on."""
    async with serving(text := vault.text()) as station:
        pbx = await dial_tls(station.local("tls"), vault.client())
        station.ports.certificates.load(parse_config(config_text()))
        assert await (await dial(station.local("tls"))).end() == b""
        assert station.streams.refused == {"no certificate": 1}
        await pbx.send(request(transport="TLS"))
        await pbx.response(200)
        station.ports.certificates.load(parse_config(text))
        again = await dial_tls(station.local("tls"), vault.client())
        await again.send(request(transport="TLS"))
        await again.response(200)


@scene
async def test_a_call_goes_on_over_its_connections_when_certificates_are_renewed(vault: Vault) -> None:
    async with (
        listening(context=vault.server("127.0.0.3")) as (port, accept),
        serving(text := vault.text(port)) as station,
    ):
        pbx = await dial_tls(station.local("tls"), vault.client())
        await pbx.send(request("INVITE", "sip:1001@127.0.0.1", transport="TLS", call="long"))
        await pbx.response(100)
        carrier = await accept()
        invite = await carrier.request("INVITE")
        await carrier.send(reply(invite, 200, contact=f"sip:b@127.0.0.3:{port};transport=tls"))
        tag = (await pbx.response(200)).to_tag.decode()
        vault.sign("gw", "gw.example")
        station.ports.certificates.load(parse_config(text))
        inside = {"transport": "TLS", "call": "long", "to_tag": tag}
        await pbx.send(request("ACK", "sip:127.0.0.1", **inside))
        await carrier.request("ACK")
        await pbx.send(request("BYE", "sip:127.0.0.1", seq=2, **inside))
        await carrier.send(reply(await carrier.request("BYE"), 200))
        await pbx.response(200)
        assert not station.streams.closed


@scene
async def test_a_bad_file_is_refused_by_name_and_the_old_certificates_stay(vault: Vault) -> None:
    text = vault.text()
    async with serving(text) as station:
        first = await dial_tls(station.local("tls"), vault.client())
        (vault.folder / "gw.pem").write_text("nonsense")
        with pytest.raises(SettingsErrors) as caught:
            station.ports.certificates.load(parse_config(text))
        (error,) = caught.value.errors
        assert str(error).startswith("gateway.toml:4: gateway.tls_cert: ")
        assert "gw.pem" in str(error)
        assert seen_by(await dial_tls(station.local("tls"), vault.client())) == seen_by(first)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(vault: Vault) -> None:
    text = vault.text()
    key = load_pem_private_key((vault.folder / "gw.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (vault.folder / "locked.key").write_bytes(locked)
    with pytest.raises(SettingsErrors):
        Certificates(parse_config(text.replace("gw.key", "locked.key")))


def test_two_cas_for_tls_names_cannot_be_told_apart_and_are_an_error(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Vault(tmp_path / "other")
    text = vault.text().replace('source = ["127.0.0.3"]', 'source = ["carrier.example"]')
    text += f'[[trunk]]\nname = "b"\nsource = ["b.example"]\ntls_ca = "{other.ca_file}"\n'
    with pytest.raises(SettingsErrors) as caught:
        Certificates(parse_config(text))
    assert "trunk[b].tls_ca: another trunk with a TLS name trusts another CA" in str(caught.value)
    Certificates(parse_config(text.replace("[ledger]", f'tls_ca = "{vault.ca_file}"\n[ledger]')))


@pytest.mark.parametrize(
    ("days", "said"),
    [(-1, ["has expired"]), (3, ["expires in 3 days"]), (13.5, ["expires in 14 days"]), (15, [])],
)
def test_a_certificate_of_ours_that_ends_soon_is_spoken_of(
    vault: Vault, days: float, said: list[str]
) -> None:
    text = vault.text()
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days, minutes=1)
    leaf = vault.ca.issue_cert("gw.example", not_before=now - datetime.timedelta(days=9), not_after=ends)
    cert, _ = vault.write("gw", leaf)
    warnings = Certificates(parse_config(text)).warnings
    assert warnings == [f'the certificate "{cert}" {what}' for what in said]


def test_a_certificate_that_only_its_ca_can_vouch_for_is_spoken_of_too(vault: Vault) -> None:
    """Its chain holds a CA between, as those of public CAs do."""
    text = vault.text()
    between = vault.ca.create_child_ca()
    now = datetime.datetime.now(datetime.UTC)
    leaf = between.issue_cert("gw.example", not_after=now + datetime.timedelta(days=2, minutes=1))
    cert, _ = vault.write("gw", leaf)
    assert Certificates(parse_config(text)).warnings == [f'the certificate "{cert}" expires in 2 days']
