"""The hot path without sockets: what a message costs, in microseconds of CPU, here and with sipmessage.

Jobs are measured in turns, several short rounds each, and the best round of each counts: what is asked for is
what the code costs, not what else the machine was doing. CPU is the process clock, with the garbage collector
running as it does in service.

A 603 is rewritten in three ways. "As text": status line and Reason are replaced, nothing else is looked at.
"As a leg needs it": Via, CSeq, Call-ID and the tags, by which transaction and dialog are found, are read too;
to sipmessage, a library of typed messages, they are values that are read and put back. "By rule": the shipped
rules decide what is written; there is nothing to compare that with.

The engine's jobs are whole calls, bytes in to bytes out: every transaction, dialog and timer, the rules and
the record, but no socket and no database (bench/engine.py).

    python bench/hotpath.py                  a table, and bench/results/hotpath.json
    python bench/hotpath.py --json FILE      the result elsewhere
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import sipmessage
from engine import FLOWS, Engine

from gateway.rules import Facts, RuleSet, compile_rules, emit, shipped_rules
from gateway.sip.message import Request, Response, parse
from gateway.sip.rows import Row
from gateway.toml_source import TomlSource

RESULT = Path(__file__).parent / "results" / "hotpath.json"
ROUNDS = 7
ROUND_SECONDS = 0.02
RULE_COUNTS = (1, 10, 100, 1_000, 10_000)

SDP = (
    b"v=0\r\no=- 3883943500 1 IN IP4 192.0.2.1\r\ns=call\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\n"
)
INVITE = (
    b"INVITE sip:+12025550123@192.0.2.10:5060;user=phone SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-524287-1---6a1b2c3d4e5f6789;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"Contact: <sip:alice@192.0.2.1:5060;transport=udp>\r\n"
    b"To: <sip:+12025550123@192.0.2.10>\r\n"
    b'From: "Alice Example" <sip:+12025550199@192.0.2.1>;tag=8f7e6d5c\r\n'
    b"Call-ID: 84e6b1f5a3c24f0a9d1f7c2b@192.0.2.1\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Supported: replaces, 100rel, timer\r\n"
    b"User-Agent: Example PBX 18.4\r\n"
    b"P-Asserted-Identity: <sip:+12025550199@192.0.2.1>\r\n"
    b"Content-Length: %d\r\n"
    b"\r\n"
    b"%b"
) % (len(SDP), SDP)
DECLINE = (
    b"SIP/2.0 603 Decline\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK6a1b2c3d4e5f6789;rport=5060;received=192.0.2.10\r\n"
    b"From: <sip:+12025550199@192.0.2.10>;tag=1c2d3e4f\r\n"
    b"To: <sip:+12025550123@192.0.2.20>;tag=5a6b7c8d\r\n"
    b"Call-ID: b1f5a3c2-4f0a-9d1f-7c2b-84e6b1f5a3c2@192.0.2.10\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Server: Example Carrier 4.2\r\n"
    b'Reason: Q.850;cause=1;text="Unallocated number"\r\n'
    b"Content-Length: 0\r\n"
    b"\r\n"
)


@dataclass(slots=True, frozen=True, eq=False)
class Trunk:
    """What rules see of a trunk."""

    name: str
    kind: str
    trusted: bool = False
    supports: frozenset[int] = frozenset()
    rewrite_network_blocked: bool = False
    q850: dict[int, int] = field(default_factory=dict)


CARRIER, PBX = Trunk("carrier", "carrier"), Trunk("pbx", "pbx")


@dataclass(slots=True)
class Job:
    """One thing to measure; ``rival`` is the same thing done with sipmessage."""

    name: str
    run: Callable[[], object]
    rival: Callable[[], object] | None = None
    best: float = float("inf")
    rival_best: float = float("inf")


def microseconds(run: Callable[[], object]) -> float:
    """Play one round of at least ROUND_SECONDS and return the CPU microseconds of one run."""
    runs, used, batch = 0, 0.0, 1
    while used < ROUND_SECONDS:
        start = time.process_time()
        for _ in range(batch):
            run()
        used += time.process_time() - start
        runs += batch
        batch *= 2
    return used / runs * 1e6


def measure(jobs: Iterable[Job]) -> None:
    """Measure jobs and rivals in turns."""
    jobs = list(jobs)
    for _ in range(ROUNDS):
        for job in jobs:
            job.best = min(job.best, microseconds(job.run))
            if job.rival is not None:
                job.rival_best = min(job.rival_best, microseconds(job.rival))


# -- The message layer -----------------------------------------------------------------------------------


def facts_of(response: Response, request: Request) -> Facts:
    """What the gateway knows of a carrier's answer to the INVITE."""
    return Facts(response, request, CARRIER, PBX, b"INVITE", "+12025550123", "+12025550199", after=0.3)


def check_invite() -> object:
    """Parse an INVITE and make sure that a transaction and a dialog can be built on it."""
    message = parse(INVITE)
    assert isinstance(message, Request)
    return message.check()


def check_invite_with_sipmessage() -> object:
    """Parse an INVITE and read the same headers."""
    message = sipmessage.Message.parse(INVITE)
    return (message.via, message.cseq, message.call_id, message.max_forwards, message.from_address,
            message.to_address, message.contact)  # fmt: skip


REASONS = (b'Q.850;cause=1;text="Unallocated number"', b'SIP;cause=603;text="Decline"')


def response_bytes(status: int, phrase: bytes, rows: Iterable[Row], body: bytes) -> bytes:
    """Write a response."""
    lines = b"\r\n".join([line for _, line in rows])
    return b"SIP/2.0 %d %b\r\n%b\r\n\r\n%b" % (status, phrase, lines, body)


def write_404(response: Response) -> bytes:
    """Write what the rules decide on, without asking them."""
    rows = [row for row in response.rows if row[0] != b"Reason"]
    rows += [(b"Reason", b"Reason: " + value) for value in REASONS]
    return response_bytes(404, b"Not Found", rows, response.body)


def rewrite_text() -> bytes:
    """Parse a 603, replace status line and Reason, write it."""
    response = parse(DECLINE)
    assert isinstance(response, Response)
    return write_404(response)


def read_for_leg() -> Response:
    """Parse a 603 and read what its transaction and its dialog are found by."""
    response = parse(DECLINE)
    assert isinstance(response, Response)
    _ = response.via, response.cseq, response.call_id, response.from_tag, response.to_tag
    return response


def rewrite_for_leg() -> bytes:
    """The same and replace status line and Reason, write it."""
    return write_404(read_for_leg())


def say_404(message: sipmessage.Response) -> bytes:
    """Write what the rules decide on."""
    message.code = 404
    message.phrase = "Not Found"
    message.headers.setlist("Reason", [value.decode() for value in REASONS])
    return bytes(message)


def rewrite_text_with_sipmessage() -> bytes:
    """Parse a 603, replace status line and Reason, write it."""
    message = sipmessage.Message.parse(DECLINE)
    assert isinstance(message, sipmessage.Response)
    return say_404(message)


def read_for_leg_with_sipmessage() -> object:
    """Parse a 603 and read what its transaction and its dialog are found by."""
    message = sipmessage.Message.parse(DECLINE)
    return message.via, message.cseq, message.call_id, message.from_address, message.to_address


def rewrite_for_leg_with_sipmessage() -> bytes:
    """The same, put the typed values back, replace status line and Reason, write it."""
    message = sipmessage.Message.parse(DECLINE)
    assert isinstance(message, sipmessage.Response)
    via, cseq, call_id = message.via, message.cseq, message.call_id
    sender, receiver = message.from_address, message.to_address
    message.via, message.cseq, message.call_id = via, cseq, call_id
    message.from_address, message.to_address = sender, receiver
    return say_404(message)


def rewriter_by_rule(rules: RuleSet) -> Callable[[], bytes]:
    """Parse a 603, read what a leg needs, let the rules decide, write what leaves."""
    request = parse(INVITE)
    assert isinstance(request, Request)

    def rewrite() -> bytes:
        response = read_for_leg()
        facts = facts_of(response, request)
        decision = rules.decide(facts)
        return response_bytes(decision.status, decision.phrase, emit(decision, facts), response.body)

    return rewrite


def message_jobs() -> list[Job]:
    """The jobs of the message layer and the rules, after making sure that they do what they say."""
    rewrite_by_rule = rewriter_by_rule(compile_rules(shipped_rules(), None))
    rewriters = (
        rewrite_text,
        rewrite_for_leg,
        rewrite_by_rule,
        rewrite_text_with_sipmessage,
        rewrite_for_leg_with_sipmessage,
    )
    for rewrite in rewriters:
        message = parse(rewrite())
        assert isinstance(message, Response)
        assert (message.status, message.phrase) == (404, b"Not Found"), message.status
        assert tuple(message.values(b"Reason")) == REASONS, message.values(b"Reason")
    return [
        Job("parse an INVITE", lambda: parse(INVITE), lambda: sipmessage.Message.parse(INVITE)),
        Job("parse and check an INVITE", check_invite, check_invite_with_sipmessage),
        Job("parse a 603", lambda: parse(DECLINE), lambda: sipmessage.Message.parse(DECLINE)),
        Job("parse a 603 as a leg needs it", read_for_leg, read_for_leg_with_sipmessage),
        Job("rewrite a 603 as text", rewrite_text, rewrite_text_with_sipmessage),
        Job("rewrite a 603 as a leg needs it", rewrite_for_leg, rewrite_for_leg_with_sipmessage),
        Job("rewrite a 603 by rule", rewrite_by_rule),
    ]


# -- The number of rules -----------------------------------------------------------------------------------


def rules_about_other_statuses(count: int) -> RuleSet:
    """Rules that can never match a 603."""
    text = "version = 1\n" + "".join(
        f'[[rule]]\nname = "rule-{number}"\nwhen.status = {(480, 486, 500, 503)[number % 4]}\n'
        f"when.q850 = {number % 100 + 1}\nthen.status = 404\n"
        for number in range(count)
    )
    return compile_rules(TomlSource.parse(text, "rules.toml"), None)


def rule_jobs() -> list[Job]:
    """Deciding on a 603 with more and more rules that cannot match it."""
    response, request = parse(DECLINE), parse(INVITE)
    assert isinstance(response, Response)
    assert isinstance(request, Request)
    facts = facts_of(response, request)

    def decider(rules: RuleSet) -> Callable[[], object]:
        return lambda: rules.decide(facts)

    return [Job(f"{count:,}", decider(rules_about_other_statuses(count))) for count in RULE_COUNTS]


# -- Whole calls -------------------------------------------------------------------------------------------

CALLS_A_TICK = 20


def engine_jobs() -> list[Job]:
    """One call of each flow through an engine of its own, with the ticker that frees what has lingered."""

    def caller(flow: Callable[[Engine], int]) -> Callable[[], object]:
        engine = Engine()
        count = 0

        def call() -> None:
            nonlocal count
            flow(engine)
            count += 1
            if count % CALLS_A_TICK == 0:
                engine.pass_time(CALLS_A_TICK / 2000)

        return call

    return [Job(f"{name} call", caller(flow)) for name, flow in FLOWS.items()]


# -- The report --------------------------------------------------------------------------------------------


def row(job: Job) -> dict[str, object]:
    """One job's figures as they go into the JSON file."""
    figures: dict[str, object] = {
        "job": job.name,
        "microseconds": round(job.best, 3),
        "per_second": round(1e6 / job.best),
    }
    if job.rival is not None:
        figures["sipmessage_microseconds"] = round(job.rival_best, 3)
        figures["ratio"] = round(job.rival_best / job.best, 2)
    return figures


def table(title: str, jobs: list[Job]) -> None:
    """Print jobs as a table."""
    print(f"\n{title:<38}{'us':>9}{'a second':>12}", end="")
    rivals = any(job.rival is not None for job in jobs)
    print(f"{'sipmessage us':>15}{'ratio':>8}" if rivals else "")
    for job in jobs:
        print(f"{job.name:<38}{job.best:>9.2f}{1e6 / job.best:>12,.0f}", end="")
        print(f"{job.rival_best:>15.2f}{job.rival_best / job.best:>7.1f}x" if job.rival is not None else "")


def main() -> int:
    """Measure, print, write the JSON file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, default=RESULT, help="where to write the result [%(default)s]")
    options = parser.parse_args()
    messages, rules, calls = message_jobs(), rule_jobs(), engine_jobs()
    measure([*messages, *rules, *calls])
    table("message", messages)
    table("deciding on a 603; rules about others", rules)
    table("whole engine, 100 rules, no sockets", calls)
    document = {
        "machine": {"cores": os.cpu_count() or 0, "python": platform.python_version()},
        "messages": [row(job) for job in messages],
        "rules": [row(job) for job in rules],
        "engine": [row(job) for job in calls],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
