"""`gateway doctor`: each thing that could keep the gateway from working is seen, and told with advice."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway import speedups
from gateway.commands import doctor as module
from gateway.commands.doctor import doctor
from tests.commands.conftest import CONFIG, RULES, Place
from tests.transport.name_server import name_server, unused_port


def findings(place: Place, config: Path) -> dict[str, dict[str, str]]:
    assert place.run(doctor, config=config, json=True) == 0
    return {finding["name"]: finding for finding in place.json}


def test_a_machine_that_has_everything_gets_no_problem(place: Place) -> None:
    place.write("rules.toml", RULES)
    found = findings(place, place.write("gateway.toml", CONFIG))
    assert [finding for finding in found.values() if finding["state"] == "problem"] == []
    assert found["message core"]["found"] == speedups.description()
    assert found["udp port"]["found"] == "127.0.0.1:0 is free"
    assert found["ledger"]["found"] == "not there yet; it can be made"
    assert found["rules"]["found"] == "2 rules in rules.toml"
    assert {
        "python",
        "udp receive buffer",
        "open files",
        "IPv6",
        "monotonic clock",
        "wall clock",
    } < found.keys()


def test_the_table_shows_the_same_with_its_advice(place: Place) -> None:
    place.write("rules.toml", "version = 2\nrules = []\n")
    assert place.run(doctor, config=place.write("gateway.toml", CONFIG)) == 0
    told = [" ".join(line.split()) for line in place.out.splitlines()]
    assert told[0] == "what state found"
    assert told[-3].startswith("rules problem rules.toml:1: version: ")
    assert told[-2].startswith("rules.toml:2: rules: ")
    assert told[-1] == "see `gateway check`"


@pytest.mark.parametrize(("transport", "kind"), [("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)])
def test_a_port_that_is_taken_is_a_problem(place: Place, transport: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        text = CONFIG.replace("udp:127.0.0.1:0", f"{transport}:127.0.0.1:{port}")
        found = findings(place, place.write("gateway.toml", text))
    finding = found[f"{transport} port"]
    assert finding["state"] == "problem"
    assert finding["found"] == f"127.0.0.1:{port} cannot be bound (address already in use)"
    assert finding["advice"] == "a gateway that runs already holds it too"


def test_an_address_of_another_machine_is_a_problem(place: Place) -> None:
    config = place.write("gateway.toml", CONFIG.replace("udp:127.0.0.1:0", "udp:192.0.2.77:5060"))
    finding = findings(place, config)["udp port"]
    advice = "give this machine that address, or choose one that it has"
    assert (finding["state"], finding["advice"]) == ("problem", advice)
    assert finding["found"].startswith("192.0.2.77:5060 cannot be bound (")


def test_a_ledger_that_cannot_be_made_is_a_problem(place: Place) -> None:
    place.write("var", "a file where a directory is wanted")
    config = place.write("gateway.toml", CONFIG.replace("///gateway.db", "///var/gateway.db"))
    finding = findings(place, config)["ledger"]
    assert finding["state"] == "problem"
    assert finding["found"] == "the ledger var/gateway.db cannot be made (not a directory)"


def test_records_that_wait_for_the_database_are_noted(place: Place) -> None:
    config = place.write("gateway.toml", CONFIG)
    place.write("gateway.db.spool", b"12345")
    finding = findings(place, config)["ledger"]
    assert finding["state"] == "note"
    assert finding["found"] == "not there yet; it can be made; 5 bytes of records wait in gateway.db.spool"


def test_a_ledger_that_is_off_is_noted(place: Place) -> None:
    config = place.write("gateway.toml", CONFIG.replace("sqlite:///gateway.db", ""))
    assert findings(place, config)["ledger"]["state"] == "note"


def named(place: Place, server: str, target: str) -> Path:
    """Write a configuration whose carrier is a name, asked of a name server with little patience."""
    dns = f'[dns]\nservers = ["{server}"]\ntimeout = "200ms"\n'
    carrier = f'[[trunk]]\nname = "named"\ntarget = ["{target}"]\n'
    return place.write("gateway.toml", dns + CONFIG + carrier)


def test_a_target_that_is_a_name_is_shown_with_where_it_leads(place: Place) -> None:
    with name_server(
        "_sip._udp.example. 300 SRV 1 1 5062 a.example.", "a.example. 300 A 127.0.0.1"
    ) as server:
        finding = findings(place, named(place, server.address, "sip:example"))["target of named"]
    assert finding["state"] == "ok"
    assert finding["found"].startswith("sip:example is udp 127.0.0.1:5062, found out in ")


def test_a_target_that_leads_nowhere_is_a_problem(place: Place) -> None:
    with name_server("b.example. 300 A 127.0.0.1") as server:
        finding = findings(place, named(place, server.address, "sip:a.example"))["target of named"]
    assert finding["state"] == "problem"
    assert finding["found"].startswith("sip:a.example leads nowhere, found out in ")
    assert finding["advice"].startswith("calls to it get 503")


def test_a_name_server_that_does_not_answer_is_a_problem(place: Place) -> None:
    port = unused_port()
    finding = findings(place, named(place, f"127.0.0.1:{port}", "sip:a.example"))["target of named"]
    assert finding["state"] == "problem"
    assert finding["found"].startswith("sip:a.example: no name server answered in 0.")
    assert finding["advice"].startswith(f"name servers: 127.0.0.1:{port}; ")


def test_many_addresses_of_a_name_are_told_by_number(place: Place) -> None:
    with name_server(*(f"a.example. 300 A 127.0.0.{at}" for at in range(1, 7))) as server:
        finding = findings(place, named(place, server.address, "sip:a.example:5060"))["target of named"]
    assert " and 2 more, found out in " in finding["found"]


def test_a_bad_configuration_is_told_and_the_machine_still_looked_at(place: Place) -> None:
    found = findings(place, place.path / "none.toml")
    assert found["configuration"]["state"] == "problem"
    assert "there is no such file" in found["configuration"]["found"]
    assert found["python"]["state"] == "ok"
    assert "ledger" not in found


@pytest.mark.parametrize(
    ("content", "state", "advice"),
    [
        ("4194304\n", "ok", ""),
        ("212992\n", "note", "more outlasts longer bursts: sysctl -w net.core.rmem_max=4194304"),
        ("?", "note", ""),
    ],
)
def test_a_small_receive_buffer_is_noted(place: Place, content: str, state: str, advice: str) -> None:
    finding = module.receive_buffer(place.path / place.write("rmem_max", content))
    assert (finding.state, finding.advice) == (state, advice)


def test_few_open_files_are_noted_with_what_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.resource, "getrlimit", lambda which: (1024, 20_000))
    assert module.open_files().advice == (
        "each TCP or TLS connection needs one: ulimit -n 4096 (this user may set up to 20000)"
    )
    monkeypatch.setattr(module.resource, "getrlimit", lambda which: (-1, -1))
    assert module.open_files().state == "ok"


def test_slow_and_coarse_clocks_are_seen(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monotonic, _ = module.clocks(place.path / place.write("clock", "hpet\n"))
    assert (monotonic.state, monotonic.found.endswith("kernel clock source hpet")) == ("note", True)
    monkeypatch.setattr(module, "_clock_step", lambda: 0.015)
    monotonic, _ = module.clocks(place.path / "none")
    assert (monotonic.state, monotonic.found) == ("problem", "steps of 15000000 ns")


def test_a_wall_clock_before_the_installation_is_wrong() -> None:
    assert module.wall_clock(now=0.0, installed=1_700_000_000.0).state == "problem"
    assert module.wall_clock(now=1_800_000_000.0, installed=1_700_000_000.0).state == "ok"
