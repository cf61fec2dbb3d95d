"""The arithmetic of what two workers carry beside one, and the choice of ports that shares out what comes."""

from __future__ import annotations

import socket

import pytest
import scaling
from scaling import ALONE, SHARED, Trial
from sipp import HOST


def test_two_workers_carry_as_much_less_than_twice_as_a_call_is_dearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter dearer: 1.6 times. A pair with failed calls says nothing."""
    used = {ALONE: 1.0, SHARED: 1.25}
    failed = iter((0.0, 0.0, 0.0, 0.01))

    def attempt(flow: str, kind: str, rate: float, _seconds: float) -> Trial:
        return Trial(flow, kind, rate, used[kind], 0.2, next(failed))

    monkeypatch.setattr(scaling, "attempt", attempt)
    trials: list[Trial] = []
    assert scaling.pairs("rejected", 2, 3.0, trials) == [pytest.approx(1.6)]
    assert sorted(trial.kind for trial in trials) == [ALONE, ALONE, SHARED, SHARED]


@pytest.mark.parametrize(
    ("used", "failed", "wanted"), [(1.25, 0.0, 2_304.0), (0.2, 0.0, 2_500.0), (1.25, 0.01, 1_700.0)]
)
def test_the_next_rate_leaves_the_generator_its_part(used: float, failed: float, wanted: float) -> None:
    """Four fifths of what is left of two cores; never much more at once, and less where calls failed."""
    trial = Trial("rejected", SHARED, 2_000.0, used, 0.2, failed)
    assert scaling.next_rate(2_000.0, trial) == pytest.approx(wanted)


def test_each_of_two_sockets_hears_one_of_the_peers() -> None:
    middle, *peers = scaling.ports()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for each in (one, two):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.bind((HOST, middle))
            each.settimeout(1.0)
        for peer in peers:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.bind((HOST, peer))
                sender.sendto(str(peer).encode(), (HOST, middle))
        assert [int(each.recv(9)) for each in (one, two)] == peers
