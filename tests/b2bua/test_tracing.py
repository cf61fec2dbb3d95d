"""traceparent and tracestate (W3C Trace Context) from one trunk to another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.b2bua.record import TraceContext
from gateway.b2bua.tracing import Tracing, context_of, lot, span_id
from gateway.sip.message import Request, parse
from tests.helpers import CONFIG, Net, text

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"traceparent: 00-{TRACE}-{SPAN}-01"
KEY = "trace_context = true\n"
PBX_HEEDED = CONFIG.replace('name = "pbx"\n', f'name = "pbx"\n{KEY}')
CARRIER_TOLD = CONFIG.replace('name = "carrier"\n', f'name = "carrier"\n{KEY}')
BOTH = PBX_HEEDED.replace('name = "carrier"\n', f'name = "carrier"\n{KEY}')


def pass_on(config: str, headers: str, tracing: Tracing | None = None) -> tuple[Net, Request]:
    """Call the carrier; its INVITE, once it has refused."""
    net = Net(config)
    net.core.tracing = tracing or Tracing("gw1", 0.0)
    invite = net.pbx.invite(headers=headers)
    net.pbx.take(100)
    offer = net.carrier.take_request("INVITE")
    net.carrier.reply(offer, 486)
    net.carrier.take("ACK")
    net.pbx.ack(invite, net.pbx.take_response(486))
    net.assert_all_freed()
    return net, offer


def test_the_trace_of_the_caller_goes_on_with_our_span_as_the_parent() -> None:
    net, offer = pass_on(BOTH, f"{TRACEPARENT}\ntracestate: a=1\ntracestate: b=2")
    assert text(offer, b"traceparent") == f"00-{TRACE}-{span_id(offer.call_id.decode())}-01"
    assert text(offer, b"tracestate") == "a=1,b=2"
    assert net.only_record.trace == TraceContext(TRACE, SPAN, True, "a=1,b=2")


@pytest.mark.parametrize("config", [CONFIG, PBX_HEEDED], ids=["neither", "caller only"])
def test_no_context_goes_to_a_trunk_without_the_key(config: str) -> None:
    _, offer = pass_on(config, f"{TRACEPARENT}\ntracestate: a=1")
    assert not {b"traceparent", b"tracestate"} & offer.index.keys()


def test_the_context_of_a_trunk_without_the_key_is_not_heeded() -> None:
    net, offer = pass_on(CARRIER_TOLD, f"{TRACEPARENT}\ntracestate: a=1")
    record = net.only_record
    assert record.trace is None
    own = Tracing("gw1", 0.0).trace_id(record)
    assert text(offer, b"traceparent") == f"00-{own}-{span_id(offer.call_id.decode())}-00"
    assert b"tracestate" not in offer.index


def test_a_gateway_that_traces_nothing_passes_the_context_on_as_it_came() -> None:
    _, offer = pass_on(BOTH, TRACEPARENT, Tracing("gw1", None))
    assert text(offer, b"traceparent") == f"00-{TRACE}-{SPAN}-01"
    _, offer = pass_on(BOTH, "X-None: 1", Tracing("gw1", None))
    assert b"traceparent" not in offer.index


def test_the_flag_says_that_a_call_is_sure_to_be_traced() -> None:
    for share, flag in ((1.0, "01"), (0.0, "00")):
        _, offer = pass_on(BOTH, "X-None: 1", Tracing("gw1", share))
        assert text(offer, b"traceparent").endswith(flag)
    net, offer = pass_on(BOTH, TRACEPARENT.removesuffix("01") + "00")
    assert text(offer, b"traceparent").endswith("-00")
    assert 0 <= lot(net.only_record.id) < 1


@pytest.mark.parametrize(
    "header",
    [
        f"traceparent: 00-{TRACE}-{SPAN}",
        f"traceparent: 00-{TRACE.upper()}-{SPAN}-01",
        f"traceparent: 00-{'0' * 32}-{SPAN}-01",
        f"traceparent: 00-{TRACE}-{'0' * 16}-01",
        f"traceparent: ff-{TRACE}-{SPAN}-01",
        f"traceparent: 00-{TRACE}-{SPAN}-01-more",
        f"{TRACEPARENT}\n{TRACEPARENT}",
        "traceparent:",
    ],
)
def test_a_malformed_context_is_as_good_as_none(header: str) -> None:
    net, offer = pass_on(BOTH, f"{header}\ntracestate: a=1")
    assert net.only_record.trace is None
    assert text(offer, b"traceparent").startswith(f"00-{Tracing('gw1', 0.0).trace_id(net.only_record)}-")


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    net, _ = pass_on(BOTH, f"traceparent: 01-{TRACE}-{SPAN}-03-more")
    assert net.only_record.trace == TraceContext(TRACE, SPAN, True, "")


@pytest.mark.parametrize("state", ["a" * 513, "caf\u00e9"])
def test_a_state_that_cannot_pass_is_dropped_alone(state: str) -> None:
    net, offer = pass_on(BOTH, f"{TRACEPARENT}\ntracestate: {state}")
    assert net.only_record.trace == TraceContext(TRACE, SPAN, True, "")
    assert b"tracestate" not in offer.index


@given(st.binary(max_size=120), st.binary(max_size=600))
def test_whatever_stands_there_is_a_context_or_none(parent: bytes, state: bytes) -> None:
    head = b"OPTIONS sip:a@b SIP/2.0\r\n"
    request = parse(
        head + b"traceparent: %b\r\ntracestate: %b\r\n\r\n" % (without_lines(parent), without_lines(state))
    )
    assert isinstance(request, Request)
    context = context_of(request)
    assert context is None or (len(context.trace_id), len(context.parent_id)) == (32, 16)


def without_lines(value: bytes) -> bytes:
    return value.translate(None, b"\r\n\0")
