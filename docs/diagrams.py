"""Draws the state tables of the code into ``states.md``, beside this file: ``python docs/diagrams.py``.

A state machine is a class of the package ``gateway`` with a ``TABLE`` and ``STEPS`` compiled from it. Each
is found by itself, and the first paragraph of its docstring says what it is about. The tables are the code:
what runs is what is drawn. Only the remark beside each row is not there at run time; it is read from the
source, and a row that cannot be found there stops the script rather than go undrawn.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import gateway

PAGE = Path(__file__).with_name("states.md")

_ROW = re.compile(
    r"^    \(\w+\.(\w+), \w+\.(\w+)\): \(\s*\w+\.(\w+),\s*[\w.]+,?\s*\),(?:  # (.*))?$",
    re.MULTILINE,
)
_WORD = re.compile(r"[A-Z][a-z0-9]*")

_HEAD = """# State machines

Every state machine of the gateway is a literal table in the code: `(state, input): (next state, action)`.
What is not in its table cannot happen; should it happen, that is a bug of the gateway's, and it is loud.

This page is drawn from those tables by `python docs/diagrams.py`. Do not edit it; a test compares it with the
code. A number in the last column is a section of RFC 3261 unless another RFC is named.
"""


# What the transactions are called in RFC 3261, which their class names cannot say.
_ABOUT = {
    "InviteClient": (
        "INVITE client transaction",
        "An INVITE of ours, until its last response can no longer come. RFC 3261 figure 5, as"
        " RFC 6026 8.4 replaces it.",
    ),
    "NonInviteClient": (
        "Non-INVITE client transaction",
        "Any other request of ours but ACK. RFC 3261 figure 6.",
    ),
    "InviteServer": (
        "INVITE server transaction",
        "An INVITE that came to us. RFC 3261 figure 7, as RFC 6026 8.7 replaces it; beyond that it also"
        " repeats a 2xx until its ACK has come (13.3.1.4).",
    ),
    "NonInviteServer": (
        "Non-INVITE server transaction",
        "Any other request that came to us but ACK. RFC 3261 figure 8, with RFC 4320: the clock sends the one"
        " provisional response that there is, and who has given up gets no final one.",
    ),
    "Call": (
        "Call",
        "One call of two legs, driven by what the legs say to it and by what it decides itself.",
    ),
}


@dataclass(frozen=True)
class Machine:
    """One table: where it is, what it is for, and where it begins and ends."""

    title: str
    about: str
    kind: Any  # a class with TABLE, and for a transaction REPEAT and DEADLINE
    first: IntEnum
    last: IntEnum


def find_tables() -> list[Any]:
    """Return every class that has a state table: the transactions, the call, then all others."""
    found = set()
    for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
        if module.name != "gateway.__main__":
            for item in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(item) and {"TABLE", "STEPS"} <= vars(item).keys():
                    found.add(item)
    order = list(_ABOUT)
    return sorted(
        found,
        key=lambda kind: (
            order.index(kind.__name__) if kind.__name__ in order else len(order),
            kind.__module__,
            kind.__name__,
        ),
    )


def _machine(kind: Any) -> Machine:
    """Say what a table is about: in the RFC's words, or else in those of its class."""
    doc = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    title = " ".join(_WORD.findall(kind.__name__)).capitalize()
    title, about = _ABOUT.get(kind.__name__, (title, " ".join(doc.split()).replace("``", "`")))
    state = next(iter(kind.TABLE))[0]
    return Machine(title, about, kind, getattr(kind, "FIRST", state), max(type(state)))


def render() -> str:
    """Return the page. Raises ValueError when source and table do not tell the same."""
    return "\n".join([_HEAD, *[_draw(_machine(kind)) for kind in find_tables()]])


def _draw(machine: Machine) -> str:
    table: Mapping[Any, tuple[Any, Callable[..., Any] | None]] = machine.kind.TABLE
    remarks = _remarks(machine)
    arrows: dict[tuple[str, str], list[str]] = {}
    rows = []
    for (state, given), (following, action) in table.items():
        arrows.setdefault((state.name, following.name), []).append(given.name)
        does = "" if action is None else action.__name__.strip("_").replace("_", " ")
        remark = remarks[state.name, given.name]
        rows.append(f"| {state.name} | {given.name} | {following.name} | {does} | {remark} |")
    lines = [f"    [*] --> {machine.first.name}"]
    lines += [
        f"    {state} --> {following}: {', '.join(names)}" for (state, following), names in arrows.items()
    ]
    lines.append(f"    {machine.last.name} --> [*]")
    source = _source(machine.kind).relative_to(PAGE.parent.parent)
    parts = [
        f"## {machine.title}",
        f"{machine.about} [`{source}`](../{source})",
        "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```",
        *_clocks(machine),
        "\n".join(["| state | input | next state | action | why |", "|---|---|---|---|---|", *rows]),
    ]
    return "\n\n".join(parts) + "\n"


def _remarks(machine: Machine) -> dict[tuple[str, str], str]:
    """Read the remark beside each row of the source."""
    found = {}
    for state, given, following, remark in _ROW.findall(_source(machine.kind).read_text(encoding="utf-8")):
        found[state, given] = remark
        there = next(
            (row for cell, row in machine.kind.TABLE.items() if _names(cell) == (state, given)), None
        )
        if there is None or there[0].name != following:
            raise ValueError(
                f"{machine.title}: the source has a row for {given} in {state} that the table has not"
            )
    for cell in machine.kind.TABLE:
        if _names(cell) not in found:
            raise ValueError(
                f"{machine.title}: no row for {cell[1].name} in {cell[0].name} was found in the source"
            )
    return found


def _source(kind: type) -> Path:
    """Return the file that has the table, also where the class was compiled."""
    return PAGE.parent.parent / f"{kind.__module__.replace('.', '/')}.py"


def _names(cell: tuple[IntEnum, IntEnum]) -> tuple[str, str]:
    return cell[0].name, cell[1].name


def _clocks(machine: Machine) -> list[str]:
    """Say what the two clocks of a transaction are called in each state."""
    deadline = getattr(machine.kind, "DEADLINE", None)
    if deadline is None:
        return []
    ends = ", ".join(f"{timer.name} in {state.name}" for state, timer in deadline.items())
    return [f"The clock that ends a state is {ends}."]


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
