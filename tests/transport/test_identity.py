"""Whom a certificate speaks for (RFC 5922 7)."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.transport.identity import names_of


def certificate(*alternatives: tuple[str, str], common_name: str = "cn.example") -> dict[str, Any]:
    """As ssl shows one."""
    shown: dict[str, Any] = {"subject": ((("organizationName", "O"),), (("commonName", common_name),))}
    if alternatives:
        shown["subjectAltName"] = alternatives
    return shown


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        (None, set()),
        ({}, set()),  # not verified
        (certificate(("URI", "sip:Example.com")), {"example.com"}),
        (certificate(("URI", "sip:example.com"), ("DNS", "sbc.example.com")), {"example.com"}),  # URIs first
        (certificate(("DNS", "a.example."), ("DNS", "B.example")), {"a.example", "b.example"}),
        (certificate(("URI", "sip:joe@example.com"), ("DNS", "a.example")), {"a.example"}),  # not a domain's
        (certificate(("URI", "sips:example.com"), ("DNS", "a.example")), {"a.example"}),
        (certificate(("URI", "https://example.com"), ("DNS", "a.example")), {"a.example"}),
        (certificate(("URI", "sip:example.com:5061;transport=tls")), {"example.com"}),
        (certificate(("DNS", "*.example.com")), set()),  # 7.2: no wildcards
        (certificate(), {"cn.example"}),
        (certificate(common_name="*.example"), set()),
        (certificate(("email", "joe@example.com")), set()),  # an alternative name of any kind bars the CN
        (certificate(("IP Address", "192.0.2.1")), {"192.0.2.1"}),
        (certificate(("IP Address", "2001:DB8:0:0:0:0:0:1")), {"2001:db8::1"}),
        (certificate(("IP Address", "192.0.2.1"), ("DNS", "a.example")), {"192.0.2.1", "a.example"}),
        (certificate(("URI", "sip:example.com"), ("IP Address", "192.0.2.1")), {"example.com", "192.0.2.1"}),
    ],
)
def test_a_certificate_speaks_for_these_and_nobody_else(shown: Any, names: set[str]) -> None:
    assert names_of(shown) == names
