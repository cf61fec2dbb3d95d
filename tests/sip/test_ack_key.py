"""The transaction of an ACK is found by its first two lines: natively as in Python."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.message import Request, parse
from gateway.sip.transaction import server_key
from gateway.sip.transaction.server import ack_key, ack_key_pure

from .strategies import PROPERTY

ACK = b"ACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-1;rport\r\n"
REST = b"From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>;tag=2\r\nCall-ID: c\r\nCSeq: 1 ACK\r\n\r\n"
OWN = re.findall(rb"[\w.]+|[^\w.]", ACK)
OTHERS = (b"[::1]", b"[", b"]", b"0", b"123456", b"\xff", b"\n", b"")


@given(st.data())
@PROPERTY
def test_the_native_form_and_the_python_one_agree_on_whatever_resembles_an_ack(data: st.DataObject) -> None:
    pieces = OWN.copy()
    for _ in range(data.draw(st.integers(0, 3))):
        pieces[data.draw(st.integers(0, len(pieces) - 1))] = data.draw(st.sampled_from((*OWN, *OTHERS)))
    text = b"".join(pieces)[: data.draw(st.sampled_from((None, 20, 40, 70)))]
    assert ack_key(text) == ack_key_pure(text)


@pytest.mark.parametrize("sent_by", [b"192.0.2.1:5060", b"pbx.example:1", b"[2001:db8::1]:65535"])
def test_it_is_the_key_that_the_whole_message_gives_but_for_its_source(sent_by: bytes) -> None:
    whole = ACK.replace(b"192.0.2.1:5060", sent_by) + REST
    request = parse(whole)
    assert isinstance(request, Request)
    key = ack_key(whole)
    assert key is not None
    assert key + b" 192.0.2.9" == server_key(request, request.via, b"ACK", b"192.0.2.9")


@pytest.mark.parametrize(
    "unusual", [b"192.0.2.1", b"192.0.2.1:05060", b"192.0.2.1:123456", b"[]:5060", b" 192.0.2.1:5060"]
)
def test_what_is_unusual_is_left_to_be_read_in_full(unusual: bytes) -> None:
    assert ack_key(ACK.replace(b"192.0.2.1:5060", unusual) + REST) is None
