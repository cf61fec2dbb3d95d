"""gateway.toml: the sentence that each mistake gets, and secrets, which come from elsewhere.

What each key means is in test_config_values.py.
"""

from pathlib import Path

import pytest

from gateway import config
from gateway.config import SettingsErrors
from gateway.reading import make_setup
from tests.config_texts import MINIMAL, TRUNK, read, sentences

SECRET = "a secret does not belong in this file; put it in an environment variable and name that:"
NO_VARIABLE = (
    "this is not the name of an environment variable; "
    "write a name of letters, digits and _, and put the secret in that variable"
)
ADDRESS = "write udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT, an IPv6 host in [brackets]"
SOURCE = "write an IP, a CIDR, IP:PORT or a TLS name, an IPv6 address with a port in [brackets]"
URI = "write sip:HOST, sip:HOST:PORT or sip:HOST:PORT;transport=tcp"
HOST = "write HOST or HOST:PORT, an IPv6 host in [brackets]"
SERVER = "write IP or IP:PORT, an IPv6 address with a port in [brackets]"

SECTION_MISTAKES = [
    ("gateway", "nmae = 1", 'nmae: this key is not known; did you mean "name"?'),
    (
        "gateway",
        "zzz = 1",
        "zzz: this key is not known; use one of listen, name, advertise, rules, workers, drain, "
        "tls_cert, tls_key, tls_ca, idle, max_connections, max_connections_per_source",
    ),
    ("gateway", "name = 1", 'name: 1 is a number; write it in "quotes"'),
    ("gateway", 'name = "a b"', 'name: "a b" cannot name a gateway; use letters, digits, dots, - and _'),
    (
        "gateway",
        "listen = []",
        'listen: the gateway would hear nothing; write an address, such as "udp:0.0.0.0:5060"',
    ),
    ("gateway", "listen = true", 'listen: true is true or false; write a list, such as ["…"]'),
    ("gateway", 'listen = ["udp:127.0.0.1:5060", 5060]', 'listen[1]: 5060 is a number; write it in "quotes"'),
    ("gateway", 'listen = ["127.0.0.1"]', f'listen[0]: "127.0.0.1" is not a transport address; {ADDRESS}'),
    (
        "gateway",
        'listen = "ws:1.2.3.4:80"',
        f'listen: "ws:1.2.3.4:80" does not begin with a transport; {ADDRESS}',
    ),
    ("gateway", 'listen = "udp:1.2.3.4"', f'listen: "udp:1.2.3.4" has no port; {ADDRESS}'),
    ("gateway", 'listen = "udp:::1:5060"', f'listen: "::1:5060" is not an address; {ADDRESS}'),
    ("gateway", 'listen = "udp:[1.2.3.4]:5060"', f'listen: "[1.2.3.4]" is not an IPv6 address; {ADDRESS}'),
    (
        "gateway",
        'listen = "udp:1.2.3.400:5060"',
        f'listen: "1.2.3.400" is neither an IP address nor a host name; {ADDRESS}',
    ),
    (
        "gateway",
        'listen = "udp:1.2.3.4:70000"',
        'listen: "1.2.3.4:70000" has no valid port; write a port from 1 to 65535',
    ),
    (
        "gateway",
        'listen = ["udp:1.2.3.4:5060", "udp:1.2.3.4:5060"]',
        "listen[1]: this address is listed twice; keep one of the two",
    ),
    (
        "gateway",
        'listen = ["udp:[fe80::1%eth0]:5060"]',
        "listen[0]: no SIP URI can name the interface that a link-local address belongs to; "
        "listen at a global or unique local address (fd00::/8)",
    ),
    ("gateway", 'advertise = "a b"', f'advertise: "a b" is neither an IP address nor a host name; {HOST}'),
    (
        "gateway",
        'advertise = "a:0"',
        "advertise: peers cannot send to port 0; write a port from 1 to 65535, or none",
    ),
    (
        "gateway",
        'listen = ["udp:10.0.0.5:5060", "udp:[fd00::5]:5060"]\nadvertise = { "10.0.0.6" = "gw.example" }',
        'advertise."10.0.0.6": nothing listens there; write a host of listen: 10.0.0.5, fd00::5',
    ),
    (
        "gateway",
        'advertise."127.0.0.1" = "a b"',
        f'advertise."127.0.0.1": "a b" is neither an IP address nor a host name; {HOST}',
    ),
    ("gateway", "advertise = 1", 'advertise: 1 is a number; write it in "quotes"'),
    ("dns", 'servers = "ns.example"', f'servers: "ns.example" is not the address of a name server; {SERVER}'),
    (
        "dns",
        'servers = ["::1", "127.0.0.1:0"]',
        f'servers[1]: "127.0.0.1:0" is not the address of a name server; {SERVER}',
    ),
    ("dns", 'servers = "a:b:c"', f'servers: "a:b:c" is not an address; {SERVER}'),
    ("dns", 'timeout = "1m"', 'timeout: "1m" is not possible; write a duration from "100ms" to "30s"'),
    ("dns", "server = 1", 'server: this key is not known; did you mean "servers"?'),
    ("gateway", 'rules = ""', 'rules: it names no file; write a path, such as "rules.toml"'),
    ("gateway", "workers = -1", "workers: -1 is not possible; write a whole number from 0 to 256"),
    ("gateway", 'workers = "two"', 'workers: "two" is not possible; write a whole number from 0 to 256'),
    ("gateway", "workers = true", "workers: true is not possible; write a whole number from 0 to 256"),
    ("gateway", "drain = 30", 'drain: 30 is a number; write a duration from "0s" to "1d"'),
    (
        "gateway",
        'drain = "soon"',
        "drain: 'soon' is not a duration; write a number with ms, s, m, h or d, such as \"30s\"",
    ),
    ("gateway", 'drain = "2d"', 'drain: "2d" is not possible; write a duration from "0s" to "1d"'),
    (
        "console",
        'listen = "127.0.0.1"',
        'listen: "127.0.0.1" has no port; write HOST:PORT, such as "127.0.0.1:8080"',
    ),
    (
        "console",
        'listen = "0.0.0.0:8080"\ntoken_env = ""',
        'token_env: off loopback the console must ask for a token; write token_env = "GATEWAY_TOKEN", '
        "or listen on 127.0.0.1",
    ),
    ("console", 'token = "s3cret"', f'token: {SECRET} token_env = "NAME"'),
    ("console", 'token_env = "s3cret-value"', f"token_env: {NO_VARIABLE}"),
    (
        "ledger",
        'url = "mysql://db"',
        'url: "mysql://db" is not a database the ledger can use; '
        'write "sqlite:///FILE" or "postgresql+psycopg://USER@HOST/NAME"',
    ),
    ("ledger", 'keep = "1s"', 'keep: "1s" is not possible; write a duration from "1m" to "36500d"'),
    (
        "telemetry",
        'otlp = "http://127.0.0.1:port"',
        'otlp: "http://127.0.0.1:port" is not a web address; write it as "http://127.0.0.1:4318"',
    ),
    (
        "telemetry",
        'otlp = "127.0.0.1:4318"',
        'otlp: "127.0.0.1:4318" is not a web address; write it as "http://127.0.0.1:4318"',
    ),
    ("telemetry", "sample = 1.5", "sample: 1.5 is not possible; write a number from 0 to 1"),
    ("telemetry", "sample = nan", "sample: nan is not possible; write a number from 0 to 1"),
    (
        "telemetry",
        'hep = "127.0.0.1:9060"',
        f'hep: "127.0.0.1:9060" does not begin with a transport; {ADDRESS}',
    ),
    (
        "telemetry",
        'hep = "tls:127.0.0.1:9060"',
        'hep: copies go over UDP or TCP; write "udp:HOST:PORT" or "tcp:HOST:PORT"',
    ),
    (
        "telemetry",
        "keep_messages = -1",
        "keep_messages: -1 is not possible; write a whole number from 0 to 16384",
    ),
    ("telemetry", "hep_sample = 2", "hep_sample: 2 is not possible; write a number from 0 to 1"),
    ("telemetry", 'numbers = "hashed"', 'numbers: "hashed" is not one of the choices; did you mean "hash"?'),
    ("telemetry", 'numbers = "no"', 'numbers: "no" is not one of the choices; write hash, last4 or clear'),
    ("timers", 't1 = "1m"', 't1: "1m" is not possible; write a duration from "1ms" to "10s"'),
]


@pytest.mark.parametrize(("section", "wrong", "sentence"), SECTION_MISTAKES)
def test_a_mistake_in_a_section_is_told_with_its_line_and_remedy(
    section: str, wrong: str, sentence: str
) -> None:
    line = 4 + wrong.count("\n") + 1
    assert sentences(f"{MINIMAL}[{section}]\n{wrong}\n") == [f"gateway.toml:{line}: {section}.{sentence}"]


def test_timers_must_agree_with_each_other() -> None:
    told = "timers.t2: it is shorter than t1; make it at least t1 (RFC 3261 17.1.2.1)"
    assert sentences(f'{MINIMAL}[timers]\nt1 = "2s"\nt2 = "1s"\n') == [f"gateway.toml:6: {told}"]


TRUNK_MISTAKES = [
    ("sorce = []", 'sorce: this key is not known; did you mean "source"?'),
    ('kind = "carier"', 'kind: "carier" is not one of the choices; did you mean "carrier"?'),
    ('kind = "x"', 'kind: "x" is not one of the choices; write pbx, carrier or peer'),
    ("kind = 5", "kind: 5 is not one of the choices; write pbx, carrier or peer"),
    ('trusted = "yes"', 'trusted: "yes" is text; write true or false'),
    ('supports = ["603"]', 'supports[0]: "603" is not a code that peers differ in; write "607" or "608"'),
    ("supports = [607]", 'supports[0]: 607 is a number; write it in "quotes"'),
    ("max_calls = 0", "max_calls: 0 is not possible; write a whole number from 1 to 1000000"),
    ("max_cps = 0", "max_cps: 0 is not possible; write a number from 0.01 to 100000"),
    ('options_ping = "on"', 'options_ping: this is not possible; write "off", or seconds from 1 to 86400'),
    ("options_ping = true", 'options_ping: this is not possible; write "off", or seconds from 1 to 86400'),
    ("options_ping = 0", 'options_ping: this is not possible; write "off", or seconds from 1 to 86400'),
    ('username = "gw"', 'username: there is no password for it; add password_env = "NAME"'),
    (
        'username = "g\\nw"\npassword_env = "P"',
        "username: it holds a character that cannot be printed; write the name as the peer knows it",
    ),
    ('password_env = "P"', 'password_env: there is no username for it; add username = "…"'),
    ('password = "hunter2"', f'password: {SECRET} password_env = "NAME"'),
    ("register = true", "register: registering takes an account and a registrar; add username and target"),
    ('transport = "sctp"', 'transport: "sctp" is not one of the choices; write udp, tcp or tls'),
    ('tls_ca = "absent.pem"', 'tls_ca: there is no file "absent.pem"; check the path'),
    (
        'hide = ["X Y"]',
        'hide[0]: "X Y" is not a header name; write what stands before the colon: "X-Account"',
    ),
    ('hide = ["Via"]', "hide[0]: Via is made by the gateway for each leg; name another header"),
    ("set = 5", "set: 5 is a number; write set.KEY = …"),
    ("set.X-A = 5", 'set.X-A: 5 is a number; write it in "quotes"'),
    ('set.Contact = "x"', "set.Contact: Contact is made by the gateway for each leg; name another header"),
    (
        'set.X-A = "a\\r\\nVia: b"',
        "set.X-A: the value has a line break or control character; write it on one line",
    ),
    ("q850.21 = 200", "q850.21: 200 is not possible; write a whole number from 400 to 699"),
    ("q850.603 = 128", "q850.603: 128 is not possible; write a whole number from 1 to 127"),
    ("q850.x = 1", "q850.x: this is neither a cause nor a status; write CAUSE = STATUS or STATUS = CAUSE"),
    ("stop_on = 200", 'stop_on: this is no final status; write 300 to 699, "4xx" or "600-699"'),
    ('stop_on = [404, "7xx"]', 'stop_on[1]: this is no final status; write 300 to 699, "4xx" or "600-699"'),
    ('stop_on = "699-600"', 'stop_on: this is no final status; write 300 to 699, "4xx" or "600-699"'),
    ('session_timer = "60s"', 'session_timer: "60s" is not possible; write a duration from "90s" to "1d"'),
    ("dialog_ping = 0", 'dialog_ping: this is not possible; write "off", or seconds from 1 to 86400'),
    ('prack = "on"', 'prack: "on" is not one of the choices; write pass or local'),
    ('ring_timeout = "0s"', 'ring_timeout: "0s" is not possible; write a duration from "100ms" to "1h"'),
    ("max_duration = 60", 'max_duration: 60 is a number; write a duration from "1s" to "30d"'),
    ("x_cid = 1", "x_cid: 1 is a number; write true or false"),
    (
        "trace_context = true",
        "trace_context: a trunk that is not trusted could have any call traced; "
        "add trusted = true, or leave it out",
    ),
    ("x_cid = 2024-01-01", "x_cid: this is a date or time; write true or false"),
]


@pytest.mark.parametrize(("wrong", "sentence"), TRUNK_MISTAKES)
def test_a_mistake_in_a_trunk_is_told_under_the_name_of_the_trunk(wrong: str, sentence: str) -> None:
    assert sentences(f"{TRUNK}{wrong}\n") == [f"gateway.toml:5: trunk[pbx].{sentence}"]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("source", "1.2.3.400", f'"1.2.3.400" is neither an IP address nor a host name; {SOURCE}'),
        ("source", "10.0.0.0/33", '"10.0.0.0/33" is not a network; write it as a CIDR, such as 192.0.2.0/24'),
        ("source", "10.0.0.9/8", '"10.0.0.9/8" has bits set to the right of its mask; write "10.0.0.0/8"'),
        ("source", "10.0.0.1:sip", '"10.0.0.1:sip" has no valid port; write a port from 1 to 65535'),
        ("source", "sbc.example.com:5061", f'"sbc.example.com:5061" is a name with a port; {SOURCE}'),
        ("source", "2001:db8::zz", f'"2001:db8::zz" is not an address; {SOURCE}'),
        ("source", "10.0.0.1:0", '"10.0.0.1:0" has port 0; write a port from 1 to 65535, or none'),
        ("source", "", f'"" is not an address; {SOURCE}'),
        ("target", "10.0.0.1:5060", f'"10.0.0.1:5060" is not a SIP URI; {URI}'),
        ("target", "tel:+1215", f'"tel:+1215" is not a SIP URI; {URI}'),
        (
            "target",
            "sip:gw@host",
            f'"sip:gw@host" has a user part; {URI}; the number called becomes the user',
        ),
        ("target", "sip:", f'"" is not an address; {URI}'),
        ("target", "sip:host:0", '"sip:host:0" has port 0; write a port from 1 to 65535, or none'),
        ("target", "sip:host:5060x", '"host:5060x" has no valid port; write a port from 1 to 65535'),
        ("target", "sip:-host", f'"-host" is neither an IP address nor a host name; {URI}'),
        ("target", "sip:h;transport=ws", 'transport "ws" is not known; write transport=udp, tcp or tls'),
        (
            "target",
            "sips:h;transport=udp",
            "a sips: URI cannot go over udp; leave the transport out, or write sip:",
        ),
    ],
)
def test_a_wrong_address_is_told_at_its_place_in_the_list(key: str, value: str, sentence: str) -> None:
    text = f'[[trunk]]\nname = "pbx"\n{key} = [\n  "{value}",\n]\n'
    assert sentences(text) == [f"gateway.toml:4: trunk[pbx].{key}[0]: {sentence}"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "1: trunk: there is none, so every call would be refused; add a [[trunk]] for each peer"),
        (
            "trunk = []",
            "1: trunk: there is none, so every call would be refused; add a [[trunk]] for each peer",
        ),
        (
            f"{MINIMAL}max_calls = 0x{'F' * 5000}",
            "4: trunk[pbx].max_calls: this is not possible; write a whole number from 1 to 1000000",
        ),
        (f"{TRUNK}[gatway]\n", '5: gatway: this key is not known; did you mean "gateway"?'),
        (f"gateway = 5\n{TRUNK}", "1: gateway: 5 is a number; write [gateway] above its keys"),
        ('[trunk]\nname = "a"\n', "1: trunk: this is a table; write [[trunk]] above its keys"),
        ("trunk = [5]\n", "1: trunk[0]: 5 is a number; write [[trunk]] above its keys"),
        ('[[trunk]]\nsource = "10.0.0.1"\n', '1: trunk[0]: the trunk has no name; write name = "…"'),
        (
            '[[trunk]]\nsource = "10.0.0.1"\nname = "a b"\n',
            '3: trunk[a b].name: "a b" cannot name a trunk; use letters, digits, dots, - and _',
        ),
        (
            '[[trunk]]\nname = "a"\n',
            "1: trunk[a]: the trunk has neither source nor target; say who speaks as it, or where calls go",
        ),
        (
            f'{TRUNK}[[trunk]]\nname = "pbx"\ntarget = "sip:h"\n',
            "6: trunk[pbx].name: the trunk on line 1 has this name already; "
            "give each trunk a name of its own",
        ),
        (
            f'{TRUNK}[[trunk]]\nname = "b"\nsource = ["10.0.0.2", "::ffff:10.0.0.1"]\n',
            '7: trunk[b].source[1]: "::ffff:10.0.0.1" is a source of the trunk "pbx" already; '
            "keep it in one place, or tell the two apart by port",
        ),
        (
            f'{TRUNK}stop_on = [404]\nadvance_on = ["4xx"]\n',
            "6: trunk[pbx].advance_on: 404 is in stop_on too; keep it in one of the two",
        ),
        (f"{TRUNK}[[route]]\n", '5: route[0]: the route leads nowhere; write to = ["TRUNK"]'),
        (
            f'{TRUNK}[[route]]\nto = ["pxb"]\n',
            '6: route[0].to[0]: "pxb" matches no trunk; did you mean "pbx"?',
        ),
        (
            f'{TRUNK}[[route]]\nfrom = ["pbx", "qq*"]\nto = "pbx"\n',
            '6: route[0].from[1]: "qq*" matches no trunk; the trunks are: pbx',
        ),
        (
            f'{TRUNK}[[route]]\nfrom = "kind:per"\nto = "pbx"\n',
            '6: route[0].from: "kind:per" matches no trunk; did you mean "kind:peer"?',
        ),
        (
            f'{TRUNK}[[route]]\nfrom = []\nto = "pbx"\n',
            "6: route[0].from: no call comes from no trunk; name a trunk, or leave the key out to mean any",
        ),
        (
            f'{MINIMAL}[[route]]\nto = "pbx"\n',
            '5: route[0].to: the trunk "pbx" has no target; give it one, or route to another trunk',
        ),
        (
            f"{TRUNK}weights = [1, 2]\n",
            "5: trunk[pbx].weights: there are 2 weights for 1 targets; write one for each target",
        ),
        (
            f"{TRUNK}weights = [-1]\n",
            "5: trunk[pbx].weights[0]: this is not possible; "
            "write a list of whole numbers from 0 to 1000, one for each target: [3, 1]",
        ),
        (
            f'{TRUNK}redirect = "folow"\n',
            '5: trunk[pbx].redirect: "folow" is not one of the choices; did you mean "follow"?',
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\nstrategy = "paralel"\n',
            '7: route[0].strategy: "paralel" is not one of the choices; did you mean "parallel"?',
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncaled.prefix = "1"\n',
            '7: route[0].caled: this key is not known; did you mean "called"?',
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncalled = "+1"\n',
            "7: route[0].called: it does not say how to compare numbers; "
            "write called.prefix, .regex or .list = …",
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncalled.prefix = ["1", ""]\n',
            "7: route[0].called.prefix[1]: the text is empty; write something, or remove the key",
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncalled = {{}}\n',
            "7: route[0].called: it holds no condition; write called.prefix, .regex or .list = …",
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncalled.prefix = "1"\ncalled.prefx = "2"\n',
            '8: route[0].called.prefx: this key is not known; did you mean "prefix"?',
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncaller.regex = "("\n',
            "7: route[0].caller.regex: '(' is not a regular expression: "
            "missing ), unterminated subpattern at position 0; "
            "correct it, or put a \\ before a sign that stands for itself",
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncalled.regex = "(a+)+$"\n',
            "7: route[0].called.regex: '(a+)+$' repeats something that can itself match in several ways, "
            "which can take for ever on a hostile text; "
            "give the outer repeat a limit of at most 8, such as {1,8}",
        ),
        (
            f'{TRUNK}[[route]]\nto = "pbx"\ncaller.list = ["absent.txt"]\n',
            "7: route[0].caller.list[0]: the list absent.txt cannot be read: no such file or directory; "
            "check its path",
        ),
        (f"{TRUNK}[gateway\n", "5: the heading is not closed; close it with ]"),
    ],
)
def test_a_mistake_between_tables_is_told(text: str, sentence: str) -> None:
    assert sentences(text) == [f"gateway.toml:{sentence}"]


def test_a_certificate_and_its_key_come_together(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    told = "trunk[pbx].tls_cert: it is of no use without tls_key; add tls_key"
    assert sentences(f'{TRUNK}tls_cert = "cert.pem"\n', tmp_path) == [f"gateway.toml:5: {told}"]


def test_every_mistake_is_told_at_once_in_the_order_of_the_file() -> None:
    text = f'{TRUNK}max_calls = "many"\n[gateway]\nlisten = "x"\n[[route]]\nto = "y"\n'
    assert [sentence.split(": ")[:2] for sentence in sentences(text)] == [
        ["gateway.toml:5", "trunk[pbx].max_calls"],
        ["gateway.toml:7", "gateway.listen"],
        ["gateway.toml:9", "route[0].to"],
    ]


def test_what_follows_from_a_mistake_is_not_told_as_another() -> None:
    text = '[[trunk]]\nname = "a"\ntarget = "10.0.0.1"\n[[route]]\nto = "a"\n'
    assert sentences(text) == [f'gateway.toml:3: trunk[a].target: "10.0.0.1" is not a SIP URI; {URI}']


def test_a_secret_written_into_the_file_is_never_repeated_in_a_message() -> None:
    text = f'{TRUNK}password = "hunter2"\npassword_env = "hunter2!"\n[console]\ntoken = "hunter2"\n'
    assert "hunter2" not in "\n".join(sentences(text))


ACCOUNT = f'{TRUNK}username = "gw"\npassword_env = "GW_PASSWORD"\n'


def test_passwords_come_from_the_environment_and_are_missed_with_their_line() -> None:
    settings = read(ACCOUNT)
    assert config.passwords(settings, {"GW_PASSWORD": "hunter2"}) == {"pbx": "hunter2"}
    assert config.passwords(read(MINIMAL), {}) == {}
    for environment in ({}, {"GW_PASSWORD": ""}):
        with pytest.raises(SettingsErrors) as caught:
            config.passwords(settings, environment)
        assert str(caught.value) == (
            'gateway.toml:6: trunk[pbx].password_env: the environment has no variable "GW_PASSWORD", or an'
            " empty one; set it to the password before the gateway starts"
        )


def test_the_gateway_does_not_start_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GW_PASSWORD", raising=False)
    with pytest.raises(SettingsErrors):
        make_setup(read(ACCOUNT))
    monkeypatch.setenv("GW_PASSWORD", "hunter2")
    account = make_setup(read(ACCOUNT)).trunks.by_name["pbx"].account
    assert account is not None
    assert account.username == "gw"


def test_a_registration_lasts_an_hour_unless_told_otherwise() -> None:
    assert read(ACCOUNT + "register = true\n").trunks[0].register_expires == 3600.0
    told = ACCOUNT + 'register = true\nregister_expires = "5m"\n'
    assert read(told).trunks[0].register_expires == 300.0
    lone = "trunk[pbx].register_expires: it is of no use without register; add register = true"
    assert sentences(ACCOUNT + 'register_expires = "5m"\n') == [f"gateway.toml:7: {lone}"]


def test_a_file_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(SettingsErrors) as caught:
        config.load(tmp_path / "gateway.toml")
    assert str(caught.value) == f"{tmp_path}/gateway.toml: there is no such file; check the path"


def test_the_secret_for_hidden_numbers_comes_from_the_environment() -> None:
    hiding = read(MINIMAL + '[ledger]\nnumbers = "hash"\n')
    assert config.numbers_key(hiding, {"GATEWAY_NUMBERS_KEY": "pepper"}) == b"pepper"
    assert config.numbers_key(read(MINIMAL), {}) == b""
    with pytest.raises(
        SettingsErrors, match=r'ledger\.numbers: the environment has no variable "GATEWAY_NUMB'
    ):
        config.numbers_key(hiding, {})
