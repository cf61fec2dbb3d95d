"""Numbers as a trunk says them, to E.164 and back, as tables."""

from __future__ import annotations

import pytest

from gateway.config import parse as parse_config
from gateway.routing.numbers import Numbers
from gateway.routing.trunk import Trunk
from gateway.sip.message import Request, parse

TRUNK = '[[trunk]]\nname = "t"\nsource = ["192.0.2.2"]\n[trunk.numbers]\n'


def numbers(settings: str) -> Numbers:
    (trunk,) = parse_config(TRUNK + settings).trunks
    made = Trunk(trunk).numbers
    assert made is not None
    return made


def request(uri: str = "sip:1@h", headers: str = "", method: str = "INVITE") -> Request:
    lines = [f"{method} {uri} SIP/2.0", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "From: <sip:caller@h>;tag=1"]
    lines += ["To: <sip:callee@h>", "Call-ID: 1", f"CSeq: 1 {method}", *headers.split("\n"), "", ""]
    message = parse("\r\n".join(line for line in lines if line).encode() + b"\r\n\r\n")
    assert isinstance(message, Request)
    return message


def read(made: Numbers, uri: str) -> str:
    given = request(uri)
    return made.read(given, given.check())[1].raw.decode()


def written(made: Numbers, uri: str) -> str:
    given = request(uri)
    return made.write(given, given.check())[1].raw.decode()


READ = [
    ("GB", "02079460000", "+442079460000"),
    ("GB", "00442079460000", "+442079460000"),
    ("GB", "442079460000", "+442079460000"),
    ("GB", "+442079460000", "+442079460000"),
    ("GB", "+12155551212", "+12155551212"),
    ("GB", "07911123456", "+447911123456"),
    ("US", "2155551212", "+12155551212"),
    ("US", "12155551212", "+12155551212"),
    ("US", "011442079460000", "+442079460000"),
    ("DE", "030123456", "+4930123456"),
    ("DE", "004930123456", "+4930123456"),
    ("DE", "015123456789", "+4915123456789"),
    ("FR", "0145678901", "+33145678901"),
    ("FR", "0033145678901", "+33145678901"),
    ("IT", "0612345678", "+390612345678"),  # the zero belongs to the number there
]
LEFT = [
    ("GB", "112"), ("GB", "999"), ("GB", "101"), ("GB", "118500"), ("GB", "1001"), ("GB", "*97"),
    ("GB", "*21*5551234#"), ("GB", "#31#02079460000"), ("US", "911"), ("US", "411"), ("US", "5551212"),
    ("DE", "110"), ("DE", "115"), ("DE", "116117"), ("DE", "11880"), ("FR", "15"), ("FR", "3949"),
    ("GB", "alice"), ("GB", "bob.0207"), ("GB", "0" * 40), ("GB", "4" * 40), ("GB", "+"), ("GB", "+0000000"),
    ("GB", "%D9%A0%D9%A2%D9%A0%D9%A7%D9%A9%D9%A4%D9%A6%D9%A0%D9%A0%D9%A0%D9%A0"),  # Arabic digits
    ("GB", "%FF%FE020"), ("GB", "0207%0D%0A9460000"), ("GB", "02079460000x12"), ("GB", "anonymous"),
]  # fmt: skip


@pytest.mark.parametrize(("region", "said", "meant"), READ)
def test_a_national_number_is_read_as_e164(region: str, said: str, meant: str) -> None:
    assert read(numbers(f'region = "{region}"'), f"sip:{said}@h") == f"sip:{meant}@h"


@pytest.mark.parametrize(("region", "said"), LEFT)
def test_what_no_plan_has_stays_as_it_is(region: str, said: str) -> None:
    both_ways = numbers(f'region = "{region}"\nsend = "international"')
    assert read(both_ways, f"sip:{said}@h") == f"sip:{said}@h"
    assert written(both_ways, f"sip:{said}@h") == f"sip:{said}@h"


@pytest.mark.parametrize(
    ("region", "form", "number", "wanted"),
    [
        ("GB", "as-is", "02079460000", "02079460000"),
        ("GB", "e164", "02079460000", "+442079460000"),
        ("GB", "national", "+442079460000", "02079460000"),
        ("GB", "national", "+12155551212", "0012155551212"),
        ("GB", "international", "+442079460000", "00442079460000"),
        ("US", "national", "+12155551212", "2155551212"),
        ("US", "national", "+442079460000", "011442079460000"),
        ("US", "international", "+12155551212", "01112155551212"),
        ("DE", "national", "+4930123456", "030123456"),
        ("DE", "international", "+4930123456", "004930123456"),
        ("FR", "national", "+33145678901", "0145678901"),
        ("IT", "national", "+390612345678", "0612345678"),
        ("BR", "national", "+12155551212", "+12155551212"),  # a carrier's code would have to be chosen
    ],
)
def test_a_number_is_written_as_the_trunk_wants_it(region: str, form: str, number: str, wanted: str) -> None:
    assert written(numbers(f'region = "{region}"\nsend = "{form}"'), f"sip:{number}@h") == f"sip:{wanted}@h"


@pytest.mark.parametrize(("region", "said", "meant"), READ)
def test_what_is_written_nationally_is_read_as_the_same_number(region: str, said: str, meant: str) -> None:
    made = numbers(f'region = "{region}"\nsend = "national"')
    assert read(made, written(made, f"sip:{meant}@h")) == f"sip:{meant}@h"


def test_regular_expressions_come_before_the_plan_inwards_and_after_it_outwards() -> None:
    made = numbers(
        'region = "DE"\nsend = "national"\n'
        "called_in = [['^9(0.*)$', '\\1'], ['^9', 'never: the first that matches is the last tried']]\n"
        "called_out = [['^0', '70']]\n"
    )
    assert read(made, "sip:9030123456@h") == "sip:+4930123456@h"
    assert written(made, "sip:+4930123456@h") == "sip:7030123456@h"


def test_the_rest_of_a_uri_stays() -> None:
    made = numbers('region = "GB"')
    uri = "sip:0207-946.0000;npdi:secret@[2001:db8::1]:5070;user=phone;x=%41"
    assert read(made, uri) == "sip:+442079460000;npdi:secret@[2001:db8::1]:5070;user=phone;x=%41"
    assert read(made, "sips:020%37%39460000@h") == "sips:+442079460000@h"
    assert read(made, "sip:02079460000;phone-context=+44;a=b@h") == "sip:+442079460000;a=b@h"
    assert read(made, "tel:02079460000;phone-context=+44;npdi") == "tel:+442079460000;npdi"
    assert read(made, "sip:h") == "sip:h"
    assert read(numbers("called_in = [['1', 'a b@c']]"), "sip:1@h") == "sip:a%20b%40c@h"


HEADERS = """\
P-Asserted-Identity: "A, <B>" <sip:02079460000@h;x>;y=z,  <tel:02079460000;phone-context=+44>
P-Asserted-Identity: <tel:02079460000
Diversion: <sip:02079460000@h>;reason=unconditional
History-Info: <sip:02079460000@h>;index=1
Remote-Party-ID: bad bad
Subject: 02079460000"""


def test_called_and_caller_change_in_the_headers_that_name_them() -> None:
    made = numbers("called_in = [['callee', '1']]\ncaller_in = [['caller', '2']]\nregion = \"GB\"")
    given = request("sip:callee@h", HEADERS)
    uri = given.check()
    changed, changed_uri = made.read(given, uri)
    assert (changed.uri, changed_uri.raw) == (b"sip:1@h", b"sip:1@h")
    assert (changed.need(b"To"), changed.need(b"From")) == (b"<sip:1@h>", b"<sip:2@h>;tag=1")
    assert changed.lines(b"P-Asserted-Identity") == [
        b'P-Asserted-Identity: "A, <B>" <sip:+442079460000@h;x>;y=z, <tel:+442079460000>',
        b"P-Asserted-Identity: <tel:02079460000",  # what cannot be read stays
    ]
    assert changed.values(b"P-Asserted-Identity")[1] == b"<tel:02079460000"
    assert changed.need(b"Diversion") == b"<sip:+442079460000@h>;reason=unconditional"
    same = (b"Via", b"Call-ID", b"CSeq", b"History-Info", b"Remote-Party-ID", b"Subject")
    assert all(changed.lines(key) == given.lines(key) for key in same)
    assert given.need(b"To") == b"<sip:callee@h>"  # its own transaction answers with what came


def test_a_tel_uri_in_a_header_stays_global_3966_5_1_4() -> None:
    made = numbers('region = "GB"\nsend = "national"')
    given = request("tel:+442079460000", "P-Asserted-Identity: <tel:+442079460000>")
    changed, uri = made.write(given, given.check())
    assert uri.raw == b"tel:02079460000"  # which leaves as a sip URI
    assert changed.need(b"P-Asserted-Identity") == b"<tel:+442079460000>"


SIGNED = "Identity: e30..c2ln;info=<https://c.example/c>;alg=ES256"


def test_signed_numbers_stay_unless_asked_for_8224() -> None:
    given = request("sip:02079460000@h", SIGNED)
    uri = given.check()
    assert numbers('region = "GB"').read(given, uri) == (given, uri)
    asked = numbers('region = "GB"\nwith_identity = true')
    assert asked.read(given, uri)[0].uri == b"sip:+442079460000@h"


def test_addresses_of_record_are_no_calls_3261_10() -> None:
    given = request("sip:02079460000@h", method="REGISTER")
    assert numbers('region = "GB"').read(given, given.check())[0] is given


def test_a_request_without_numbers_to_change_is_the_very_same() -> None:
    given = request("sip:alice@h", "P-Asserted-Identity: <sip:bob@h>, <sip:carol@h>")
    assert numbers('region = "GB"').read(given, given.check())[0] is given


def test_what_is_remembered_is_bounded_and_long_numbers_are_not_looked_at() -> None:
    made = numbers("called_in = [['^5', '6']]")
    for number in range(5000):
        read(made, f"sip:{number}@h")
    assert made._called_in.cache_info().currsize <= 4096  # type: ignore[attr-defined]
    assert read(made, f"sip:{'5' * 64}@h") == f"sip:6{'5' * 63}@h"
    assert read(made, f"sip:{'5' * 65}@h") == f"sip:{'5' * 65}@h"
