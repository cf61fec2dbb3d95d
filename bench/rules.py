"""What a decision costs by the number of rules, what applying a rule file takes, what a number list holds.

Rules are spread over all statuses; besides its status each looks at one or two things, as real ones do: the
cause, the phrase, the time since the INVITE, the called number, the trunk, the hour, earlier calls. Every
response is made anew, as it is in a call, so that its headers have not been read. Far ends say three phrases
and 15 causes.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import threading
import time
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from gateway import garbage
from gateway.number_lists import load_numbers
from gateway.rules import Facts, RuleSet, compile_rules
from gateway.rules.history import History, Watch
from gateway.sip.message import Response, parse
from gateway.toml_source import TomlSource

RESULTS = Path(__file__).parent / "results"
SIZES = (10, 100, 1_000, 10_000)
LIMITS = {1_000: 3.0, 10_000: 6.0}  # microseconds a decision
APPLY_LIMIT = 1.0  # seconds of CPU for 10,000 rules
NOW = 1_800_000_000.0
SHARING = 10  # rules about one status, while there are statuses enough
WHEN = (
    "when.q850 = {cause}\n",
    "when.phrase = 'number {n} is (gone|void)'\n",
    'when.from = "kind:carrier"\nwhen.after = "<{ms}ms"\nwhen.called.prefix = "+{n}"\n',
    'when.to = "pbx-{n}"\nwhen.reason_text = "reason {n}"\n',
    'when.q850 = {cause}\nwhen.hours = "22:00-06:00"\n',
    'when.q850 = {cause}\nwhen.number.declined_before_ringing = ">={n} in 7d"\n',
)
STATUSES = [status for status in range(400, 700) if status not in (401, 407, 422, 423, 428, 436, 437, 438)
            and status not in (487, 491, 603, 608)]  # fmt: skip


@dataclass(frozen=True, eq=False)
class BenchTrunk:
    """What rules see of a trunk."""

    name: str
    kind: str
    supports: frozenset[int] = frozenset()
    trusted: bool = False
    rewrite_network_blocked: bool = False
    q850: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Finished:
    """What a history sees of a call: the number declined at once."""

    called: str
    ended_at: float
    caller: str = "+12155551212"
    callee_trunk: str = "carrier"
    ringing_at: float = 0.0
    answered_at: float = 0.0
    original_status: int = 603
    origin: str = "peer"
    attempts: int = 1


PBX, CARRIER = BenchTrunk("pbx", "pbx"), BenchTrunk("carrier", "carrier")


def rule_file(size: int) -> str:
    """Return a rule file of that many rules, of which at least ten speak of one status."""
    used = STATUSES[: max(1, min(len(STATUSES), size // SHARING))]
    text = ["version = 1\n"]
    for n in range(size):
        place = n // len(used)  # among the rules of its status
        when = WHEN[place % len(WHEN)].format(n=n, cause=1 + n % 127, ms=100 + n % 900)
        text.append(f'\n[[rule]]\nname = "rule-{n}"\ndescription = "The {n}th"\nwhen.status = ')
        text.append(f"{used[n % len(used)]}\n{when}then.status = 404\n")
    return "".join(text)


def responses(size: int) -> list[Response]:
    """Return the finals of carriers: statuses that rules speak of, every fourth with a cause."""
    used = STATUSES[: max(1, min(len(STATUSES), size // SHARING))]
    found = []
    for n in range(2_000):
        status, cause = used[n * 7 % len(used)], n % 60
        reason = b"" if n % 4 else b'Reason: Q.850;cause=%d;text="cause %d"\r\n' % (cause, cause)
        raw = (
            b"SIP/2.0 %d Not Now %d\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK%d\r\nServer: x\r\n"
            b"From: <sip:1@a>;tag=1\r\nTo: <sip:2@b>;tag=2\r\nCall-ID: %d\r\nCSeq: 1 INVITE\r\n"
            b"%bContent-Length: 0\r\n\r\n"
        ) % (status, n % 3, n, n, reason)
        message = parse(raw)
        assert isinstance(message, Response)
        found.append(message)
    return found


def decision_cost(ruleset: RuleSet, finals: list[Response], repeats: int) -> tuple[float, float]:
    """Return the CPU microseconds of a decision in the mean: on words heard before, and on new ones."""
    known, new = [], []
    history = History(ruleset.watches, NOW - 366 * 86400)
    for _ in range(5):
        history.record(Finished("+12155550100", NOW))
    for attempt in range(2 * repeats):
        facts = [
            Facts(final, None, CARRIER, PBX, b"INVITE", "+12155550100", "+12155551212", after=0.95,
                  now=NOW + n / 100, history=history)
            for n, final in enumerate(finals)
        ]  # fmt: skip
        decide = ruleset.decide if attempt % 2 else ruleset._decide
        begin = time.process_time()
        for each in facts:
            decide(each)
        (known if attempt % 2 else new).append((time.process_time() - begin) / len(facts) * 1e6)
    return min(known), min(new)


def applied(text: str) -> tuple[RuleSet, float, float]:
    """Compile a rule file in a thread; return it, its CPU seconds, and the longest wait of another thread."""
    made: list[Any] = []

    def work() -> None:
        begin = time.thread_time()
        made.append(compile_rules(TomlSource.parse(text, "rules.toml"), None))
        made.append(time.thread_time() - begin)

    thread = threading.Thread(target=work)
    thread.start()
    last, longest = time.perf_counter(), 0.0
    while thread.is_alive():
        time.sleep(0.0005)
        last, before = time.perf_counter(), last
        longest = max(longest, last - before)
    return made[0], made[1], longest


def number_list(directory: Path, count: int, ending: str) -> dict[str, float]:
    """Load a list of that many numbers, or prefixes, and ask it."""
    path = directory / f"numbers{len(ending)}.txt"
    path.write_text("".join(f"+1{2_000_000_000 + n * 7_919 % 7_999_999_993}{ending}\n" for n in range(count)))
    begin = time.process_time()
    numbers = load_numbers(path)
    seconds = time.process_time() - begin
    asked = [f"+1{2_000_000_000 + n * 104_729 % 7_999_999_993}" for n in range(100_000)]
    begin = time.process_time()
    for number in asked:
        number in numbers  # noqa: B015 (that is what is measured)
    held = sum(sys.getsizeof(getattr(numbers, name)) for name in ("_exact", "_starts", "_lengths"))
    return {
        "lines": count,
        "load_seconds": round(seconds, 2),
        "match_us": round((time.process_time() - begin) / len(asked) * 1e6, 2),
        "megabytes": round(held / 1e6, 1),
    }


def history_cost(keys: int, calls: int) -> dict[str, float]:
    """Count calls to that many numbers for one rule, and ask; return microseconds, and bytes a number."""
    watch = Watch("number", "declined_before_ringing", 30 * 86400.0)
    finished = [Finished(f"+1{2_000_000_000 + n * 7_919 % keys}", NOW + n / 10) for n in range(calls)]
    tracemalloc.start()
    history = History([watch], NOW - 366 * 86400)
    for call in finished[:keys]:
        history.record(call)
    held = tracemalloc.get_traced_memory()[0] / keys
    tracemalloc.stop()
    begin = time.process_time()
    for call in finished:
        history.record(call)
    counted = time.process_time()
    for call in finished:
        history.count(watch, call.called, NOW + calls / 10)
    asked = time.process_time()
    return {
        "numbers": keys,
        "update_us": round((counted - begin) / calls * 1e6, 2),
        "look_up_us": round((asked - counted) / calls * 1e6, 2),
        "bytes_a_number": round(held),
    }


def picture(costs: list[dict[str, Any]], path: Path) -> None:
    """Draw cost against rules."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        print("no picture: matplotlib is not installed (pip install '.[bench]')")
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    axes.plot([row["rules"] for row in costs], [row["decision_us"] for row in costs], "o-", label="measured")
    axes.plot(list(LIMITS), list(LIMITS.values()), "v", color="tab:red", label="must stay below")
    axes.set(xscale="log", xlabel="rules in the file", ylabel="µs a decision (CPU)", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> int:
    """Measure, print, write results; exit code 1 when a limit is passed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=15)
    arguments.add_argument("--lines", type=int, default=1_000_000, help="of the number lists")
    options = arguments.parse_args()
    garbage.tame()
    costs: list[dict[str, Any]] = []
    print("         about one     µs a   µs, words     apply,  others wait,")
    print("  rules     status decision  never heard    s CPU            ms")
    for size in SIZES:
        text = rule_file(size)
        runs = [applied(text) for _ in range(3)]
        ruleset = runs[0][0]
        row = {
            "rules": size,
            "about_one_status": median(len(found) for found in ruleset._by_status.values() if found),
            "apply_seconds": round(min(run[1] for run in runs), 3),
            "others_wait_ms": round(min(run[2] for run in runs) * 1e3, 1),
        }
        cost, new = decision_cost(ruleset, responses(size), options.repeats)
        row |= {"decision_us": round(cost, 2), "new_words_us": round(new, 2)}
        costs.append(row)
        print("{rules:>7,} {about_one_status:>10.0f} {decision_us:>8.2f} {new_words_us:>12.2f} "
              "{apply_seconds:>8.3f} {others_wait_ms:>13.1f}".format(**row), flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        lists = [number_list(Path(directory), options.lines, ending) for ending in ("", "*")]
    for what, row in zip(("numbers", "prefixes"), lists, strict=True):
        print(f"{row['lines']:,} {what}: {row['load_seconds']} s to load, {row['match_us']} µs to match, "
              f"{row['megabytes']} MB")  # fmt: skip
    history = history_cost(100_000, 400_000)
    print("history of {numbers:,} numbers: {update_us} µs to count a call, {look_up_us} µs to look up, "
          "{bytes_a_number} bytes a number".format(**history))  # fmt: skip
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "rules.json").write_text(
        json.dumps({"decisions": costs, "lists": lists, "history": history}, indent=1) + "\n"
    )
    picture(costs, RESULTS / "rules.svg")
    late = [row for row in costs if row["decision_us"] > LIMITS.get(row["rules"], float("inf"))]
    late += [row for row in costs[-1:] if row["apply_seconds"] > APPLY_LIMIT]
    for row in late:
        print(f"too dear: {row}", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
