"""`gateway capture`: what cannot be asked of a gateway is refused before it is asked."""

from __future__ import annotations

import pytest

from gateway import cli
from gateway.commands.capture import capture
from tests.commands.conftest import CONFIG, Place
from tests.commands.refusing import refusing

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("seconds", ["inf", "nan", "-50", "0", "1e300", "3601"])
def test_a_capture_lasts_a_time_that_is_possible(place: Place, seconds: str) -> None:
    assert place.run(capture, "out.pcap", seconds=float(seconds), url=NOWHERE) == 2
    assert place.err.startswith("--seconds: ")
    assert place.err.endswith(" is not possible; write a number of seconds up to 3600\n")
    assert not (place.path / "out.pcap").exists()


@pytest.mark.parametrize("megabytes", [0, -1, 10**20])
def test_a_capture_has_a_size_that_is_possible(place: Place, megabytes: int) -> None:
    assert place.run(capture, "out.pcap", megabytes=megabytes, url=NOWHERE) == 2
    assert place.err.startswith(f"--megabytes: {megabytes} is not possible; write ")


@pytest.mark.parametrize(
    "url", ["foo", "http://[::1", "http://", "http://h:port", "http://h:0", "ftp://h", "//h"]
)
def test_a_console_that_has_no_web_address_is_told(place: Place, url: str) -> None:
    assert place.run(capture, "out.pcap", url=url, config=place.write("gateway.toml", CONFIG)) == 2
    assert "is no web address; write it as http://HOST:PORT\n" in place.err


def test_a_hyphen_is_standard_output(place: Place) -> None:
    assert place.run(cli.app, ["capture", "-", "--console", NOWHERE], result_action="return_value") == 2
    assert place.err.startswith(f"no gateway answers at {NOWHERE} (")


def test_a_refusal_without_words_is_told_by_its_status(place: Place) -> None:
    config = place.write("gateway.toml", CONFIG)
    with refusing(b"431 ") as url:
        assert place.run(capture, "out.pcap", url=url, config=config) == 2
    assert place.err == f"the gateway at {url} refuses: 431 Request Header Fields Too Large\n"
