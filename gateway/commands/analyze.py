"""`gateway analyze`: what went wrong in the calls of a capture, with evidence and remedies."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Annotated, BinaryIO, cast

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from gateway.analysis import captures
from gateway.analysis.page import clock, page, summary, where
from gateway.analysis.plain import as_dict, ladder_of
from gateway.analysis.report import Example, Report
from gateway.captures.pcap import CaptureError, Notes
from gateway.ladder.text import render
from gateway.os_errors import in_words

from .output import FAILED, JsonOption, cell, columns, complain, console, print_json

CLEAN, FOUND = 0, 1
"""Exit codes."""

_SHOWN = 3  # examples of a finding in the text; JSON and page have all that are kept
_LADDER_WIDTH = 120  # columns, where there is no terminal
_CHUNK = 1 << 20  # bytes read at once
_STYLES = {"certain": "bold red", "likely": "yellow", "possible": "cyan"}


def analyze(
    trace: Annotated[Path, Parameter(help="The capture.")],
    /,
    *more: Annotated[Path, Parameter(help="Others that belong to it.")],
    html: Annotated[
        Path | None, Parameter(name="--html", help="Write a page with ladders to this file, too.")
    ] = None,
    ladders: Annotated[
        bool,
        Parameter(name="--ladders", show_default=False, negative="", help="Draw the call of each example."),
    ] = False,
    json: JsonOption = False,
) -> int:
    """Find what went wrong in the calls of a capture (pcap or pcapng), or of several that belong together.

    Exits with 0 when nothing is found, with 1 when something is, with 2 when a file cannot be read.
    """
    paths = (trace, *more)
    notes = [Notes() for _ in paths]
    report = Report()
    try:
        with _opener(paths) as open_, _without_collector():
            report.read(captures.read(paths, notes, open_))
        files = [str(path) for path in paths]
        said = [
            each for path, note in zip(paths, notes, strict=True) for each in captures.sentences(path, note)
        ]
        if html is not None:
            html.write_text(page(report, files, said), encoding="utf-8")
    except CaptureError as error:
        complain(error)
        return FAILED
    except OSError as error:
        complain(f"{html}: cannot be written: {in_words(error)}")
        return FAILED
    if json:
        print_json(as_dict(report, files, notes, said))
    else:
        complain(*said)
        _print(report, files, ladders)
    return FOUND if report.findings else CLEAN


@contextmanager
def _opener(paths: tuple[Path, ...]) -> Iterator[captures.Open]:
    """Give a function that opens captures, with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda path: path.open("rb", buffering=_CHUNK)
        return
    bar = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*bar, console=Console(stderr=True), transient=True) as progress:
        total = sum(path.stat().st_size for path in paths if path.is_file())
        task = progress.add_task("", total=total)

        def open_(path: Path) -> BinaryIO:
            # The bar looks at each read, so these are made large.
            file = progress.open(path, "rb", buffering=0, total=total, task_id=task)
            return cast("BinaryIO", BufferedReader(cast("BufferedReader", file), _CHUNK))

        yield open_


@contextmanager
def _without_collector() -> Iterator[None]:
    """Leave the garbage collector off: calls are taken apart when they are judged, and it looks at all others
    again and again, which costs a fifth of the time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- for people ------------------------------------------------------------------------------------


def _print(report: Report, files: list[str], ladders: bool) -> None:
    """Print the findings, those of one kind together."""
    out = console()
    for kind, findings in groupby(report.findings, lambda finding: finding.kind):
        out.print(cell(f"{kind.title} [{kind.name}]", style="bold"))
        out.print(cell(f"  {kind.meaning}"))
        rules: dict[str, None] = {}
        for finding in findings:
            times = "once" if finding.count == 1 else f"{finding.count:,} times"
            sure = finding.sure.value
            head = cell(f"  {finding.subject}: {times}, ")
            out.print(Text.assemble(head, (sure, _STYLES[sure])))
            for example in finding.examples[:_SHOWN]:
                _print_example(out, example, files)
                if ladders and example.events:
                    width = out.width if out.is_terminal else _LADDER_WIDTH
                    out.print(render(ladder_of(example), width), no_wrap=True, crop=False)
            rules[finding.rule] = None
        out.print(cell(f"  Remedy: {kind.remedy}"))
        for rule in filter(None, rules):
            out.print(cell("  Rule to add to rules.toml:"))
            for line in rule.splitlines():
                out.print(cell(f"    {line}"))
        out.print()
    if report.omitted:
        out.print(cell(f"{report.omitted:,} more cases of further findings are left out"))
    out.print(cell(summary(report)))


def _print_example(out: Console, example: Example, files: list[str]) -> None:
    out.print(cell(f"  - {example.text}"))
    table = columns("   packet", "time (UTC)", "from", "to", "message")
    for mark in example.evidence:
        parts = f"   {where(mark, files)}", clock(mark.at), mark.source, mark.destination, mark.text
        table.add_row(*(cell(part) for part in parts))
    out.print(table)
    if example.call_ids:
        out.print(cell(f"    Call-ID {', '.join(example.call_ids)}"))
