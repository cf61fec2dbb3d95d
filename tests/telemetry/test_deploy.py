"""What lies under deploy/ speaks of metrics and labels that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.telemetry.test_metrics import Watched, reject

DEPLOY = Path(__file__).parents[2] / "deploy"
_NAME = re.compile(r"\b(?:sip|process)_[a-z_]+\b")
_SELECTOR = re.compile(r"(\b(?:sip|process)_[a-z_]+)\{([^}]*)\}")
_SUFFIX = re.compile(r"_(?:bucket|count|sum)$")


def expressions(file: str) -> list[str]:
    """Every expression in a file."""
    text = (DEPLOY / file).read_text()
    if file.endswith(".json"):
        return [target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"]]
    found = re.findall(r"expr: (>-\n(?: {10}.*\n)+|.*)", text)
    assert len(found) == text.count("- alert:")
    return found


def known() -> dict[str, set[str]]:
    """The labels of each metric that the gateway has."""
    watched = Watched(ledger=True)
    labels = {metric.name: set(metric.labels) for metric in watched.telemetry.collect()}
    watched.gateway.ports.close()
    return labels


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_each_metric_that_is_named_exists(file: str) -> None:
    metrics = known()
    found = expressions(file)
    assert found
    for expression in found:
        names = [_SUFFIX.sub("", name) for name in _NAME.findall(expression)]
        assert names, expression
        for name in names:
            assert name in metrics or name == "process_cpu_seconds_total", expression


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_each_label_that_is_named_exists(file: str) -> None:
    metrics = known()
    for expression in expressions(file):
        for name, selector in _SELECTOR.findall(expression):
            labels = set(re.findall(r"(\w+)(?:=|!)", selector))
            assert labels <= metrics.get(_SUFFIX.sub("", name), set()) | {"job"}, expression
        grouped = {
            label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")
        }
        possible = set().union(*(metrics.get(_SUFFIX.sub("", n), set()) for n in _NAME.findall(expression)))
        assert grouped <= possible | {"le", "instance", "job"}, expression


def promtool(*arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run Prometheus' own checker, or skip the test."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian package prometheus, see tests/peers.txt)")
    return subprocess.run(["promtool", *arguments], input=given, capture_output=True, check=False)


def test_prometheus_takes_the_alerts() -> None:
    done = promtool("check", "rules", str(DEPLOY / "prometheus-alerts.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_finds_no_fault_in_the_metrics() -> None:
    watched = Watched(ledger=True)
    reject(watched.net)
    text = watched.telemetry.reading()()
    watched.gateway.ports.close()
    done = promtool("check", "metrics", given=text)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
