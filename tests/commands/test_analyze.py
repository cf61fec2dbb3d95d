"""`gateway analyze`: what people and programs get, and what damaged files do."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.captures.pcap import Datagram
from gateway.commands.analyze import analyze
from tests.analysis.scene import CARRIER, PBX, Scene
from tests.analysis.test_rejections import cancelled, ringing_fork
from tests.captures.writer import pcap, pcap_of, pcapng, tcp
from tests.commands.conftest import Place


def one_device() -> list[Datagram]:
    scene = Scene()
    up, (first, *others) = ringing_fork(scene)
    first.rejected("603 Decline")
    cancelled(*others)
    up.rejected("603 Decline")
    return scene.messages()


def clean() -> list[Datagram]:
    scene = Scene()
    call = scene.invite(PBX, CARRIER)
    call.says("100 Trying")
    call.rejected("486 Busy Here")
    return scene.messages()


def test_a_clean_capture_gives_nothing_and_exit_code_0(place: Place) -> None:
    assert place.run(analyze, place.write("clean.pcap", pcap(clean()))) == 0
    span = "2027-01-15 08:00:00.005 to 2027-01-15 08:01:00.020 UTC"
    assert place.out == f"5 SIP messages, 1 leg of calls, {span}: nothing found\n"
    assert place.err == ""


def test_a_finding_is_told_with_evidence_remedy_and_rule(place: Place) -> None:
    assert place.run(analyze, place.write("one.pcapng", pcapng(one_device()))) == 1
    lines = [" ".join(line.split()) for line in place.out.splitlines()]
    assert lines[0] == "One device's 603 stopped all others [603-for-one-device]"
    assert lines[2] == "198.51.100.11:5060: once, likely"
    assert (
        "#10 2027-01-15 08:00:03.050 198.51.100.11:5060 198.51.100.2:5060 603 Decline (ends the hunt)"
        in lines
    )
    assert "Call-ID call-1@x" in lines
    assert 'name = "one-device-declined"' in lines
    assert lines[-1].endswith(": 1 finding of 1 kind")


def test_the_same_call_over_tcp_gives_the_same(place: Place) -> None:
    sent: dict[object, int] = {}
    packets = []
    for each in one_device():
        ends = each.source, each.destination
        at = sent.setdefault(ends, 1000)
        sent[ends] = at + len(each.payload)
        packets += [
            (each.at, tcp(*ends, at + begin, each.payload[begin : begin + 200]))
            for begin in range(0, len(each.payload), 200)
        ]
    assert place.run(analyze, place.write("one.pcap", pcap_of(packets)), json=True) == 1
    assert [each["finding"] for each in place.json["findings"]] == ["603-for-one-device"]


def test_on_a_terminal_a_bar_shows_how_far_it_has_come(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.write("clean.pcap", pcap(clean()))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert place.run(analyze, path) == 0
    assert "reading" in place.err
    assert "nothing found" in place.out


def test_json_says_the_same(place: Place) -> None:
    assert place.run(analyze, place.write("one.pcap", pcap(one_device())), json=True) == 1
    (finding,) = place.json["findings"]
    assert (finding["finding"], finding["sure"], finding["count"]) == ("603-for-one-device", "likely", 1)
    assert finding["rule"].startswith("[[rule]]")
    (example,) = finding["examples"]
    assert example["calls"] == ["call-1@x"]
    assert [each["packet"] for each in example["evidence"]] == [3, 10, 13, 16]
    assert place.json["files"] == [{"file": "one.pcap", "packets": 20, "cut_off": False}]


def test_ladders_show_the_call_and_what_matters_in_it(place: Place) -> None:
    assert place.run(analyze, place.write("one.pcap", pcap(one_device())), ladders=True) == 1
    assert "◆ ends the hunt" in place.out
    assert re.search(r"◀─+ 603 Decline ─+", place.out)


def test_the_page_is_complete_in_itself(place: Place) -> None:
    path = place.write("one.pcap", pcap(one_device()))
    assert place.run(analyze, path, html=Path("page.html")) == 1
    page = (place.path / "page.html").read_text()
    assert "One device&#x27;s 603 stopped all others" in page
    assert page.count("<svg") == 1
    assert not re.search(r"(src|href)=\"(?!#)", page), "nothing is loaded from elsewhere"
    assert "<script" not in page
    ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])


def test_what_peers_wrote_cannot_break_out_of_the_page_or_the_terminal(place: Place) -> None:
    scene = Scene()
    scene.invite(PBX, CARRIER, "<script>").rejected('603 <script>\x1b[31m"', "Reason: Q.850;cause=1")
    path = place.write("evil.pcap", pcap(scene.messages()))
    assert place.run(analyze, path, html=Path("page.html")) == 1
    assert "<script" not in (place.path / "page.html").read_text()
    assert "\x1b" not in place.out + (place.path / "page.html").read_text()


def test_two_captures_are_one_trace(place: Place) -> None:
    scene = Scene()
    up = scene.invite()
    up.says("100 Trying")
    down = up.leg(CARRIER, "X-CID: call-1@x")
    down.rejected("607 Unwanted")
    up.rejected("600 Busy Everywhere")
    ends = [[each for each in scene.messages() if (CARRIER in each[1:3]) is side] for side in (False, True)]
    paths = [place.write(f"{number}.pcap", pcap(end)) for number, end in enumerate(ends)]
    assert place.run(analyze, *paths) == 1
    assert "607-taken-for-600" in place.out
    assert "1.pcap #2" in place.out


@pytest.mark.parametrize("form", [pcap, pcapng])
@pytest.mark.parametrize("size", [4, 12, 24, 30, 60, 100])
def test_a_file_that_ends_before_its_first_packet_is_one_sentence(
    place: Place, form: object, size: int
) -> None:
    data = form(clean())[:size]  # type: ignore[operator]
    assert place.run(analyze, place.write("short.pcap", data)) == 2
    assert place.out == ""
    assert re.fullmatch(r"short\.pcap: no packet can be read, it [^\n]+; capture again\n", place.err)


def test_a_file_that_was_cut_off_is_analysed_as_far_as_it_goes(place: Place) -> None:
    data = pcap(one_device())
    assert place.run(analyze, place.write("cut.pcap", data[:-20])) == 1
    assert place.err == ("cut.pcap: ends in the middle of packet 20; what was before it was analysed\n")
    assert "603-for-one-device" in place.out


def test_a_file_out_of_order_is_put_in_order(place: Place) -> None:
    packets = one_device()
    Random(1).shuffle(packets)
    assert place.run(analyze, place.write("mixed.pcap", pcap(packets)), json=True) == 1
    assert [each["finding"] for each in place.json["findings"]] == ["603-for-one-device"]
    assert re.fullmatch(r"mixed.pcap: \d+ messages were not in the order of time, .*", place.json["notes"][0])


@pytest.mark.parametrize("data", [b"", b"hello", bytes(5000), Random(1).randbytes(5000)])
def test_what_is_no_capture_is_one_sentence(place: Place, data: bytes) -> None:
    assert place.run(analyze, place.write("noise", data)) == 2
    assert place.err == "noise: this is no capture; give a pcap or pcapng file\n"


def test_a_missing_file_and_a_page_that_cannot_be_written(place: Place) -> None:
    assert place.run(analyze, Path("missing.pcap")) == 2
    assert place.err == "missing.pcap: cannot be read: no such file or directory\n"
    path = place.write("clean.pcap", pcap(clean()))
    assert place.run(analyze, path, html=Path("no/page.html")) == 2
    assert place.err == "no/page.html: cannot be written: no such file or directory\n"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_gives_findings_or_a_sentence_and_never_a_traceback(place: Place, data: st.DataObject) -> None:
    whole = bytearray(data.draw(st.sampled_from([pcap, pcapng]))(one_device()))
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(whole) - 1))
        what = data.draw(st.sampled_from(["byte", "cut", "copy"]))
        if what == "byte":
            whole[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del whole[at : at + data.draw(st.integers(1, 400))]
        else:
            whole[at:at] = whole[: data.draw(st.integers(1, 400))]
        whole = whole or bytearray(1)
    code = place.run(analyze, place.write("damaged.pcap", bytes(whole)), html=Path("page.html"), ladders=True)
    assert code in (0, 1, 2)
    assert "Traceback" not in place.err
    assert (code == 2) == (place.out == "")
