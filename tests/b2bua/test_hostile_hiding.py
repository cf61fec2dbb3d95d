"""What peers send by malice or mistake is hidden: each line sound or gone, any body without an error."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.b2bua.bodies import hidden_body
from gateway.b2bua.topology import ADDRESSES, LINKS, Hiding
from gateway.sip.rows import header_key
from tests.sip.strategies import PROPERTY

_HIDING = Hiding(b"[2001:db8::1]:5070", [], lambda *_: False)
_NAMES = sorted({*ADDRESSES, *LINKS, b"Identity", b"Join", b"Warning", b"Content-ID", b"x-any"})
_PIECES = st.sampled_from(
    [
        b"<sip:a@h>",
        b"<",
        b">",
        b'"',
        b"\\",
        b",",
        b";",
        b"=",
        b"?",
        b"&",
        b"@",
        b"%40",
        b"Replaces",
        b"tel:1",
        b"\xff",
    ]
)
_HOSTILE = st.lists(st.one_of(_PIECES, st.binary(max_size=4)), max_size=12).map(b"".join)
_KINDS = st.sampled_from(
    [b"application/sdp", b"a/b+xml", b"message/sipfrag", b"multipart/x;boundary=b", b";"]
)


@given(st.sampled_from(_NAMES), _HOSTILE)
@PROPERTY
def test_whatever_a_header_holds_it_is_one_sound_line_or_none(name: bytes, value: bytes) -> None:
    line = name + b":" + value.replace(b"\n", b"").replace(b"\r", b"")
    rows = [(b"From", line), (header_key(name), line)]
    hidden_line = _HIDING.line(header_key(name), line, rows)
    assert hidden_line is None or (hidden_line.startswith(name) and b"\n" not in hidden_line)
    assert hidden_line is None or b"@h" not in hidden_line or header_key(name) in (b"Content-ID", b"Identity")


@given(
    _KINDS,
    st.lists(st.one_of(_HOSTILE, st.sampled_from([b"\r\n", b"o=", b"--b", b"\r\n\r\n"]))).map(b"".join),
)
@PROPERTY
def test_any_body_is_hidden_without_trouble(kind: bytes, body: bytes) -> None:
    assert isinstance(hidden_body(body, kind, _HIDING, b"salt"), bytes)
    line = b"v=0\r\no=" + body.translate(None, b"\r\n") + b"\r\n"
    shown = hidden_body(line, b"application/sdp", _HIDING, b"salt")
    assert shown.split(b"\r\n")[1].endswith(b"IN IP6 2001:db8::1")
