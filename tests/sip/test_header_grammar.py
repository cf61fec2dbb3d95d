"""The grammar that header values share: tokens, quoting, comma lists, parameters."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.errors import MalformedError
from gateway.sip.headers import (
    is_token,
    parse_params,
    quote,
    split_list,
    unquote,
)

from .strategies import PROPERTY, addresses


def malformed(read: Callable[[bytes], object], value: bytes) -> MalformedError:
    with pytest.raises(MalformedError) as caught:
        read(value)
    return caught.value


def test_tokens() -> None:
    assert all(is_token(text) for text in (b"INVITE", b"Q.850", b"-.!%*_+`'~0"))
    assert not any(is_token(text) for text in (b"", b"a b", b"a/b", b'"a"', b"a\n", b"\xc3\xa9", b"a\x00"))


@pytest.mark.parametrize(
    ("quoted", "plain"),
    [
        (b'"a b"', b"a b"),
        (b'""', b""),
        (rb'"say \"no\""', b'say "no"'),
        (rb'"back\\slash"', rb"back\slash"),
        (rb'"\a\\\""', b'a\\"'),
        (b"token", b"token"),
        (b"", b""),
    ],
)
def test_unquote(quoted: bytes, plain: bytes) -> None:
    assert unquote(quoted) == plain


@PROPERTY
@given(st.binary(max_size=40))
def test_unquote_undoes_quote(text: bytes) -> None:
    assert unquote(quote(text)) == text


@pytest.mark.parametrize(
    ("value", "items"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a,b , c", [b"a", b"b", b"c"]),
        (b"a,,b,", [b"a", b"b"]),
        (b",", []),
        (b' "a,b" <sip:x>;q=1, <sip:u,v@h> ', [b'"a,b" <sip:x>;q=1', b"<sip:u,v@h>"]),
        (rb'"a\",b", c', [rb'"a\",b"', b"c"]),
        (rb'"a\\", c', [rb'"a\\"', b"c"]),
        (b'Digest realm="a,b", nonce="c"', [b'Digest realm="a,b"', b'nonce="c"']),
        (b"<sip:[2001:db8::1]>, <sip:b>", [b"<sip:[2001:db8::1]>", b"<sip:b>"]),
        (b"a>,b", [b"a>", b"b"]),
    ],
)
def test_split_list_minds_quotes_and_brackets(value: bytes, items: list[bytes]) -> None:
    assert split_list(value) == items


@pytest.mark.parametrize("value", [b'"a, b', b"<a, b", b'a, "b', b'a,"b\\"', b"a, <", b'<a>,"'])
def test_split_list_refuses_what_is_not_closed(value: bytes) -> None:
    malformed(split_list, value)


@PROPERTY
@given(st.lists(addresses(), min_size=1, max_size=4), st.sampled_from([b",", b" , ", b",,", b", "]))
def test_split_list_undoes_joining(items: list[bytes], comma: bytes) -> None:
    assert split_list(comma.join(items)) == items


@pytest.mark.parametrize(
    ("text", "params"),
    [
        (b"", {}),
        (b"  ", {}),
        (b";lr", {b"lr": None}),
        (b";LR=On", {b"lr": b"On"}),
        (b" ; a = 1 ; b ; c = \t2 ", {b"a": b"1", b"b": None, b"c": b"2"}),
        (b';a="x;y,z=\\"" ;b', {b"a": b'"x;y,z=\\""', b"b": None}),
        (b";a=", {b"a": b""}),
        (b";a= ;b", {b"a": b"", b"b": None}),
        (b";a=1;A=2", {b"a": b"1"}),
        (b";purl=<sip:a;b=c>;x", {b"purl": b"<sip:a;b=c>", b"x": None}),
        (b";host=[2001:db8::1]:5060", {b"host": b"[2001:db8::1]:5060"}),
    ],
)
def test_parse_params(text: bytes, params: dict[bytes, bytes | None]) -> None:
    assert parse_params(text) == params


@pytest.mark.parametrize(
    "text", [b";", b";;", b";a;", b";=1", b"a", b";a b", b';a="', b';a="x"y', b";a=<", b";a=1,"]
)
def test_parse_params_refuses_what_is_left_over(text: bytes) -> None:
    malformed(parse_params, text)
