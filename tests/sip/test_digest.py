"""Digest credentials: the vectors of the RFCs, the choice among challenges, and hostile ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sip import digest
from gateway.sip.digest import MAX_REALMS, Account, Challenge, Session, parse_challenges
from gateway.sip.headers import parse_auth, quote
from gateway.sip.message import Response, parse

NONCE = b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
OPAQUE = b"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def challenged(*lines: str, status: int = 401) -> Response:
    """A response with these header lines."""
    head = [f"SIP/2.0 {status} No", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "CSeq: 1 INVITE", *lines]
    response = parse("\r\n".join([*head, "", ""]).encode())
    assert isinstance(response, Response)
    return response


def only(*lines: str) -> Challenge:
    """The one challenge among these lines that is answered."""
    (challenge,) = parse_challenges(challenged(*lines))
    return challenge


def wanted(parameters: str) -> Challenge:
    """What WWW-Authenticate with these parameters asks for."""
    return only(f'WWW-Authenticate: Digest realm="r", nonce="n", {parameters}')


def response_of(line: bytes) -> bytes:
    """The response parameter of a credentials line."""
    return parse_auth(line.partition(b":")[2].strip()).params[b"response"]


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        (b"MD5", b"8ca523f5e9506fed4657c9700eebdbec"),
        (b"SHA-256", b"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_md5_and_sha_256_give_the_responses_of_rfc_7616_3_9_1(algorithm: bytes, response: bytes) -> None:
    realm = b"http-auth@example.org"
    challenge = Challenge(b"Authorization", realm, NONCE, OPAQUE, algorithm, b"auth", False, False)
    line = Session(challenge, b"Mufasa", b"Circle of Life", CNONCE).line(b"GET", b"/dir/index.html", b"")
    assert line == (
        b'Authorization: Digest username="Mufasa", realm="http-auth@example.org", nonce="%b",'
        b' uri="/dir/index.html", response="%b", algorithm=%b, opaque="%b", qop=auth, nc=00000001,'
        b' cnonce="%b"\r\n' % (NONCE, response, algorithm, OPAQUE, CNONCE)
    )


def test_sha_512_256_with_userhash_gives_the_response_of_rfc_7616_3_9_2_as_erratum_4897_has_it() -> None:
    challenge = Challenge(
        b"Authorization",
        b"api@example.org",
        b"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK",
        b"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS",
        b"SHA-512-256",
        b"auth",
        False,
        True,
    )
    cnonce = b"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
    session = Session(challenge, "Jäsøn Doe".encode(), b"Secret, or not?", cnonce)
    line = session.line(b"GET", b"/doe.json", b"")
    user = b"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"
    assert b'username="%b"' % user in line
    assert line.endswith(b", userhash=true\r\n")
    assert response_of(line) == b"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"


def test_md5_gives_the_response_of_rfc_2617_3_5() -> None:
    challenge = only(
        'WWW-Authenticate: Digest realm="testrealm@host.com", qop="auth,auth-int",'
        ' nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    line = Session(challenge, b"Mufasa", b"Circle Of Life", b"0a4f113b").line(b"GET", b"/dir/index.html", b"")
    assert response_of(line) == b"6629fae49393a05397450978507c4ef1"
    assert b"algorithm" not in line  # the peer named none


def test_without_qop_the_response_is_that_of_rfc_2069_and_names_no_cnonce() -> None:
    challenge = only('WWW-Authenticate: Digest realm="testrealm@host.com", nonce="dcd98b71"')
    line = Session(challenge, b"Mufasa", b"CircleOfLife", b"c").line(b"GET", b"/dir/index.html", b"")
    h = digest.ALGORITHMS[b"md5"]
    secret, asked = h(b"Mufasa:testrealm@host.com:CircleOfLife"), h(b"GET:/dir/index.html")
    assert response_of(line) == h(secret + b":dcd98b71:" + asked)
    assert not {b"cnonce", b"nc", b"qop"} & set(parse_auth(line.partition(b":")[2].strip()).params)


def test_each_use_of_a_nonce_counts_and_keeps_the_cnonce_7616_3_4() -> None:
    session = Session(wanted('qop="auth"'), b"u", b"p", b"c1")
    lines = [session.line(b"BYE", b"sip:h", b"") for _ in range(3)]
    counts = [parse_auth(line.partition(b":")[2].strip()).params[b"nc"] for line in lines]
    assert counts == [b"00000001", b"00000002", b"00000003"]
    assert len({response_of(line) for line in lines}) == 3
    assert all(b'cnonce="c1"' in line for line in lines)


def test_auth_is_preferred_and_auth_int_covers_the_body_7616_3_4_3() -> None:
    assert wanted('qop="auth-int , AUTH"').qop == b"auth"
    challenge = wanted('qop="auth-int", algorithm=sha-256')
    h = digest.ALGORITHMS[b"sha-256"]
    line = Session(challenge, b"u", b"p", b"c").line(b"INVITE", b"sip:h", b"v=0")
    asked = h(b"INVITE:sip:h:" + h(b"v=0"))
    assert response_of(line) == h(h(b"u:r:p") + b":n:00000001:c:auth-int:" + asked)
    other = Session(challenge, b"u", b"p", b"c").line(b"INVITE", b"sip:h", b"v=1")
    assert response_of(other) != response_of(line)


@pytest.mark.parametrize("algorithm", [b"MD5-sess", b"SHA-256-sess", b"SHA-512-256-SESS"])
def test_the_sess_variants_bind_the_secret_to_nonce_and_cnonce_7616_3_4_2(algorithm: bytes) -> None:
    challenge = wanted(f'qop="auth", algorithm={algorithm.decode()}')
    h = digest.ALGORITHMS[algorithm.lower().removesuffix(b"-sess")]
    session = Session(challenge, b"u", b"p", b"c")
    session.line(b"BYE", b"sip:h", b"")
    secret = h(h(b"u:r:p") + b":n:c")
    second = session.line(b"BYE", b"sip:h", b"")
    assert response_of(second) == h(secret + b":n:00000002:c:auth:" + h(b"BYE:sip:h"))
    assert b"algorithm=" + algorithm in second


def test_quotes_and_backslashes_are_escaped_again_3261_25_1() -> None:
    challenge = only(r'WWW-Authenticate: Digest realm="a \"b\" \\c", nonce="n\"1", opaque=""')
    assert (challenge.realm, challenge.nonce, challenge.opaque) == (b'a "b" \\c', b'n"1', b"")
    line = Session(challenge, b'o"neil', b"p", b"c").line(b"BYE", b'sip:h?x="', b"")
    params = parse_auth(line.partition(b":")[2].strip()).params
    assert (params[b"realm"], params[b"nonce"]) == (challenge.realm, challenge.nonce)
    assert (params[b"username"], params[b"uri"], params[b"opaque"]) == (b'o"neil', b'sip:h?x="', b"")


# -- which challenge is answered -------------------------------------------------------------------------


def test_the_topmost_challenge_that_we_can_answer_is_answered_8760_2_4() -> None:
    challenge = only(
        'WWW-Authenticate: Bearer realm="r"',
        'WWW-Authenticate: Digest realm="r", nonce="1", algorithm=SHA3-512, qop="auth"',
        'WWW-Authenticate: Digest realm="r", nonce="2", algorithm=SHA-512-256, qop="auth-conf"',
        'WWW-Authenticate: Digest realm="r", nonce="3", algorithm="SHA-256", qop="auth", stale=TRUE',
        'WWW-Authenticate: Digest realm="r", nonce="4", algorithm=MD5, qop="auth"',
    )
    assert (challenge.nonce, challenge.algorithm, challenge.stale) == (b"3", b"SHA-256", True)


def test_an_algorithm_that_this_machine_lacks_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(digest.ALGORITHMS, b"sha-512-256")
    challenge = only(
        'WWW-Authenticate: Digest realm="r", nonce="1", algorithm=SHA-512-256, qop="auth"',
        'WWW-Authenticate: Digest realm="r", nonce="2", algorithm=MD5, qop="auth"',
    )
    assert challenge.nonce == b"2"
    assert digest._hash("no such thing") is None


def test_each_realm_is_answered_and_proxies_apart_from_peers_3261_22_3() -> None:
    challenges = parse_challenges(
        challenged(
            'Proxy-Authenticate: Digest realm="a", nonce="1"',
            'WWW-Authenticate: Digest realm="a", nonce="2"',
            'Proxy-Authenticate: Digest realm="b", nonce="3"',
            'Proxy-Authenticate: Digest realm="b", nonce="4"',
            status=407,
        )
    )
    assert [(c.header, c.realm, c.nonce) for c in challenges] == [
        (b"Authorization", b"a", b"2"),
        (b"Proxy-Authorization", b"a", b"1"),
        (b"Proxy-Authorization", b"b", b"3"),
    ]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Digest ",
        'Basic realm="r"',
        'Digest nonce="n"',
        'Digest realm="r"',
        'Digest realm="r, nonce="n"',
        'Digest realm="r", nonce="n", algorithm=',
        'Digest realm="r", nonce="n", algorithm=MD5-sess',  # has no cnonce without qop
        'Digest realm="r", nonce="n", qop="token"',
        'Digest realm="r", nonce="' + "n" * 1025 + '"',
        'Digest realm="' + "r" * 1025 + '", nonce="n"',
        'Digest realm="r", nonce="n", opaque="' + "o" * 1025 + '"',
    ],
)
def test_a_challenge_that_cannot_be_answered_is_passed_over(value: str) -> None:
    assert parse_challenges(challenged(f"WWW-Authenticate: {value}")) == []


def test_a_flood_of_challenges_is_bounded() -> None:
    flood = [f'Proxy-Authenticate: Digest realm="{n}", nonce="n"' for n in range(200)]
    assert len(parse_challenges(challenged(*flood))) == MAX_REALMS
    late = ["Proxy-Authenticate: Bearer x"] * 16
    assert parse_challenges(challenged(*late, flood[0])) == []


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_whatever_a_challenge_holds_the_credentials_are_one_line_that_reads_back(
    realm: bytes, tail: bytes
) -> None:
    realm = realm.translate(None, b"\r\n").strip()
    tail = tail.translate(None, b"\r\n")
    value = b"Digest realm=" + quote(realm) + b', nonce="n",' + tail
    response = Response(401, b"", [], {b"WWW-Authenticate": value})
    for challenge in parse_challenges(response):
        line = Session(challenge, b"u", b"p", b"c").line(b"BYE", b"sip:h", b"")
        assert line.count(b"\n") == line.count(b"\r") == 1
        assert parse_auth(line.partition(b":")[2].strip()).params[b"realm"] == challenge.realm


@given(st.lists(st.binary(max_size=120), max_size=3))
def test_no_bytes_in_a_challenge_raise_anything(values: list[bytes]) -> None:
    head = b"SIP/2.0 401 No\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
    lines = [b"WWW-Authenticate: Digest " + value.translate(None, b"\r\n") + b"\r\n" for value in values]
    response = parse(head + b"".join(lines) + b"\r\n")
    assert isinstance(response, Response)
    for challenge in parse_challenges(response):
        Session(challenge, b"u", b"p", b"c").line(b"BYE", b"sip:h", b"")


def test_a_password_of_any_bytes_serves_as_the_environment_holds_it() -> None:
    account = Account("u", b"\xff\xe9".decode("utf-8", "surrogateescape"))
    challenge = wanted('qop="auth"')
    line = account.answer(challenge, b"c").line(b"BYE", b"sip:h", b"")
    assert line == Session(challenge, b"u", b"\xff\xe9", b"c").line(b"BYE", b"sip:h", b"")


# -- the account ---------------------------------------------------------------------------------------------


def test_an_account_remembers_a_few_realms_and_shows_no_password() -> None:
    account = Account("gw", "hunter2")
    for number in range(20):
        challenge = only(f'WWW-Authenticate: Digest realm="{number}", nonce="n"')
        session = account.answer(challenge, b"c")
        assert b"hunter2" not in session.line(b"BYE", b"sip:h", b"")
        assert "hunter2" not in repr((account, session, challenge))
    assert list(account.sessions) == [(b"Authorization", b"%d" % number) for number in range(16, 20)]
