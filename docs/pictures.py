"""Draws the pictures of ``observability.md`` from a real run: ``python docs/pictures.py``.

The gateway runs with a collector, and the phones of the demonstration play calls through it over loopback
UDP. ``trace.svg`` is one call as the collector got it, decoded from OTLP; ``dashboard.svg`` shows panels of
`deploy/grafana-dashboard.json` over readings of `/metrics`. Needs the extras `test` and `bench`.
"""

from __future__ import annotations

import re
import socket
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from html import escape
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import trio
from matplotlib.figure import Figure
from opentelemetry.proto.trace.v1.trace_pb2 import Span

sys.path.insert(0, str(Path(__file__).parents[1]))

from gateway.demo.gateway_process import config_text, running_gateway
from gateway.demo.phone import Phone
from gateway.demo.play import TRUNKS, _play_one
from gateway.demo.scenes import SCENES
from tests.telemetry.collector import Collector, attributes

FOLDER = Path(__file__).parent
SECONDS = 40
_WIDTH, _ROW, _LEFT, _RIGHT = 860, 46, 170, 30
_COLOURS = {"ok": "#3b7dd8", "error": "#d1495b", "event": "#222222", "text": "#333333", "line": "#cccccc"}

Reading = dict[str, float]


async def main() -> None:
    """Play, then draw."""
    with tempfile.TemporaryDirectory(prefix="gateway-pictures-") as name, Collector() as collector:
        path = Path(name) / "gateway.toml"
        console = _free_port()
        phones = {trunk: await Phone.open(trunk) for trunk in TRUNKS}
        text = config_text({trunk: phone.port for trunk, phone in phones.items()})
        text = text.replace('listen = ""', f'listen = "127.0.0.1:{console}"')
        path.write_text(f'{text}[telemetry]\notlp = "{collector.url}"\nsample = 1\n')
        readings: list[Reading] = []
        async with running_gateway(path) as port:
            for phone in phones.values():
                await phone.connect(port)
            await _hunted(phones)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read_metrics, f"http://127.0.0.1:{console}/metrics", readings)
                await _play_on(phones)
        for phone in phones.values():
            phone.close()
    first = min(collector.spans, key=lambda span: span.start_time_unix_nano)
    trace = [span for span in collector.spans if span.trace_id == first.trace_id]
    (FOLDER / "trace.svg").write_text(draw_trace(trace))
    draw_dashboard(readings, FOLDER / "dashboard.svg")


async def _hunted(phones: Mapping[str, Phone]) -> None:
    """Play a call that the first carrier cannot take, and that the second says is to a dead number."""
    caller, carrier, backup = (phones[trunk] for trunk in TRUNKS)
    invite = await caller.invite("1001", "+12025550123")
    offer = await carrier.hear("INVITE")
    await trio.sleep(0.08)
    await carrier.say(offer, 503, "Service Unavailable", ())
    await carrier.hear("ACK")
    offer = await backup.hear("INVITE")
    await trio.sleep(0.05)
    await backup.say(offer, 180, "Ringing")
    await caller.hear_ringing()
    await trio.sleep(0.12)
    await backup.say(offer, 603, "Decline", ("Reason: Q.850;cause=1",))
    await backup.hear("ACK")
    await caller.acknowledge(invite, await caller.hear_final("INVITE"))


async def _play_on(phones: Mapping[str, Phone]) -> None:
    """Play the scenes over and over, now faster and now slower."""
    with trio.move_on_after(SECONDS):
        while True:
            for number, scene in enumerate(SCENES):
                await _play_one(scene, phones)
                busy = 0.004 if int(trio.current_time() / 12) % 2 else 0.02
                await trio.sleep(busy * (1 + number % 3))


async def _read_metrics(url: str, readings: list[Reading]) -> None:
    """Read `/metrics` each second."""
    for _ in range(SECONDS - 2):
        text = await trio.to_thread.run_sync(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        readings.append({name: float(value) for name, _, value in lines})
        await trio.sleep(1.0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- the trace -------------------------------------------------------------------------------------------


def draw_trace(spans: list[Span]) -> str:
    """Return a waterfall of spans: a bar each, a mark for each event, titles with what a pointer shows."""
    spans = sorted(spans, key=lambda span: (span.parent_span_id != b"", span.start_time_unix_nano))
    begun, ended = spans[0].start_time_unix_nano, max(span.end_time_unix_nano for span in spans)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(1, ended - begun)
    height = _ROW * len(spans) + 50 + 15 * (1 + sum(len(_told(span)) for span in spans[:1]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for step in range(5):
        x = _LEFT + step * (_WIDTH - _LEFT - _RIGHT) / 4
        milliseconds = step * (ended - begun) / 4e6
        parts.append(f'<path d="M{x:.1f} 24V{24 + _ROW * len(spans)}" stroke="{_COLOURS["line"]}"/>')
        parts.append(_text(x, 16, f"{milliseconds:.0f} ms", "middle"))
    for row, span in enumerate(spans):
        parts += _bar(span, 30 + _ROW * row, begun, scale)
    y = 40 + _ROW * len(spans)
    for line in ["sip.gateway.decision", *_told(spans[0])]:
        y += 15
        parts.append(_text(10 if line.startswith("sip.gateway.decision") else 24, y, line))
    return "\n".join([*parts, "</svg>\n"])


def _bar(span: Span, y: float, begun: int, scale: float) -> list[str]:
    colour = _COLOURS["error" if span.status.code == span.status.STATUS_CODE_ERROR else "ok"]
    x = _LEFT + (span.start_time_unix_nano - begun) * scale
    width = max(2.0, (span.end_time_unix_nano - span.start_time_unix_nano) * scale)
    about = "\n".join(f"{key} = {value}" for key, value in attributes(span).items())
    indent = 24 if span.parent_span_id else 10
    status = attributes(span).get("sip.response.status_code", "")
    parts = [
        _text(indent, y + 18, f"{span.name} {status}"),
        f'<rect x="{x:.1f}" y="{y + 6}" width="{width:.1f}" height="16" rx="3" fill="{colour}">'
        f"<title>{escape(about)}</title></rect>",
    ]
    for event in span.events:
        at = _LEFT + (event.time_unix_nano - begun) * scale
        shown = escape("\n".join([event.name, *(f"{k} = {v}" for k, v in attributes(event).items())]))
        is_decision = event.name == "sip.gateway.decision"  # at the time of a message, so drawn around it
        mark, radius = ("#f2a541", 7) if is_decision else (_COLOURS["event"], 3.5)
        parts.append(
            f'<circle cx="{at:.1f}" cy="{y + 30}" r="{radius}" fill="{mark}"><title>{shown}</title></circle>'
        )
    return parts


def _told(span: Span) -> list[str]:
    """What the decision of a call says, as lines."""
    decisions = (event for event in span.events if event.name == "sip.gateway.decision")
    return [f"{key} = {value}" for event in decisions for key, value in attributes(event).items()]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    colour = _COLOURS["text"]
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


# -- the dashboard ---------------------------------------------------------------------------------------


def draw_dashboard(readings: list[Reading], path: Path) -> None:
    """Draw six panels of the dashboard over readings a second apart."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gateway", "font.size": 8})
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    panels = [
        ("Calls begun, a second", r"sip_gateway_calls_total$", ()),
        ("Rewritten, by rule", r"sip_gateway_rewrites_total\{", ("rule", "original", "emitted")),
        (
            "Final responses, as carriers gave them",
            r'sip_responses_total\{direction="in",method="INVITE",response="[2-6]',
            ("trunk", "response"),
        ),
        (
            "Final responses, as callers got them",
            r'sip_responses_total\{direction="out",method="INVITE",response="[2-6]',
            ("trunk", "response"),
        ),
        ("Decided by a guard", r"sip_gateway_guard_total\{", ("guard",)),
        ("Traces and call records, a second", r"sip_gateway_(?:traces|ledger_records)_total\{", ("outcome",)),
    ]
    for axes, (title, pattern, labels) in zip(figure.subplots(3, 2).flat, panels, strict=True):
        axes.set_title(title, loc="left", fontweight="bold")
        for name in sorted({name for reading in readings for name in reading if re.match(pattern, name)}):
            rates = [later.get(name, 0.0) - earlier.get(name, 0.0) for earlier, later in pairwise(readings)]
            if any(rates):
                axes.plot(rates, label=_legend(name, labels), linewidth=1.2)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if labels:
            axes.legend(fontsize=6, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, metadata={"Date": None})


def _legend(name: str, labels: tuple[str, ...]) -> str:
    values = dict(re.findall(r'(\w+)="([^"]*)"', name))
    return " ".join(values[label] for label in labels)


if __name__ == "__main__":
    trio.run(main)
