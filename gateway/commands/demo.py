"""`gateway demo`: a handful of real calls through a real gateway on this machine, each one checked.

A simulated PBX and two simulated carriers talk to `gateway run` over loopback UDP, on ports that are free;
nothing is left running or lying about. One row a call: what the far end said, what the caller got for it,
which rule or guard decided, and why, in the gateway's own words.
"""

from __future__ import annotations

import signal
from dataclasses import asdict
from itertools import chain
from typing import Any

import trio
from rich.text import Text

from gateway.demo.gateway_process import GatewayProcessError
from gateway.demo.play import Row, play
from gateway.demo.scenes import Says
from gateway.sip.headers import parse_reasons

from .output import CLEAN, FAILED, JsonOption, cell, columns, complain, console, print_json

_WRONG = 1
_INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
_ONE_LINE = 220  # columns from which a call fits on one line


def demo(*, json: JsonOption = False) -> int:
    """Play calls between a simulated PBX and simulated carriers through the gateway, and check each.

    Exits with 0 only when every call came out as it should, with 1 when one did not, with 2 when the gateway
    could not be started.
    """
    try:
        rows = trio.run(_play_unless_stopped)
    except GatewayProcessError as error:
        complain(error)
        return FAILED
    if rows is None:
        return _INTERRUPTED
    if json:
        print_json(list(map(_as_dict, rows)))
    else:
        _print_table(rows)
    return _WRONG if any(row.wrong for row in rows) else CLEAN


async def _play_unless_stopped() -> list[Row] | None:
    """Play the calls; None when a signal stopped us, and the gateway with us. Raises GatewayProcessError."""
    rows = failure = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:

            async def heed_signals() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(heed_signals)
            try:
                rows = await play()
            except GatewayProcessError as error:
                failure = error  # raised below: a nursery would wrap it in a group
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return rows


def _print_table(rows: list[Row]) -> None:
    out = console()
    between, colon = (" ", ": ") if out.width >= _ONE_LINE else ("\n", "\n")
    table = columns("", "call", "far end said", "caller got", "decided by, and why")
    for column in table.columns[:4]:
        column.no_wrap = True
    for row in rows:
        says, gets = row.scene.says, row.scene.gets
        table.add_row(
            cell("WRONG", style="bold red") if row.wrong else cell("ok", style="green"),
            cell(row.scene.title, f"{gets.who} → {' → '.join(one.who for one in says)}", between=between),
            cell(*chain.from_iterable(map(_shown, row.said)), between=between),
            cell(*(_shown(row.got) if row.got else "-"), between=between, style=_style(row)),
            Text.assemble(cell(row.decided_by or "no rule", style="cyan"), colon, cell(row.why)),
        )
    out.print(table)
    wrong = [row for row in rows if row.wrong]
    verdict = f"{len(wrong)} of them wrong" if wrong else "each as it should be"
    print(f"{len(rows)} calls, {verdict}", flush=True)
    for row in wrong:
        complain(f"{row.scene.title}: {'; '.join(row.wrong)}")


def _style(row: Row) -> str:
    """Make it stand out when the caller got another status or phrase than the far end said last."""
    if row.got is None or not row.said:
        return ""
    same = (row.got.status, row.got.phrase) == (row.said[-1].status, row.said[-1].phrase)
    return "" if same else "bold yellow"


def _shown(says: Says) -> list[str]:
    """Return a response as a person reads it: "603 Decline", and its causes, "Q.850 1, SIP 603"."""
    values = [line.partition(":")[2].encode() for line in says.headers if line.startswith("Reason:")]
    causes = ", ".join(f"{reason.protocol.decode()} {reason.cause}" for reason in parse_reasons(values))
    return [f"{says.status} {says.phrase}"] + ([f"({causes})"] if causes else [])


def _as_dict(row: Row) -> dict[str, Any]:
    return {
        "call": row.scene.title,
        "said": [_response(says) for says in row.said],
        "got": None if row.got is None else _response(row.got),
        "decided_by": row.decided_by,
        "why": row.why,
        "ok": not row.wrong,
        "wrong": row.wrong,
    }


def _response(says: Says) -> dict[str, Any]:
    shown = asdict(says)
    del shown["rings"]
    return shown
