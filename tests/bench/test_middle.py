"""The gateways that benchmarks start have the configurations that they are meant to have."""

from __future__ import annotations

from pathlib import Path

import pytest
import telemetry
from middle import Shape, gateway_toml

from gateway.config import Config, parse


def configured(shape: Shape) -> Config:
    return parse(gateway_toml(5060, 5070, 5080, Path("/tmp/ledger.db"), shape))


@pytest.mark.parametrize(
    ("kind", "ledger", "console", "sample"),
    [
        ("no ledger", "", False, None),
        ("off", "sqlite:////tmp/ledger.db", False, None),
        ("0 %", "sqlite:////tmp/ledger.db", True, 0.0),
        ("1 %", "sqlite:////tmp/ledger.db", True, 0.01),
        ("100 %", "sqlite:////tmp/ledger.db", True, 1.0),
    ],
)
def test_a_kind_of_telemetry_is_what_it_says(
    kind: str, ledger: str, console: bool, sample: float | None
) -> None:
    config = configured(telemetry.shape_of(kind, "http://127.0.0.1:4318"))
    assert (config.ledger.url, config.console.listen is not None) == (ledger, console)
    traced = config.telemetry
    assert (traced.sample if traced.otlp else None) == sample
    assert sample is None or traced.sample_rewritten == sample


def test_further_callers_call_carriers_of_their_own() -> None:
    routes = configured(Shape(further=((5071, 5081),))).routes
    assert [route.to for route in routes] == [("carrier",), ("pbx",), ("carrier2",), ("pbx2",)]
