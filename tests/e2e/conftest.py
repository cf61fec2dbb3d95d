"""The lab of a system test, on IPv4 and IPv6, and its evidence in the report of a failure."""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.peers import Lab, need


def _has_address(host: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _lab(folder: Path, host: str) -> Iterator[Lab]:
    need("sipp")
    lab = Lab(folder, host)
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab on IPv4 loopback."""
    yield from _lab(tmp_path, "127.0.0.1")


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def either_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A lab on IPv4 loopback, then one on IPv6 loopback."""
    if request.param == "::1" and not _has_address("::1"):
        pytest.skip("this machine has no IPv6 loopback address")
    yield from _lab(tmp_path, request.param)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the peers reported to the report of a failed test."""
    report = yield
    if report.when == "call" and report.failed:
        funcargs = getattr(item, "funcargs", {})
        for lab in (value for value in funcargs.values() if isinstance(value, Lab)):
            report.sections.append(("peers", lab.evidence()))
    return report
