"""One ladder as a page that can be kept and sent: what is known of the call, the picture, every message."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .model import Arrow, Ladder, shown_time
from .svg import STYLE, svg

_PAGE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin-top: 2rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.15rem 1rem; }
dt { opacity: 0.65; } dd { margin: 0; }
.picture { overflow-x: auto; border: 1px solid #8884; border-radius: 8px; } .picture svg { display: block; }
details { border-bottom: 1px solid #8883; padding: 0.3rem 0; } summary { cursor: pointer; }
details:target { outline: 2px solid #d97706; outline-offset: 2px; }
summary span { opacity: 0.65; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; font-size: 12.5px; }
"""


def page(title: str, facts: Iterable[tuple[str, str]], ladder: Ladder) -> str:
    """Return an HTML page, complete in itself; ``facts`` are names and values, empty values left out."""
    known = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    messages = "".join(
        _message(ladder, arrow, since, index) for index, (arrow, since, _) in enumerate(ladder.steps())
    )
    note = f"<p>{escape(ladder.note)}</p>" if ladder.note else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_PAGE}{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><dl>{known}</dl>"
        f'<div class="picture">{svg(ladder, link="message-", style=False)}</div>'
        f"<h2>Messages</h2>{messages}{note}</body></html>\n"
    )


def _message(ladder: Ladder, arrow: Arrow, since: float, index: int) -> str:
    source, target = ladder.participants[arrow.source], ladder.participants[arrow.target]
    clock = shown_time(arrow.at, "%H:%M:%S.%f UTC")
    times = "" if arrow.times == 1 else f", {arrow.times} times"
    return (
        f'<details id="message-{index}"><summary><span>{since:.3f} s</span> '
        f"{escape(source.name)} → {escape(target.name)}: <b>{escape(arrow.label)}</b>{times} "
        f"<span>{escape(arrow.transport.upper())} {clock}</span></summary>"
        f"<pre>{escape(arrow.text)}</pre></details>"
    )
