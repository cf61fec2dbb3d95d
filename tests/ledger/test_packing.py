"""Header lines are packed by the native core as `packed_lines_pure` and `joined_lines_pure` do it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import speedups
from gateway.ledger.packing import joined_lines, joined_lines_pure, packed_lines, packed_lines_pure
from gateway.sip.message import parse, parse_pure
from gateway.sip.names import KEYS
from gateway.sip.rows import Rows, key_set
from tests.sip.strategies import PROPERTY, Draft, drafts

HEAD = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"


def assert_packed(rows: Rows, expected: Rows, keys: frozenset[bytes], added: bytes = b"") -> None:
    """The lines come out alike in one piece, and as a list that msgpack can read."""
    kept = [line for key, line in expected if key not in keys]
    left_out = key_set(keys)
    assert joined_lines(rows, left_out) == joined_lines_pure(expected, keys) == b"\n".join(kept)
    packed = packed_lines(rows, left_out, added)
    assert packed == packed_lines_pure(expected, keys, added)
    assert msgspec.msgpack.decode(packed) == kept + [added] * bool(added)


@PROPERTY
@given(
    drafts(),
    st.frozensets(st.sampled_from(sorted({*KEYS.values(), b"x-new", b"via", b"X-New"}))),
    st.sampled_from([b"", b"Identity: left out"]),
)
def test_the_lines_of_any_message(draft: Draft, keys: frozenset[bytes], added: bytes) -> None:
    expected = parse_pure(draft.data).rows
    for rows in (expected, parse(draft.data).rows):
        assert_packed(rows, expected, keys, added)


@pytest.mark.parametrize("count", [0, 13, 14, 15, 16, 100])
def test_lists_of_each_length(count: int) -> None:
    data = HEAD + b"X-A: 1\r\n" * count + b"\r\n"
    expected = parse_pure(data).rows
    assert_packed(parse(data).rows, expected, frozenset())
    assert_packed(parse(data).rows, expected, frozenset((b"Via",)), b"X-B: 2")
    assert_packed(parse(data).rows, expected, frozenset((b"x-a", b"Via")))


@pytest.mark.parametrize("length", [0, 1, 254, 255, 256, 65_535, 65_536, 70_000])
def test_lines_of_each_length(length: int) -> None:
    rows = [(b"x-a", b"x" * length)]
    assert_packed(rows, rows, frozenset())


def test_the_longest_list() -> None:
    rows = [(b"x-a", b"X-A: 1")] * 65_535
    assert_packed(rows, rows, frozenset())


@pytest.mark.skipif(bool(speedups.WHY_PURE), reason=speedups.WHY_PURE)
def test_a_list_longer_than_any_message_has_is_refused_natively() -> None:
    with pytest.raises(ValueError, match="out of range"):
        packed_lines([(b"x-a", b"X-A: 1")] * 65_536, key_set(frozenset()), b"")
