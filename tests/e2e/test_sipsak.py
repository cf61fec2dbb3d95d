"""sipsak, the tool of many an administrator: does the gateway live, and can an account register?"""

from __future__ import annotations

import subprocess

import pytest

from tests.e2e.peers import Lab, need
from tests.e2e.test_accounts import said
from tests.e2e.test_streams import config

pytestmark = pytest.mark.e2e


def sipsak(lab: Lab, *options: str) -> tuple[int, str]:
    """Have it speak from the PBX's host; its exit code and what it printed."""
    need("sipsak")
    command = ("sipsak", "-vvv", *options)
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout


def test_the_gateway_answers_its_pings_3261_11_2(lab: Lab) -> None:
    lab.gateway_from(config(lab, f"sip:{lab.at(lab.carrier_port)}"))
    code, printed = sipsak(lab, "-s", f"sip:{lab.at(lab.gateway_port)}")
    assert code == 0, printed
    assert "SIP/2.0 200 OK" in printed


def test_an_account_registers_and_leaves_with_its_own_credentials_3261_22_3(lab: Lab) -> None:
    registrar = lab.free_port()
    marks = {"ALGORITHM": "MD5", "USER": "alice", "CARRIER_PORT": str(lab.carrier_port)}
    kamailio = lab.kamailio(registrar, lab.carrier_port, scenario="kamailio_account", **marks)
    lab.gateway_from(config(lab, f"sip:{lab.at(registrar)}"))
    uri = f"sip:alice@{lab.at(lab.gateway_port)}"
    contact = f"sip:alice@{lab.at(lab.pbx_port)}"
    for expires in ("120", "0"):
        options = ("-U", "-s", uri, "-C", contact, "-a", "s3cret", "-x", expires)
        code, printed = sipsak(lab, *options)
        assert code == 0, printed
    assert [line.rpartition(" ")[2] for line in said(kamailio.errors, "registered")] == ["120", "0"]


def test_a_traceroute_finds_the_gateway_first_3261_16_3(lab: Lab) -> None:
    lab.gateway_from(config(lab, f"sip:{lab.at(lab.carrier_port)}"))
    _, printed = sipsak(lab, "-T", "-s", f"sip:1001@{lab.at(lab.gateway_port)}")
    first = printed.partition("1: ")[0]
    assert "483 Too Many Hops" in first, printed
