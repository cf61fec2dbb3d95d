"""gateway.toml: what each key means, and what holds for one that is left out."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway import config
from gateway.addresses import HostPort, Source, TargetUri, TransportAddress, parse_source, parse_target
from tests.config_texts import MINIMAL, TRUNK, read, sentences


def test_the_embedded_default_says_what_the_contract_says() -> None:
    default = config.load(None)
    assert default.gateway.listen == (
        TransportAddress("udp", "127.0.0.1", 5060),
        TransportAddress("tcp", "127.0.0.1", 5060),
    )
    assert (default.gateway.name, default.gateway.rules, default.gateway.drain) == (
        "gw1",
        Path("rules.toml"),
        30.0,
    )
    assert default.console.listen == TransportAddress("tcp", "127.0.0.1", 8080)
    assert (default.ledger.url, default.ledger.keep) == ("sqlite:///var/gateway.db", 30 * 86400.0)
    assert (default.timers.t1, default.timers.t2, default.timers.t4) == (0.5, 4.0, 5.0)
    assert (default.dns.servers, default.dns.timeout) == ((), 5.0)
    assert (default.unwanted.keep, default.unwanted.half_life) == (90 * 86400.0, 14 * 86400.0)
    assert default.unwanted.lists is False
    assert default.trunk_kinds == {"pbx": "pbx", "carrier": "carrier"}
    pbx, carrier = default.trunks
    assert pbx.source == (Source("127.0.0.0/8", ip_network("127.0.0.0/8")),)
    assert carrier.source == (Source("127.0.0.1:5080", ip_network("127.0.0.1/32"), 5080),)
    assert pbx.target == (TargetUri("sip:127.0.0.1:5070", "127.0.0.1", 5070, None),)
    assert (pbx.trusted, carrier.trusted) == (True, False)
    assert [(route.to, route.strategy) for route in default.routes] == [
        (("carrier",), "serial"),
        (("pbx",), "serial"),
    ]


def test_a_key_left_out_has_the_value_of_the_embedded_default() -> None:
    default, sparse = config.load(None), read(MINIMAL)
    for section in ("gateway", "console", "ledger", "telemetry", "timers", "dns", "unwanted"):
        assert getattr(sparse, section) == getattr(default, section)


def test_trunk_keys_left_out_have_the_defaults_of_the_contract() -> None:
    (trunk,) = read(MINIMAL).trunks
    assert (trunk.kind, trunk.trusted, trunk.supports, trunk.target) == ("peer", False, frozenset(), ())
    assert (trunk.max_calls, trunk.max_cps, trunk.options_ping, trunk.max_duration) == (
        None,
        None,
        None,
        None,
    )
    assert (trunk.ring_timeout, trunk.x_cid, trunk.rewrite_network_blocked) == (180.0, True, False)
    assert (trunk.dialog_ping, trunk.prack) == (None, "pass")
    assert (trunk.register, trunk.transport, trunk.tls_verify, trunk.session_timer) == (
        False,
        None,
        True,
        None,
    )


def test_every_key_is_read_into_its_type(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    (tmp_path / "gateway.toml").write_text("""\
[gateway]
name = "edge-2"
listen = ["udp:[::1]:0", "tls:gw.example.com:5061"]
advertise = "gw.example.com:5060"
rules = "etc/rules.toml"
workers = 0
drain = "1m"
[console]
listen = ""
token_env = ""
[ledger]
url = "postgresql+psycopg://gw@db/calls"
keep = "12h"
[telemetry]
otlp = "http://127.0.0.1:4318"
sample = 1
sample_rewritten = 0.5
max_traces_per_second = 0
hep = "udp:127.0.0.1:9060"
numbers = "last4"
logs = "json"
[timers]
t1 = "100ms"
t2 = "1s"
t4 = "1s"
[dns]
servers = ["127.0.0.1:5353", "2001:DB8::53", "[::1]:54"]
timeout = "2s"
[[trunk]]
name = "carrier"
kind = "carrier"
source = ["192.0.2.0/24", "[2001:db8::7]:5070", "sbc.example.com"]
target = ["sip:192.0.2.1;transport=tcp", "sips:sbc.example.com"]
supports = ["607", "608"]
trusted = true
max_calls = 30
max_cps = 2.5
options_ping = 30
username = "gw"
password_env = "CARRIER_PASSWORD"
register = true
transport = "tls"
tls_ca = "ca.pem"
tls_cert = "cert.pem"
tls_key = "key.pem"
tls_verify = false
hide = ["X-Internal"]
set = { X-Account = "4711" }
q850 = { 21 = 603, 486 = 34 }
stop_on = [404, "600-602"]
advance_on = "5xx"
session_timer = "30m"
dialog_ping = "45s"
prack = "local"
ring_timeout = "60s"
max_duration = "2h"
x_cid = false
rewrite_network_blocked = true
""")
    read = config.load(tmp_path / "gateway.toml")
    assert read.gateway.listen == (
        TransportAddress("udp", "::1", 0),
        TransportAddress("tls", "gw.example.com", 5061),
    )
    assert [str(each) for each in read.gateway.listen] == ["udp:[::1]:0", "tls:gw.example.com:5061"]
    assert (read.gateway.advertise, read.gateway.workers, read.gateway.drain) == (
        ("gw.example.com:5060",) * 2,
        0,
        60.0,
    )
    assert (read.console.listen, read.console.token_env) == (None, "")
    assert (read.ledger.url, read.ledger.keep) == ("postgresql+psycopg://gw@db/calls", 43200.0)
    assert (read.telemetry.otlp, read.telemetry.sample) == ("http://127.0.0.1:4318", 1.0)
    assert (read.telemetry.sample_rewritten, read.telemetry.max_traces_per_second) == (0.5, 0.0)
    assert (read.telemetry.hep, read.telemetry.numbers) == (
        TransportAddress("udp", "127.0.0.1", 9060),
        "last4",
    )
    assert read.telemetry.logs == "json"
    assert (read.timers.t1, read.timers.t2, read.timers.t4) == (0.1, 1.0, 1.0)
    assert read.dns.servers == (
        HostPort("127.0.0.1", 5353),
        HostPort("2001:db8::53", None),
        HostPort("::1", 54),
    )
    assert read.dns.timeout == 2.0
    (trunk,) = read.trunks
    assert trunk.source == (
        Source("192.0.2.0/24", ip_network("192.0.2.0/24")),
        Source("[2001:db8::7]:5070", ip_network("2001:db8::7/128"), 5070),
        Source("sbc.example.com", None),
    )
    assert trunk.target == (
        TargetUri("sip:192.0.2.1;transport=tcp", "192.0.2.1", None, "tcp"),
        TargetUri("sips:sbc.example.com", "sbc.example.com", None, "tls"),
    )
    assert (trunk.supports, trunk.trusted, trunk.max_calls, trunk.max_cps) == (
        frozenset({607, 608}),
        True,
        30,
        2.5,
    )
    assert (trunk.options_ping, trunk.username, trunk.password_env) == (30.0, "gw", "CARRIER_PASSWORD")
    assert (trunk.register, trunk.transport, trunk.tls_verify) == (True, "tls", False)
    assert (trunk.tls_ca, trunk.tls_key) == (tmp_path / "ca.pem", tmp_path / "key.pem")
    assert (trunk.hide, trunk.set) == (("X-Internal",), (("X-Account", "4711"),))
    assert trunk.q850 == ((21, 603), (486, 34))
    assert (trunk.stop_on, trunk.advance_on) == (frozenset({404, 600, 601, 602}), frozenset(range(500, 600)))
    assert (trunk.session_timer, trunk.ring_timeout, trunk.max_duration) == (1800.0, 60.0, 7200.0)
    assert (trunk.dialog_ping, trunk.prack) == (45.0, "local")
    assert (trunk.x_cid, trunk.rewrite_network_blocked) == (False, True)


def test_what_streams_may_take_is_read(tmp_path: Path) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    text = """\
[gateway]
tls_cert = "cert.pem"
tls_key = "key.pem"
tls_ca = "ca.pem"
idle = "1h"
max_connections = 50
max_connections_per_source = 5
"""
    gateway = config.parse(text + MINIMAL, directory=tmp_path).gateway
    assert (gateway.tls_cert, gateway.tls_key, gateway.tls_ca) == (
        tmp_path / "cert.pem",
        tmp_path / "key.pem",
        tmp_path / "ca.pem",
    )
    assert (gateway.idle, gateway.max_connections, gateway.max_connections_per_source) == (3600.0, 50, 5)
    default = read(MINIMAL).gateway
    assert (default.tls_cert, default.idle, default.max_connections) == (None, 600.0, 10_000)


def test_a_tls_listener_without_a_certificate_is_a_mistake(tmp_path: Path) -> None:
    listen = '[gateway]\nlisten = [\n"udp:127.0.0.1:5060",\n"tls:127.0.0.1:5061"]\n'
    assert sentences(listen + MINIMAL) == [
        "gateway.toml:4: gateway.listen[1]: there is no certificate for it; "
        'write tls_cert = "FILE" and tls_key = "FILE" in [gateway]'
    ]
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("")
    lent = 'tls_cert = "cert.pem"\ntls_key = "key.pem"\n'
    config.parse(listen + MINIMAL + lent, directory=tmp_path)  # a trunk lends its own
    config.parse(listen + lent + MINIMAL, directory=tmp_path)
    assert sentences(listen + 'tls_cert = "cert.pem"\n' + MINIMAL, tmp_path) == [
        "gateway.toml:5: gateway.tls_cert: it is of no use without tls_key; add tls_key"
    ]


def test_relative_paths_start_where_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(MINIMAL)
    read = config.load(str(path))
    assert read.directory == tmp_path
    assert read.gateway.rules == tmp_path / "rules.toml"
    assert read.ledger.url == f"sqlite:///{tmp_path}/var/gateway.db"
    assert read.ledger.spool == tmp_path / "var" / "gateway.db.spool"
    path.write_text(
        '[gateway]\nrules = "/etc/rules.toml"\n'
        f'[ledger]\nurl = "sqlite:////var/gw.db"\nspool = "waiting"\n{MINIMAL}'
    )
    read = config.load(path)
    assert (read.gateway.rules, read.ledger.url) == (Path("/etc/rules.toml"), "sqlite:////var/gw.db")
    assert read.ledger.spool == tmp_path / "waiting"


def test_records_for_a_server_wait_in_a_file_beside_the_configuration(tmp_path: Path) -> None:
    ledger = config.parse(f'{MINIMAL}[ledger]\nurl = "postgresql://db/calls"\n', "f", tmp_path).ledger
    assert ledger.spool == tmp_path / "var" / "gateway.spool"


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:"])
def test_a_ledger_without_a_file_has_no_path_to_resolve(url: str, tmp_path: Path) -> None:
    ledger = config.parse(f'{MINIMAL}[ledger]\nurl = "{url}"\n', "f", tmp_path).ledger
    assert (ledger.url, ledger.spool) == (url, None)


@pytest.mark.parametrize(
    ("value", "seconds"), [('"off"', None), ("30", 30.0), ("1.5", 1.5), ('"30s"', 30.0), ('"2m"', 120.0)]
)
def test_options_ping_is_off_or_seconds(value: str, seconds: float | None) -> None:
    assert read(f"{TRUNK}options_ping = {value}\n").trunks[0].options_ping == seconds


def test_a_trunk_says_how_its_targets_share_calls_and_when_they_are_up() -> None:
    (trunk,) = read(f'{TRUNK}weights = [3]\ndown_after = 5\nup_after = 1\nredirect = "follow"\n').trunks
    assert (trunk.weights, trunk.down_after, trunk.up_after, trunk.redirect) == ((3,), 5, 1, "follow")
    assert not trunk.hunt_after_early_media
    (plain,) = read(TRUNK).trunks
    assert (plain.weights, plain.down_after, plain.up_after, plain.redirect) == ((), 3, 2, "pass")


def test_the_trunks_of_a_route_are_expanded_in_order_and_each_is_tried_once() -> None:
    text = "".join(
        f'[[trunk]]\nname = "{name}"\nkind = "{kind}"\ntarget = "sip:{name}"\n'
        for name, kind in [("c1", "carrier"), ("c2", "carrier"), ("c3", "carrier"), ("lab", "peer")]
    )
    (route,) = read(f'{text}[[route]]\nto = ["lab", "c2", "kind:carrier"]\nstrategy = "parallel"\n').routes
    assert (route.to, route.strategy, route.source) == (("lab", "c2", "c1", "c3"), "parallel", None)


def test_a_route_takes_number_conditions(tmp_path: Path) -> None:
    (tmp_path / "retired.txt").write_text("+12155551212\n")
    (tmp_path / "vip.txt").write_text("100*\n")
    conditions = (
        'called.prefix = "+1"\ncalled.list = ["retired.txt", "vip.txt"]\ncaller = { regex = "^10" }\n'
    )
    (route,) = config.parse(f'{TRUNK}[[route]]\nto = "pbx"\n{conditions}', "f", tmp_path).routes
    assert route.called is not None
    assert route.caller is not None
    assert [route.called.matches(number) for number in ("+12155551212", "+12155551213", "1001")] == [
        True,
        False,
        False,
    ]
    assert [route.caller.matches(number) for number in ("1001", "2010")] == [True, False]


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("[2001:db8::1]", "2001:db8::1/128"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("::/0", "::/0"),
    ],
)
def test_a_source_is_a_network_of_its_true_family(text: str, network: str) -> None:
    assert parse_source(text).network == ip_network(network)


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:[2001:DB8::1]:5070", ("2001:db8::1", 5070, None)),
        ("SIP:pbx.example.com;lr;transport=TLS", ("pbx.example.com", None, "tls")),
        ("sips:pbx.example.com:5061;transport=tcp", ("pbx.example.com", 5061, "tls")),
    ],
)
def test_a_target_is_a_uri_in_parts(uri: str, target: tuple[str, int | None, str | None]) -> None:
    assert parse_target(uri) == TargetUri(uri, *target)
