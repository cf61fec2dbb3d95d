"""The two promises of the message layer that everything else rests on.

A well-formed message means what its sender meant, and is kept as it was written. Whatever else arrives ends
in MalformedError and in nothing else, at any depth of reading.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.errors import MalformedError
from gateway.sip.headers import (
    parse_addresses,
    parse_auth,
    parse_max_forwards,
    parse_name_addr,
    parse_rack,
    parse_reasons,
    parse_retry_after,
    parse_via,
    parse_warnings,
    split_list,
    without_tag,
)
from gateway.sip.message import (
    MalformedMessageError,
    Message,
    Request,
    parse,
)
from gateway.sip.uri import parse_uri

from .strategies import PROPERTY, Draft, drafts, spoilt


def read_everything(message: Message) -> None:
    """Read a message through every accessor and typed parser; only MalformedError may come of it."""

    def attempt(read: object, *arguments: object) -> None:
        assert callable(read)
        try:
            read(*arguments)
        except MalformedError:
            return

    for name in ("via", "cseq", "call_id", "from_tag", "to_tag", "sender", "receiver", "max_forwards"):
        attempt(lambda name=name: getattr(message, name, None))
    if isinstance(message, Request):
        attempt(message.check)
        attempt(parse_uri, message.uri)
    for key in message.index:
        values = message.values(key)
        assert values[0] == message.get(key)
        for value in values:
            for read in (parse_via, parse_name_addr, parse_rack, parse_retry_after, parse_max_forwards):
                attempt(read, value)
            for read in (parse_auth, split_list, parse_uri, without_tag):
                attempt(read, value)
        for read_all in (parse_reasons, parse_warnings, parse_addresses):
            attempt(read_all, values)


@PROPERTY
@given(drafts())
def test_a_well_formed_message_means_what_was_written_and_is_kept_as_written(draft: Draft) -> None:
    """parse of build is identity: the start line, each header's values, each line's bytes, the body."""
    message = parse(draft.data)
    if isinstance(message, Request):
        start = b"%b %b SIP/2.0" % (message.method, message.uri)
    else:
        start = b"SIP/2.0 %d %b" % (message.status, message.phrase)
    assert start == draft.start
    assert message.rows == [(key, line) for key, line, _ in draft.lines]
    for key in message.index:
        assert message.values(key) == draft.values(key)
        assert message.repeated(key) == (len(draft.values(key)) > 1)
    assert message.body == draft.body
    rebuilt = b"\r\n".join([start, *(line for _, line in message.rows), b"", message.body])
    assert rebuilt == draft.data


@PROPERTY
@given(drafts("request"))
def test_a_well_formed_request_passes_check(draft: Draft) -> None:
    message = parse(draft.data)
    assert isinstance(message, Request)
    message.check()
    assert message.cseq[1] == message.method
    assert message.via.branch.startswith(b"z9hG4bK")


@PROPERTY
@given(spoilt(drafts().map(lambda draft: draft.data)))
def test_a_spoilt_message_is_a_message_or_malformed(data: bytes) -> None:
    try:
        message = parse(data)
    except MalformedMessageError as error:
        assert error.status in (400, 505, 513)
        if error.request is not None:
            read_everything(error.request)
        return
    read_everything(message)


@PROPERTY
@given(spoilt(drafts().map(lambda draft: draft.data)))
def test_what_was_read_can_be_written_and_read_again(data: bytes) -> None:
    """No octet of a header line can end the line: what we pass on has the frame that we saw."""
    try:
        message = parse(data)
    except MalformedMessageError:
        return
    if isinstance(message, Request):
        start = b"%b %b SIP/2.0" % (message.method, message.uri)
    else:
        start = b"SIP/2.0 %d %b" % (message.status, message.phrase)
    rows = [row for row in message.rows if row[0] != b"Content-Length"]
    length = b"Content-Length: %d" % len(message.body)
    again = parse(b"\r\n".join([start, *(line for _, line in rows), length, b"", message.body]))
    assert again.rows[:-1] == rows
    assert again.body == message.body
    assert type(again) is type(message)


@PROPERTY
@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        read_everything(parse(data))
    except MalformedMessageError as error:
        assert error.status in (400, 505, 513)


@PROPERTY
@given(st.binary(max_size=60))
def test_any_bytes_for_a_value_are_read_or_malformed(value: bytes) -> None:
    index = dict.fromkeys((b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Max-Forwards", b"Contact"), value)
    read_everything(Request(b"INVITE", value, [], index))
