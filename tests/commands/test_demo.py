"""`gateway demo`: it plays real calls, tells who decided and why, sees what is wrong, and leaves nothing."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gateway.commands import demo as command
from gateway.commands.demo import demo
from gateway.demo import gateway_process
from gateway.demo import phone as phone_module
from gateway.demo import play as play_module
from gateway.demo.gateway_process import GatewayProcessError
from gateway.demo.phone import Phone, UnexpectedError
from gateway.demo.play import Row, play
from gateway.demo.scenes import SCENES, Says, Scene
from tests.commands.conftest import Place
from tests.peer import rebuild

DECLINED = next(scene for scene in SCENES if scene.title == "somebody declined")
DEAD = next(scene for scene in SCENES if scene.title == "dead number")
HOPED_FOR_404 = replace(DECLINED, title="hoped for 404", gets=Says("pbx", 404, "Not Found"))
BLAMED_ANOTHER = replace(DEAD, title="blamed another rule", rule="dead-number-by-phrase")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Row], list[Path]]:
    """Every scene, and two with a wrong expectation, played once; and the files that were left behind."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        rows = trio.run(play, [*SCENES, HOPED_FOR_404, BLAMED_ANOTHER])
    return {row.scene.title: row for row in rows}, list(folder.iterdir())


@pytest.fixture
def rows(stage: tuple[dict[str, Row], list[Path]]) -> dict[str, Row]:
    return stage[0]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.title)
def test_each_call_comes_out_as_it_should(scene: Scene, rows: dict[str, Row]) -> None:
    row = rows[scene.title]
    assert row.wrong == []
    assert row.got == scene.gets
    assert [(says.status, says.headers) for says in row.said] == [
        (says.status, says.headers) for says in scene.says
    ]
    assert row.why


@pytest.mark.parametrize(
    ("title", "decided_by", "why"),
    [
        ("answered call", "", "answered, ended by the caller (bye)"),
        ("dead number", "dead-number-by-cause", "603 for a number that does not exist: the cause says so"),
        ("somebody declined", "", "none of 14 rules matches: it passes as it came"),
        ("cancelled", "", "ended by the caller (cancelled)"),
        (
            "rejected, 608",
            "guard rejected-608",
            "a machine rejected the call (RFC 8688); pbx does not support 608",
        ),
        (
            "hunting",
            "",
            "503 speaks for carrier alone, so the next target was tried; answered, ended by the caller (bye)",
        ),
    ],
)
def test_why_is_told_in_the_words_of_the_gateway(
    title: str, decided_by: str, why: str, rows: dict[str, Row]
) -> None:
    assert (rows[title].decided_by, rows[title].why) == (decided_by, why)


def test_a_603_plus_passes_byte_for_byte(rows: dict[str, Row]) -> None:
    row = rows["network blocked, 603+"]
    assert row.got is not None
    assert (row.got.phrase, row.got.headers) == (row.said[0].phrase, row.said[0].headers)


def test_another_answer_than_expected_is_wrong(rows: dict[str, Row]) -> None:
    assert rows[HOPED_FOR_404.title].wrong == [
        "pbx got 603 Decline | Reason: Q.850;cause=21; it should be 404 Not Found"
    ]


def test_another_decider_than_expected_is_wrong(rows: dict[str, Row]) -> None:
    assert rows[BLAMED_ANOTHER.title].wrong == [
        "dead-number-by-cause decided; it should be dead-number-by-phrase"
    ]


def test_nothing_is_left_behind(stage: tuple[dict[str, Row], list[Path]]) -> None:
    assert stage[1] == []
    with pytest.raises(ChildProcessError):  # no child, neither running nor dead
        os.waitpid(-1, os.WNOHANG)


# -- what the command makes of it ----------------------------------------------------------------------------


def show(monkeypatch: pytest.MonkeyPatch, *rows: Row) -> None:
    """Have the command show these rows, as if they had just been played."""

    async def played() -> list[Row]:
        return list(rows)

    monkeypatch.setattr(command, "play", played)


def test_the_table_has_a_row_a_call(
    rows: dict[str, Row], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, rows["dead number"], rows["hunting"])
    assert place.run(demo) == 0
    lines = [" ".join(line.split()) for line in place.out.splitlines()]
    assert lines == [
        "call far end said caller got decided by, and why",
        "ok dead number pbx → carrier 603 Decline (Q.850 1) 404 Not Found (Q.850 1, SIP 603) "
        "dead-number-by-cause: 603 for a number that does not exist: the cause says so",
        "ok hunting pbx → carrier → backup 503 Service Unavailable 200 OK 200 OK "
        "no rule: 503 speaks for carrier alone, so the next target was tried; "
        "answered, ended by the caller (bye)",
        "2 calls, each as it should be",
    ]


def test_a_wrong_row_is_marked_and_told_and_the_exit_code_is_1(
    rows: dict[str, Row], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, rows["dead number"], rows[HOPED_FOR_404.title])
    assert place.run(demo) == 1
    assert [line[:5] for line in place.out.splitlines()[1:]] == ["ok   ", "WRONG", "2 cal"]
    assert place.out.endswith("2 calls, 1 of them wrong\n")
    assert place.err == (
        "hoped for 404: pbx got 603 Decline | Reason: Q.850;cause=21; it should be 404 Not Found\n"
    )


def test_json_has_what_was_said_and_got_to_the_byte(
    rows: dict[str, Row], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(monkeypatch, rows["dead number"], rows[HOPED_FOR_404.title])
    assert place.run(demo, json=True) == 1
    good, bad = place.json
    assert good == {
        "call": "dead number",
        "said": [
            {"who": "carrier", "status": 603, "phrase": "Decline", "headers": ["Reason: Q.850;cause=1"]}
        ],
        "got": {
            "who": "pbx",
            "status": 404,
            "phrase": "Not Found",
            "headers": ["Reason: Q.850;cause=1", 'Reason: SIP;cause=603;text="Decline"'],
        },
        "decided_by": "dead-number-by-cause",
        "why": "603 for a number that does not exist: the cause says so",
        "ok": True,
        "wrong": [],
    }
    assert (bad["ok"], len(bad["wrong"])) == (False, 1)


def test_a_gateway_that_does_not_start_is_told_in_one_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(play_module, "config_text", lambda ports: "[gateway]\nlisten = 1\n")
    assert place.run(demo) == 2
    assert place.out == ""
    assert place.err.startswith("the gateway did not start: ")
    assert place.err.count("\n") == 1


def test_a_signal_stops_it_with_the_gateway(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM, while the gateway serves, leaves no gateway behind."""
    served: list[int] = []

    async def play_for_ever() -> list[Row]:
        path = place.path / "gateway.toml"
        path.write_text(gateway_process.config_text({"pbx": 5070, "carrier": 5080, "backup": 5081}))
        async with gateway_process.running_gateway(path) as port:
            served.append(port)
            os.kill(os.getpid(), signal.SIGTERM)
            await trio.sleep_forever()
        return []

    monkeypatch.setattr(command, "play", play_for_ever)
    assert place.run(demo) == 130
    assert len(served) == 1
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# -- the phones ----------------------------------------------------------------------------------------------


def test_a_phone_says_what_it_got_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phone_module, "_PATIENCE", 0.05)

    async def wait_in_vain() -> None:
        phone, other = await Phone.open("carrier"), await Phone.open("pbx")
        try:
            await phone.connect(other.port)
            await other.connect(phone.port)
            with pytest.raises(UnexpectedError, match="carrier waited for INVITE and got nothing"):
                await phone.hear("INVITE")
            invite = await other.invite("1001", "1002")
            await other._socket.send(rebuild(invite))  # a repetition is passed over
            with pytest.raises(UnexpectedError, match=r"carrier waited for BYE and got INVITE$"):
                await phone.hear("BYE")
        finally:
            phone.close()
            other.close()

    trio.run(wait_in_vain)


def test_a_gateway_that_ends_badly_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that says it is ready, and then ends with another code than 0 when told to stop."""
    script = "import signal; print('ready sip=udp:127.0.0.1:5060 console=off', flush=True); signal.pause()"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "something broke" >&2\nexec {sys.executable} -c "{script}"\n')
    python.chmod(0o755)
    monkeypatch.setattr(gateway_process.sys, "executable", str(python))

    async def run() -> None:
        async with gateway_process.running_gateway(tmp_path / "gateway.toml") as port:
            assert port == 5060

    with pytest.raises(GatewayProcessError, match="the gateway did not end well: something broke"):
        trio.run(run)
