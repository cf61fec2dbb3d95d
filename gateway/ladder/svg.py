"""A ladder as SVG, to stand alone or in a page: an arrow shows the whole message when the mouse rests on it.

Nothing is loaded from elsewhere and nothing runs. Colours follow the reader's light or dark setting.
"""

from __future__ import annotations

from html import escape

from .model import Arrow, Ladder
from .text import label_of, span

STYLE = """
.ladder { --paper: #ffffff; --ink: #1f2937; --faint: #6b7280; --line: #cbd5e1; --box: #f1f5f9;
  --band: #f8fafc;
  --request: #0369a1; --provisional: #64748b; --success: #15803d; --redirect: #4338ca; --rejection: #b45309;
  --failure: #b91c1c; --global: #a21caf; --unreadable: #b91c1c; --mark: #fef3c7; --mark-edge: #d97706;
  --mark-ink: #78350f; background: var(--paper); }
@media (prefers-color-scheme: dark) { .ladder { --paper: #0f172a; --ink: #e2e8f0; --faint: #94a3b8;
  --line: #334155; --box: #1e293b; --band: #162033; --request: #38bdf8; --provisional: #94a3b8;
  --success: #4ade80; --redirect: #a5b4fc; --rejection: #fbbf24; --failure: #f87171; --global: #e879f9;
  --unreadable: #f87171; --mark: #422006; --mark-edge: #f59e0b; --mark-ink: #fde68a; } }
.ladder text { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; fill: var(--ink); }
.ladder .paper { fill: var(--paper); } .ladder .box { fill: var(--box); stroke: var(--line); }
.ladder .gateway .box { stroke: var(--mark-edge); }
.ladder .name { font-weight: 700; font-size: 14px; } .ladder .faint { fill: var(--faint); font-size: 11px; }
.ladder .life { stroke: var(--line); stroke-width: 1.5; }
.ladder .rung .hit { fill: transparent; } .ladder .rung:hover .hit { fill: var(--band); }
.ladder .rung line, .ladder .rung path { stroke: var(--kind); stroke-width: 1.6; fill: none; }
.ladder .rung polygon { fill: var(--kind); }
.ladder .rung .label { fill: var(--kind); stroke: var(--paper); stroke-width: 4px; paint-order: stroke; }
.ladder .times { font-weight: 700; }
.ladder .mark rect { fill: var(--mark); stroke: var(--mark-edge); }
.ladder .mark text { fill: var(--mark-ink); }
""" + "".join(
    f".ladder .{kind} {{ --kind: var(--{kind}); }}\n"
    for kind in (
        "request", "provisional", "success", "redirect", "rejection", "failure", "global", "unreadable"
    )
)  # fmt: skip

_SIGN = 7.9  # pixels of a character of 13 px
_TIMES = 118  # pixels for the times on the left
_HALF = 92  # half a participant's box
_GAP_NARROW, _GAP_WIDE = 230, 330  # pixels between two lines, for many participants and for few
_TOP = 74  # of the first row
_ROW, _MARK = 34, 32  # pixels of height


def svg(ladder: Ladder, *, link: str = "", style: bool = True) -> str:
    """Return a ladder as an SVG element. With ``link``, each arrow leads to ``#LINK`` and its place from 0.

    Several on one page need ``style`` once, or the page has :data:`STYLE` itself.
    """
    count = max(1, len(ladder.participants))
    gap = _GAP_WIDE if count <= 3 else _GAP_NARROW
    lines = [_TIMES + _HALF + 12 + gap * index for index in range(count)]
    width = lines[-1] + _HALF + 12
    rows: list[str] = []
    top = _TOP
    for index, (arrow, since, step) in enumerate(ladder.steps()):
        if arrow.mark:
            rows.append(_mark(arrow, lines[arrow.source], top, width))
            top += _MARK
        rung = _rung(arrow, lines, top, width, since, step)
        rows.append(f'<a href="#{escape(link)}{index}">{rung}</a>' if link else rung)
        top += _ROW
    if ladder.note:
        rows.append(f'<text class="faint" x="8" y="{top + 24}">{escape(ladder.note)}</text>')
        top += _ROW
    height = top + 14
    css = f"<style>{STYLE}</style>" if style else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ladder" role="img" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}"><title>{_title(ladder)}</title>{css}'
        f'<rect class="paper" width="100%" height="100%"/>{_heads(ladder, lines, height)}'
        f"{''.join(rows)}</svg>"
    )


def _title(ladder: Ladder) -> str:
    names = " – ".join(participant.name for participant in ladder.participants)
    return escape(f"{len(ladder.arrows)} messages between {names}" if names else "no messages")


def _heads(ladder: Ladder, lines: list[int], height: int) -> str:
    parts = []
    middle = 'text-anchor="middle"'
    for participant, x in zip(ladder.participants, lines, strict=False):
        parts.append(
            f'<g class="{participant.role}"><line class="life" x1="{x}" x2="{x}" y1="54" y2="{height - 8}"/>'
            f'<rect class="box" x="{x - _HALF}" y="10" width="{2 * _HALF}" height="44" rx="8"/>'
            f'<text class="name" {middle} x="{x}" y="29">{_fit(participant.name, 20)}</text>'
            f'<text class="faint" {middle} x="{x}" y="46">{_fit(participant.detail, 26)}</text></g>'
        )
    return "".join(parts)


def _fit(text: str, length: int) -> str:
    return escape(text if len(text) <= length else f"{text[: length - 1]}…")


def _rung(arrow: Arrow, lines: list[int], top: int, width: int, since: float, step: float) -> str:
    y = top + 24
    later = (
        f'<text class="faint" text-anchor="end" x="{_TIMES}" y="{y + 4}">{span(step)}</text>' if step else ""
    )
    return (
        f'<g class="rung {arrow.kind}"><title>{escape(_hover(arrow))}</title>'
        f'<rect class="hit" x="0" y="{top}" width="{width}" height="{_ROW}"/>'
        f'<text class="faint" x="8" y="{y + 4}">{since:.3f} s</text>{later}'
        f"{_shaft(arrow, lines[arrow.source], lines[arrow.target], y)}</g>"
    )


def _shaft(arrow: Arrow, source: int, target: int, y: int) -> str:
    if source == target:
        label = escape(label_of(arrow, 24))
        return (
            f'<path d="M{source} {y - 8} h22 v12 h-14"/>'
            f'<polygon points="{source},{y + 4} {source + 9},{y} {source + 9},{y + 8}"/>'
            f'<text class="label" x="{source + 30}" y="{y}">{label}</text>'
        )
    way = 1 if target > source else -1
    label = label_of(arrow, int((abs(target - source) - 20) / _SIGN))
    middle = (source + target) / 2
    return (
        f'<line x1="{source}" x2="{target - 8 * way}" y1="{y}" y2="{y}"/>'
        f'<polygon points="{target},{y} {target - 10 * way},{y - 4} {target - 10 * way},{y + 4}"/>'
        f'<text class="label" text-anchor="middle" x="{middle:g}" y="{y - 6}">{escape(label)}</text>'
    )


def _mark(arrow: Arrow, x: int, top: int, width: int) -> str:
    length = min(len(arrow.mark), int((width - 40) / _SIGN))
    text = _fit(arrow.mark, length)
    box = length * _SIGN + 24
    left = min(max(8.0, x - box / 2), width - box - 8)
    return (
        f'<g class="mark"><title>{escape(arrow.mark)}</title>'
        f'<rect x="{left:g}" y="{top + 6}" width="{box:g}" height="23" rx="11"/>'
        f'<text text-anchor="middle" x="{left + box / 2:g}" y="{top + 22}">{text}</text></g>'
    )


def _hover(arrow: Arrow) -> str:
    if arrow.times == 1:
        return arrow.text
    return f"sent {arrow.times} times in {arrow.last_at - arrow.at:.3f} s\n\n{arrow.text}"
