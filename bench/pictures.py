"""Pictures of what compare.py measured, as SVG beside its JSON file; none without matplotlib.

python bench/pictures.py [FILE]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def mean_by(rows: Rows, key: str, value: str) -> dict[Any, float]:
    """The mean of a figure for each value of a key, in the order in which they come."""
    found: dict[Any, list[float]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(float(row[value]))
    return {name: sum(values) / len(values) for name, values in found.items()}


def flows(rows: Rows) -> dict[str, Rows]:
    """Rows by flow."""
    return {
        flow: [row for row in rows if row["flow"] == flow] for flow in dict.fromkeys(r["flow"] for r in rows)
    }


def bars(key: str, value: str, unit: str) -> Callable[[Any, Rows], None]:
    """A drawing of bars, a group for each flow, one bar for each value of a key."""

    def draw(axes: Any, rows: Rows) -> None:
        groups = flows(rows)
        names = list(dict.fromkeys(str(row[key]) for row in rows))
        width = 0.8 / len(names)
        for place, name in enumerate(names):
            heights = [
                mean_by([r for r in group if str(r[key]) == name], "flow", value) for group in groups.values()
            ]
            at = [index + place * width for index in range(len(groups))]
            drawn = axes.bar(at, [next(iter(each.values()), 0.0) for each in heights], width, label=name)
            axes.bar_label(drawn, fmt="{:,.0f}", fontsize=7)
        axes.set_xticks([index + 0.4 - width / 2 for index in range(len(groups))], list(groups))
        axes.set_ylabel(unit)
        axes.legend(fontsize=8)

    return draw


def curve(key: str, value: str, label: str, unit: str) -> Callable[[Any, Rows], None]:
    """A drawing of a figure against what was varied, a line for each server and flow."""

    def draw(axes: Any, rows: Rows) -> None:
        for server, flow in dict.fromkeys((row["server"], row["flow"]) for row in rows):
            mine = [row for row in rows if (row["server"], row["flow"]) == (server, flow)]
            points = mean_by(mine, key, value)
            axes.plot(list(points), list(points.values()), marker="o", label=f"{server}, {flow}")
        if max(float(row[key]) for row in rows) > 1:
            axes.set_xscale("symlog")
        axes.set_ylim(bottom=0)
        axes.set_xlabel(label)
        axes.set_ylabel(unit)
        axes.legend(fontsize=8)

    return draw


PICTURES: dict[str, tuple[str, Callable[[Any, Rows], None]]] = {
    "costs": ("CPU a call at equal rates", bars("server", "us", "microseconds")),
    "saturation": ("Calls a second at the limit", bars("server", "rate", "calls a second")),
    "latency": (
        "Added latency, p99",
        curve("share", "added_p99", "share of the server's limit", "microseconds"),
    ),
    "rules": ("CPU a rejected call against rules", curve("rules", "us", "rules", "microseconds")),
    "live": (
        "CPU a rejected call against calls that are up",
        curve("calls_up", "us", "calls up", "microseconds"),
    ),
    "workers": ("Calls a second against workers", bars("workers", "rate", "calls a second")),
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
