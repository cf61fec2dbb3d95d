"""Who owns a message: one rule for all of a call, whatever the message looks like."""

from __future__ import annotations

import itertools
from collections import Counter
from zlib import adler32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.message import MalformedMessageError, parse
from gateway.workers.ownership import HASH_MODULUS, OwnTokens, owner_of, owner_of_branch, owner_of_call

INVITE = (
    b"INVITE sip:+49301@gw SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:c@d>\r\nCall-ID: one@host\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
)
WORKERS = 7
OWNER = owner_of(INVITE, WORKERS)


def test_all_messages_of_a_leg_have_one_owner() -> None:
    answer = INVITE.replace(b"INVITE sip:+49301@gw SIP/2.0", b"SIP/2.0 200 OK")
    ack = INVITE.replace(b"INVITE", b"ACK")
    assert owner_of(answer, WORKERS) == owner_of(ack, WORKERS) == OWNER
    assert adler32(b"one") % HASH_MODULUS % WORKERS == OWNER


@pytest.mark.parametrize("workers", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize(
    "form", ["{:d}-4711", "{:d}", "call-{:d}0", "1234567890-5060-{:d}", "BW1430{:05d}180926", "{:x}c0ffee"]
)
def test_call_ids_that_count_up_are_shared_out_evenly(workers: int, form: str) -> None:
    """As many peers make them: no worker gets a tenth more than its part, nor a long row of calls."""
    owners = [owner_of_call(form.format(number).encode(), workers) for number in range(10_000)]
    counts = Counter(owners)
    assert len(counts) == workers
    assert max(counts.values()) < 1.1 * 10_000 / workers
    longest = max(len(list(run)) for _, run in itertools.groupby(owners))
    assert longest < 40


def test_odd_spellings_of_the_header_have_the_owner_of_the_plain_one() -> None:
    for odd in (
        b"i: one@host", b"CALL-ID: one@host", b"Call-ID :one@host", b"Call-ID:\t one@host \t", b"I:one@host",
        b"Call-ID: \r\n one@host", b"Call-ID:one@host\r\nX: y",
    ):  # fmt: skip
        assert owner_of(INVITE.replace(b"Call-ID: one@host", odd), WORKERS) == OWNER, odd
    assert owner_of(b"\r\n\r\n" + INVITE, WORKERS) == OWNER
    assert owner_of(INVITE.replace(b"\r\n", b"\n"), WORKERS) == OWNER
    for line_end in (b"\r\n", b"\n"):
        mixed = INVITE.replace(b"one@host\r\n", b"one" + line_end)
        assert owner_of(mixed, WORKERS) == OWNER, "one line may end as another does not"


def test_a_call_id_in_the_body_or_on_a_folded_line_does_not_count() -> None:
    plain = INVITE.replace(b"Content-Length: 0\r\n", b"")
    body = b"NOTIFY x SIP/2.0\r\nCall-ID: other@host\r\n"
    assert owner_of(plain + body, WORKERS) == OWNER
    assert owner_of(plain.replace(b"Call-ID:", b"i:") + body, WORKERS) == OWNER
    for blank in (b"\r\n", b"\n"):  # the body begins with it
        head = plain.removesuffix(b"\r\n").replace(b"Call-ID:", b"i:")
        assert owner_of(head + blank + b"Call-ID: other@host\r\n", WORKERS) == OWNER
    assert owner_of(INVITE.replace(b"CSeq", b"Subject: x\r\n Call-ID: other@host\r\nCSeq"), WORKERS) == OWNER


def test_a_register_is_the_first_workers() -> None:
    for call_id in range(20):
        register = INVITE.replace(b"INVITE", b"REGISTER").replace(b"one", b"%d" % call_id)
        assert owner_of(register, WORKERS) == 0


def test_what_is_no_message_has_no_owner() -> None:
    for data in (b"", b"\r\n\r\n", b"\0\0\0\0", b"INVITE\r\n", b"nonsense", INVITE[:60]):
        assert owner_of(data, WORKERS) is None


@given(st.binary(max_size=300), st.integers(0, len(INVITE)), st.integers(0, 40))
def test_hostile_bytes_have_the_owner_that_the_parser_would_name_or_none(
    noise: bytes, at: int, cut: int
) -> None:
    """Whatever is done to a message, its owner is that of the Call-ID which the parser reads in it, so that
    no worker ever serves what another would look for; and nothing is raised.
    """
    data = INVITE[:at] + noise + INVITE[at + cut :]
    owner = owner_of(data, WORKERS)
    try:
        message = parse(data)
    except MalformedMessageError:
        return  # it is refused without state, by whoever has it
    call_id = message.index.get(b"Call-ID")
    if call_id is not None and not data.startswith(b"REGISTER ") and not message.repeated(b"Call-ID"):
        assert owner == owner_of_call(call_id, WORKERS)


def test_tokens_of_a_worker_name_it_in_call_ids_and_branches() -> None:
    numbers = itertools.count()
    for index in range(WORKERS):
        draw = OwnTokens(lambda: b"%016x" % next(numbers), index, WORKERS)
        tokens = [draw() for _ in range(50)]
        assert len(set(tokens)) == 50
        assert {owner_of_call(token + b"@192.0.2.1", WORKERS) for token in tokens} == {index}
        assert {owner_of_branch(b"z9hG4bK" + token, WORKERS) for token in tokens} == {index}
