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
    text = (
        PLAIN + 'max_calls = 30\noptions_ping = "off"\n[[route]]\nto = ["carrier"]\nstrategy = "parallel"\n'
    )
    text = '[gateway]\nlisten = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]\nworkers = 2\n' + text
    said = sentences(text)
    tail = "this has no effect yet; this version carries calls as if it were not there"
    assert said == [
        f"gateway.toml:3: gateway.workers: {tail}",
        f"gateway.toml:13: trunk[carrier].max_calls: {tail}",
        f"gateway.toml:17: route[0].strategy: {tail}",
    ]
