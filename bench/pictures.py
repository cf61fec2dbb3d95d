"""Pictures of what compare.py measured, as SVG beside its JSON file; none without matplotlib.

python bench/pictures.py [FILE]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

Rows = list[dict[str, Any]]
Picture = Callable[[Any, Rows], None]
LATENCY_AIM = 2.0
"""Milliseconds, at 60 % of the limit."""
FAILED_SHARE = 0.001


def mean_by(rows: Rows, key: str, value: str) -> dict[Any, float]:
    """The mean of a figure for each value of a key, in the order in which they come."""
    found: dict[Any, list[float]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(float(row[value]))
    return {name: fmean(values) for name, values in found.items()}


def flows(rows: Rows) -> dict[str, Rows]:
    """Rows by flow."""
    return {
        flow: [row for row in rows if row["flow"] == flow] for flow in dict.fromkeys(r["flow"] for r in rows)
    }


def failing(rows: Rows) -> bool:
    """Whether so many calls failed that figures say little."""
    return sum(row["failed"] for row in rows) > FAILED_SHARE * sum(row["placed"] for row in rows)


def bars(key: str, value: str, unit: str) -> Picture:
    """A drawing of bars, a group for each flow, a bar for each value of a key; hatched where calls failed."""

    def draw(axes: Any, rows: Rows) -> None:
        groups = flows(rows)
        names = list(dict.fromkeys(str(row[key]) for row in rows))
        width, failed = 0.8 / len(names), ""
        for place, name in enumerate(names):
            mine = [[row for row in group if str(row[key]) == name] for group in groups.values()]
            there = [(index, group) for index, group in enumerate(mine) if group]
            drawn = axes.bar(
                [index + place * width for index, _ in there],
                [fmean(float(row[value]) for row in group) for _, group in there],
                width,
                label=name,
            )
            for bar, (_, group) in zip(drawn, there, strict=True):
                if failing(group):
                    bar.set_hatch("//")
                    failed = "hatched: calls failed"
            axes.bar_label(drawn, fmt="{:,.0f}", fontsize=7)
        axes.set_xticks([index + 0.4 - width / 2 for index in range(len(groups))], list(groups))
        axes.set_ylabel(unit)
        axes.margins(y=0.1)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(fontsize=8, title=failed or None, title_fontsize=8)

    return draw


def curve(key: str, value: str, label: str, unit: str) -> Picture:
    """A drawing of a figure against what was varied, a line for each server and flow."""

    def draw(axes: Any, rows: Rows) -> None:
        for server, flow in dict.fromkeys((row["server"], row["flow"]) for row in rows):
            mine = [row for row in rows if (row["server"], row["flow"]) == (server, flow)]
            points = mean_by(mine, key, value)
            axes.plot(list(points), list(points.values()), marker="o", label=f"{server}, {flow}")
        places = sorted({row[key] for row in rows})
        if max(places) > 1:
            axes.set_xscale("symlog", linthresh=max(1, min(place for place in places if place)))
        axes.set_xticks(places, [f"{place:,}" for place in places])
        axes.minorticks_off()
        axes.set_ylim(0, 1.15 * max(float(row[value]) for row in rows))
        axes.set_xlabel(label)
        axes.set_ylabel(unit)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.legend(fontsize=8)

    return draw


def latencies(axes: Any, rows: Rows) -> None:
    """A drawing of added latencies against load: from microseconds to seconds, so on a logarithmic scale."""
    for row in rows:
        beside = row.get("calls_up")
        row["server"] = f"{row['server']}, {beside:,} others up" if beside else row["server"]
        # What a busy machine makes of a small difference may be less than nothing.
        row["added_p99"] = max(row["added_p99"] / 1e3, 0.01)
    curve("share", "added_p99", "share of the server's limit", "milliseconds")(axes, rows)
    axes.axhline(LATENCY_AIM, color="grey", linestyle=":")
    axes.set_ylim(
        min(0.1, *(row["added_p99"] / 2 for row in rows)), max(10, *(row["added_p99"] * 2 for row in rows))
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:,g}")


PICTURES: dict[str, tuple[str, Picture]] = {
    "costs": ("CPU a call at equal rates", bars("server", "us", "microseconds")),
    "saturation": ("Calls a second at the limit", bars("server", "rate", "calls a second")),
    "latency": ("Added latency, p99; the aim for 60 % is dotted", latencies),
    "memory": ("Memory of a call that is up", bars("server", "bytes_a_call", "bytes")),
    "rules": ("CPU a rejected call against rules", curve("rules", "us", "rules", "microseconds")),
    "live": (
        "CPU a rejected call against calls that are up",
        curve("calls_up", "us", "calls up", "microseconds"),
    ),
    "workers": ("Calls a second at the limit, by workers", bars("workers", "rate", "calls a second")),
    "tracing": ("CPU a call against traced calls", bars("traced", "us", "microseconds")),
}


def draw(path: Path) -> None:
    """Draw each section that the file has rows of."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("matplotlib is not installed: no pictures (pip install '.[bench]')", file=sys.stderr)
        return
    sections = json.loads(path.read_text())["sections"]
    for name, (title, picture) in PICTURES.items():
        rows = sections.get(name)
        if rows:
            if name == "costs":
                fastest = max(row["asked"] for row in rows) / 4
                rows = [row for row in rows if row["asked"] > fastest]
            figure = Figure(figsize=(6.4, 4.0), layout="constrained")
            axes = figure.subplots()
            picture(axes, rows)
            axes.set_title(title)
            figure.savefig(path.with_name(f"{path.stem}-{name}.svg"))


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "results" / "compare.json")
