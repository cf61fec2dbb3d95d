"""Whom a certificate speaks for, as RFC 5922 reads it.

A SIP domain certificate names its domain by a URI ``sip:DOMAIN`` among its subjectAltNames; where it has no
such URI its DNS names count, and only where it has no subjectAltName at all its common name does (7.1).
Names are compared whole: a wildcard matches nothing (7.2). An address is matched by an iPAddress.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.addresses import parse_ip


def names_of(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Return the domains and IP addresses that a verified certificate speaks for, in lower case.

    ``certificate`` is what :meth:`ssl.SSLObject.getpeercert` returns: None or empty when there is none, or
    when it was not verified, and then it speaks for nobody.
    """
    if not certificate:
        return frozenset()
    alternatives = certificate.get("subjectAltName", ())
    names = {domain for kind, value in alternatives if kind == "URI" for domain in _uri_domain(value)}
    if not names:
        names = {normalized(value) for kind, value in alternatives if kind == "DNS"}
    if not alternatives:
        names = {normalized(name) for name in _common_names(certificate)}
    names |= {normalized(value) for kind, value in alternatives if kind == "IP Address"}
    return frozenset(name for name in names if name and "*" not in name)


def normalized(name: str) -> str:
    """Return a domain or an IP address in the spelling in which two of them are compared."""
    address = parse_ip(name.strip())
    return name.strip().rstrip(".").lower() if address is None else str(address)


def _uri_domain(uri: str) -> Iterator[str]:
    """Yield the domain of a URI identity: scheme sip, no user part (7.1)."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "sip" and "@" not in rest:
        host = rest.partition(";")[0].partition("?")[0]
        yield normalized(host.partition(":")[0] if not host.startswith("[") else host.strip("[]"))


def _common_names(certificate: Mapping[str, Any]) -> Iterator[str]:
    for attributes in certificate.get("subject", ()):
        for name, value in attributes:
            if name == "commonName":
                yield value
