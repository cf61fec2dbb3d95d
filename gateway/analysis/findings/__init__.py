"""The findings: one module each, with a kind that explains and a function that finds it in a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gateway.analysis.finding import Case, Kind
from gateway.analysis.findings import (
    altered_603_plus,
    blocked_caller,
    clock_skew,
    contradiction,
    dead_number,
    device_dnd,
    early_media,
    everywhere,
    forking_on,
    half_captured,
    in_a_call,
    near_miss,
    no_cancel,
    not_acknowledged,
    not_cancelled,
    one_device,
    one_way,
    retries,
    trying,
    unwanted,
)
from gateway.analysis.model import Call

_MODULES = (
    one_device, in_a_call, device_dnd, everywhere, forking_on, not_cancelled, dead_number, blocked_caller,
    no_cancel, unwanted, altered_603_plus, near_miss, contradiction, retries, not_acknowledged, trying,
    early_media, one_way, half_captured, clock_skew,
)  # fmt: skip

KINDS: tuple[Kind, ...] = tuple(module.KIND for module in _MODULES)
"""All kinds of findings, in the order in which they are told."""

FINDERS: tuple[Callable[[Call], Iterator[Case]], ...] = tuple(module.find for module in _MODULES)
"""What looks at each call."""
