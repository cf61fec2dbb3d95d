"""Which trunk a message comes from, and what a trunk knows about its calls."""

import pytest

from gateway import config
from gateway.routing import trunk as trunk_module
from gateway.routing.trunk import Target, Trunk, TrunkTable
from gateway.sip.flow import Flow, Local


def table(text: str) -> TrunkTable:
    return TrunkTable(map(Trunk, config.parse(text).trunks))


def only(text: str) -> Trunk:
    (trunk,) = table(f'[[trunk]]\nname = "a"\n{text}\n')
    return trunk


SOURCES = {
    "everyone": ["0.0.0.0/0", "sbc.example.com"],
    "site": ["10.0.0.0/8"],
    "floor": ["10.1.0.0/16", "2001:db8::/32"],
    "phone": ["10.1.2.3", "2001:db8::7"],
    "door": ["10.1.2.3:5080", "[2001:db8::7]:5080"],
}
TABLE = table(
    "".join(
        f'[[trunk]]\nname = "{name}"\nsource = {source}\ntarget = "sip:203.0.113.9:5090"\n'
        for name, source in SOURCES.items()
    )
)


@pytest.mark.parametrize(
    ("host", "port", "name"),
    [
        ("10.1.2.3", 5080, "door"),
        ("10.1.2.3", 5060, "phone"),
        ("10.1.2.4", 5080, "floor"),
        ("10.2.0.1", 5060, "site"),
        ("11.0.0.1", 5060, "everyone"),
        ("203.0.113.9", 5090, "everyone"),
        ("::ffff:10.1.2.3", 5080, "door"),
        ("::ffff:10.2.0.1", 5060, "site"),
        ("2001:db8::7", 5080, "door"),
        ("2001:DB8:0::7", 5060, "phone"),
        ("2001:db8::8", 5080, "floor"),
        ("2001:db9::8", 5080, None),
        ("::1", 5060, None),
        ("fe80::1%eth0", 5060, None),
        ("sbc.example.com", 5060, None),
        ("", 0, None),
    ],
)
def test_the_most_specific_source_wins_and_a_target_is_no_source(
    host: str, port: int, name: str | None
) -> None:
    for _ in range(2):  # the second answer comes from memory
        found = TABLE.find(host, port)
        assert (found.name if found else None) == name


def test_the_order_of_the_trunks_does_not_matter() -> None:
    backwards = TrunkTable(reversed(list(TABLE)))
    for host, port in [("10.1.2.3", 5080), ("10.1.2.3", 5060), ("10.1.2.4", 5060), ("10.2.0.1", 1)]:
        assert backwards.find(host, port) is TABLE.find(host, port)


def test_a_flood_from_invented_addresses_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_module, "_REMEMBERED", 100)
    flooded = table('[[trunk]]\nname = "a"\nsource = "10.0.0.1"\n')
    for port in range(1000):
        assert flooded.find("198.51.100.1", port) is None
        assert len(flooded._found) <= 100
    found = flooded.find("10.0.0.1", 5060)
    assert found is not None
    assert found.name == "a"


@pytest.mark.parametrize(
    ("lines", "target"),
    [
        ('target = "sip:10.0.0.1"', Target(b"sip:10.0.0.1", "10.0.0.1", 5060, "udp", False)),
        ('target = "sip:10.0.0.1:5070"', Target(b"sip:10.0.0.1:5070", "10.0.0.1", 5070, "udp", False)),
        ('target = "sips:10.0.0.1"', Target(b"sips:10.0.0.1", "10.0.0.1", 5061, "tls", False)),
        ('target = "sip:[::1]"', Target(b"sip:[::1]", "::1", 5060, "udp", False)),
        (
            'target = "sip:sbc.example"',
            Target(b"sip:sbc.example", "sbc.example", 5060, "udp", True, naptr=True),
        ),
        (
            'target = "sip:sbc.example:5070"',
            Target(b"sip:sbc.example:5070", "sbc.example", 5070, "udp", False),
        ),
        (
            'transport = "tls"\ntarget = "sip:10.0.0.1"',
            Target(b"sip:10.0.0.1", "10.0.0.1", 5061, "tls", False),
        ),
        (
            'transport = "tls"\ntarget = "sip:10.0.0.1;transport=tcp"',
            Target(b"sip:10.0.0.1;transport=tcp", "10.0.0.1", 5060, "tcp", False),
        ),
    ],
)
def test_a_target_has_the_defaults_of_rfc_3263_filled_in(lines: str, target: Target) -> None:
    assert only(lines).targets == (target,)


@pytest.mark.parametrize("status", [403, 404, 408, 410, 480, 486, 488, 500, 503, 504, 599])
def test_an_answer_about_one_branch_lets_the_hunt_go_on(status: int) -> None:
    assert only('target = "sip:h"').hunts_on(status)


@pytest.mark.parametrize("status", [300, 302, 400, 401, 407, 422, 484, 487, 491, *range(600, 700)])
def test_an_answer_for_all_branches_or_for_the_caller_ends_the_hunt(status: int) -> None:
    assert not only('target = "sip:h"').hunts_on(status)


def test_a_trunk_may_decide_otherwise_about_some_answers() -> None:
    trunk = only('target = "sip:h"\nstop_on = [404, "5xx"]\nadvance_on = 603')
    assert [trunk.hunts_on(status) for status in (403, 404, 503, 600, 603)] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_a_trunk_speaks_bytes_where_messages_do() -> None:
    trunk = only('target = "sip:h"\nhide = "X-A"\nset.X-B = "é"\nq850 = { 21 = 603 }')
    assert (trunk.hide, trunk.set, trunk.q850) == ((b"X-A",), ((b"X-B", "é".encode()),), {21: 603})


# -- connections ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ((), "site"),  # by its address
        (("other.example",), "site"),
        (("sbc.example.com",), "everyone"),  # what a certificate proves comes first
        (("other.example", "sbc.example.com"), "everyone"),
    ],
)
def test_a_tls_connection_belongs_to_the_trunk_that_its_certificate_names(
    names: tuple[str, ...], name: str
) -> None:
    found = TABLE.identify("10.2.0.1", 40_000, names)
    assert found is not None
    assert found.name == name


def test_the_names_of_a_trunk_are_the_hosts_of_its_targets_and_its_tls_names() -> None:
    (settings,) = config.parse(
        '[[trunk]]\nname = "a"\nsource = ["10.0.0.1", "In.Example."]\n'
        'target = ["sip:Out.Example", "sip:[::1]"]\n'
    ).trunks
    assert trunk_module.tls_names(settings) == {"in.example", "out.example", "::1"}


def test_a_flow_that_is_known_to_be_a_trunks_needs_no_address() -> None:
    local = Local("tls", "192.0.2.1", 5061)
    found = TABLE.of(Flow(local, ("198.51.100.1", 40_000), "floor"))
    assert found is not None
    assert found.name == "floor"
    assert TABLE.of(Flow(local, ("10.2.0.1", 40_000), "removed")) is None
    by_address = TABLE.of(Flow(local, ("10.2.0.1", 40_000)))
    assert by_address is not None
    assert by_address.name == "site"


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ('target = "sip:h"', b""),
        ('target = "sip:h"\ntransport = "udp"', b";transport=udp"),
        ('target = "sip:h;transport=udp"\ntransport = "tcp"', b";transport=udp"),
        ('target = "sip:h"\ntransport = "tcp"', b""),
    ],
)
def test_only_udp_that_was_asked_for_is_said_in_request_uris(text: str, params: bytes) -> None:
    (target,) = only(text).targets
    assert target.params == params
