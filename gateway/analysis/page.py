"""A report as one HTML page, complete in itself: findings, evidence, remedies, ladders of the examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gateway.analysis.captures import file_of
from gateway.analysis.model import Mark
from gateway.analysis.plain import ladder_of
from gateway.analysis.report import Example, Finding, Report
from gateway.ladder.model import shown, shown_time
from gateway.ladder.svg import STYLE, svg

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 0.3rem; } .subject { opacity: 0.7; }
.sure { border: 1px solid #8888; border-radius: 1rem; font-size: 0.8rem; padding: 0.05rem 0.6rem; }
.certain { background: #b91c1c22; } .likely { background: #d9770622; } .possible { background: #64748b22; }
pre { background: #8881; border-radius: 6px; overflow-x: auto; padding: 0.6rem; font-size: 12.5px; }
details { border: 1px solid #8884; border-radius: 8px; margin: 0.5rem 0; padding: 0.4rem 0.8rem; }
summary { cursor: pointer; } .picture { overflow-x: auto; } .picture svg { display: block; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
td, th { padding: 0.1rem 0.9rem 0.1rem 0; text-align: left; } th { opacity: 0.6; font-weight: normal; }
nav li { margin: 0.1rem 0; } .count { opacity: 0.7; }
"""


def page(report: Report, files: Sequence[str], said: Iterable[str]) -> str:
    """Return the page; `said` are sentences about the files."""
    findings = report.findings
    title = f"Analysis of {', '.join(files)}"
    contents = "".join(
        f'<li><a href="#f{place}">{_safe(each.kind.title)}</a>: {_safe(each.subject)}'
        f' <span class="count">× {each.count:,}</span></li>'
        for place, each in enumerate(findings)
    )
    notes = "".join(f"<li>{_safe(sentence)}</li>" for sentence in said)
    sections = "".join(_section(each, place, files) for place, each in enumerate(findings))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{_STYLE}{STYLE}</style></head><body>"
        f"<h1>{_safe(title)}</h1><p>{_safe(summary(report))}</p><ul>{notes}</ul>"
        f"<nav><ul>{contents}</ul></nav>{sections}</body></html>\n"
    )


def summary(report: Report) -> str:
    """Say in one sentence what was read and how much was found."""
    findings = report.findings
    span = f"{clock(report.begin)} to {clock(report.end)} UTC" if report.messages else "no SIP in it"
    kinds = len({finding.kind.name for finding in findings})
    found = f"{_many(len(findings), 'finding')} of {_many(kinds, 'kind')}" if findings else "nothing found"
    return f"{_many(report.messages, 'SIP message')}, {_many(report.calls, 'leg')} of calls, {span}: {found}"


def _many(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def _safe(text: str) -> str:
    """Return text from the network as a page may hold it: neither markup nor control characters."""
    return escape(shown(text.encode()))


def clock(at: float) -> str:
    """Write a time of the capture, in UTC and to the millisecond."""
    return shown_time(at, "%Y-%m-%d %H:%M:%S.%f")[:-3]


def where(mark: Mark, files: Sequence[str]) -> str:
    """Say where a packet is to be found."""
    return f"#{mark.number}" if len(files) == 1 else f"{files[file_of(mark.point)]} #{mark.number}"


def _section(finding: Finding, place: int, files: Sequence[str]) -> str:
    kind, sure = finding.kind, finding.sure.value
    rule = f"<p>Rule to add:</p><pre>{_safe(finding.rule)}</pre>" if finding.rule else ""
    times = "once" if finding.count == 1 else f"{finding.count:,} times"
    examples = "".join(_example(example, files) for example in finding.examples)
    return (
        f'<section id="f{place}"><h2>{_safe(kind.title)} <span class="sure {sure}">{sure}</span></h2>'
        f'<p class="subject">{_safe(finding.subject)}, {times} <code>{kind.name}</code></p>'
        f"<p>{_safe(kind.meaning)}</p><p><b>Remedy:</b> {_safe(kind.remedy)}</p>{rule}{examples}</section>"
    )


def _example(example: Example, files: Sequence[str]) -> str:
    rows = "".join(
        f"<tr><td>{_safe(where(mark, files))}</td><td>{clock(mark.at)}</td><td>{_safe(mark.source)}</td>"
        f"<td>{_safe(mark.destination)}</td><td>{_safe(mark.text)}</td></tr>"
        for mark in example.evidence
    )
    heads = "".join(f"<th>{head}</th>" for head in ("packet", "time", "from", "to", "message"))
    calls = f"<p>Call-ID: {_safe(', '.join(example.call_ids))}</p>" if example.call_ids else ""
    picture = svg(ladder_of(example), style=False) if example.events else ""
    return (
        f"<details><summary>{_safe(example.text)}</summary><table><tr>{heads}</tr>{rows}</table>{calls}"
        f'<div class="picture">{picture}</div></details>'
    )
