"""Every reader of a value against hostile ones: bytes of any kind, and long runs that invite backtracking."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip.errors import MalformedError
from gateway.sip.headers import (
    parse_auth,
    parse_cseq,
    parse_name_addr,
    parse_params,
    parse_rack,
    parse_reasons,
    parse_retry_after,
    parse_via,
    parse_warnings,
    split_list,
    without_tag,
)
from gateway.sip.rows import unfold
from gateway.sip.uri import parse_uri

from .strategies import ALNUM, PROPERTY, chars

PARSERS: dict[str, Callable[[bytes], object]] = {
    "via": parse_via,
    "via parameters": lambda value: parse_via(b"SIP/2.0/UDP h" + value),
    "name-addr": parse_name_addr,
    "display name": lambda value: parse_name_addr(b'"a' + value),
    "address parameters": lambda value: parse_name_addr(b"<sip:a>" + value),
    "without tag": without_tag,
    "list": split_list,
    "parameters": parse_params,
    "parameter value": lambda value: parse_params(b";a=" + value),
    "cseq": parse_cseq,
    "rack": lambda value: parse_rack(b"1 " + value),
    "reason": lambda value: parse_reasons([value]),
    "retry-after": lambda value: parse_retry_after(b"5 " + value),
    "warning": lambda value: parse_warnings([b"399 h " + value]),
    "auth": lambda value: parse_auth(b"Digest " + value),
    "auth value": lambda value: parse_auth(b"Digest a=" + value),
    "fold": unfold,
    "uri": parse_uri,
    "uri rest": lambda value: parse_uri(b"sip:" + value),
    "number": lambda value: parse_uri(b"sip:1" + value + b"@h").number,
}
RUNS = [
    b'"', b" ", b"\t", b"\\", b";", b"<", b">", b",", b"a", b"1", b"(", b"=", b"[", b":", b"%", b"a ", b"; ",
    b";a", b';a="', b";a=<", b"a,", b'""', b'"\\', b"a=b,", b"<a>", b" \n", b"()", b"a@",
]  # fmt: skip


@pytest.mark.parametrize("run", RUNS, ids=repr)
def test_a_long_run_of_anything_is_read_in_one_pass(run: bytes) -> None:
    """A quarter of a megabyte of one thing, then something that spoils the match: work that grows with the
    square of the length would take minutes here, so this test hangs when an expression backtracks.
    """
    for end in (b"", b"\x00", b'"', b"\n"):
        for name, read in PARSERS.items():
            try:
                read(run * (250_000 // len(run)) + end)
            except MalformedError as error:
                assert error.status == 400, name


@PROPERTY
@given(
    st.sampled_from(sorted(PARSERS)),
    st.one_of(st.binary(max_size=60), chars(ALNUM + b'";,<>=:@\\ ()[]', 0, 60)),
)
def test_any_bytes_are_a_value_or_malformed(name: str, value: bytes) -> None:
    try:
        PARSERS[name](value)
    except MalformedError as error:
        assert error.status in (400, 505)
