"""What the configuration asks for in vain is said, and only that."""

from __future__ import annotations

from gateway.config import load, parse
from gateway.unserved import unserved

PLAIN = """
[[trunk]]
name = "pbx"
source = ["192.0.2.2"]
target = ["sip:192.0.2.2"]
[[trunk]]
name = "carrier"
source = ["192.0.2.3"]
target = ["sip:192.0.2.3"]
"""


def sentences(text: str) -> list[str]:
    return [str(error) for error in unserved(parse(text))]


def test_the_embedded_default_and_a_plain_configuration_ask_for_nothing_in_vain() -> None:
    assert unserved(load()) == []
    assert sentences(PLAIN) == []


def test_each_setting_without_effect_is_said_with_its_line() -> None:
    text = '[telemetry]\nhep = "udp:127.0.0.1:9060"\n[gateway]\nworkers = 2\n' + PLAIN
    tail = "this has no effect yet; this version carries calls as if it were not there"
    assert sentences(text) == [
        f"gateway.toml:4: gateway.workers: {tail}",
    ]
