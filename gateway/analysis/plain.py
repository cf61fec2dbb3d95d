"""A report as plain values, for JSON, and a case's call as a ladder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gateway.analysis.captures import file_of
from gateway.analysis.model import Event, Mark
from gateway.analysis.report import Example, Finding, Report
from gateway.captures.pcap import Notes
from gateway.ladder import Ladder, build
from gateway.wire import WireMessage


def as_dict(
    report: Report, files: Sequence[str], notes: Sequence[Notes], said: Iterable[str]
) -> dict[str, Any]:
    """Return a report with what was met in its files; `said` are sentences about the files."""
    return {
        "files": [
            {"file": file, "packets": note.packets, "cut_off": bool(note.broken)}
            for file, note in zip(files, notes, strict=True)
        ],
        "notes": list(said),
        "messages": report.messages,
        "malformed": report.malformed,
        "legs": report.calls,
        "begin": report.begin,
        "end": report.end,
        "omitted": report.omitted,
        "findings": [_finding(finding, files) for finding in report.findings],
    }


def _finding(finding: Finding, files: Sequence[str]) -> dict[str, Any]:
    kind = finding.kind
    return {
        "finding": kind.name,
        "title": kind.title,
        "subject": finding.subject,
        "count": finding.count,
        "sure": finding.sure.value,
        "meaning": kind.meaning,
        "remedy": kind.remedy,
        "rule": finding.rule,
        "examples": [
            {
                "text": example.text,
                "sure": example.sure.value,
                "calls": example.call_ids,
                "evidence": [_mark(mark, files) for mark in example.evidence],
            }
            for example in finding.examples
        ],
    }


def _mark(mark: Mark, files: Sequence[str]) -> dict[str, Any]:
    return {
        "file": files[file_of(mark.point)],
        "packet": mark.number,
        "at": mark.at,
        "from": mark.source,
        "to": mark.destination,
        "what": mark.text,
    }


def ladder_of(example: Example) -> Ladder:
    """Return the ladder of an example's call, with the evidence marked in it. It may be empty."""
    ladder = build(map(_on_the_wire, example.events))
    noted = {mark.at: mark.note for mark in example.evidence}
    for arrow in ladder.arrows:
        arrow.mark = noted.get(arrow.at, "")
    return ladder


def _on_the_wire(event: Event) -> WireMessage:
    caught = event.caught
    return WireMessage(caught.at, caught.transport.lower(), caught.source, caught.destination, caught.payload)
