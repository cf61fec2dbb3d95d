"""Until when a certificate of ours is valid, so that somebody hears of it before peers refuse it.

The standard library reads the certificates of peers only. So one is shown to ourselves, in memory, by a
handshake that trusts just that certificate.
"""

from __future__ import annotations

import ssl
from pathlib import Path

SOON = 14 * 86_400.0
"""Seconds before its end from which a certificate is worth a word."""
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_ROUNDS = 4  # of a handshake in memory; it takes two


def trouble(shown: ssl.SSLContext, cert: Path, now: float) -> str:
    """Return what is wrong with the time of the certificate that ``shown`` shows, whose file is ``cert``, at
    ``now`` in seconds since the epoch; "" when nothing is, or when it cannot be told.
    """
    try:
        ends = _end_of(shown, cert)
    except ssl.SSLCertVerificationError as error:
        return "has expired" if error.verify_code == _EXPIRED else ""
    except (OSError, ValueError):
        return ""
    left = ends - now
    return f"expires in {left / 86_400:.0f} days" if left < SOON else ""


def _end_of(shown: ssl.SSLContext, cert: Path) -> float:
    """Return when the certificate ends, in seconds since the epoch. Raises OSError, ssl.SSLError and
    ValueError where that cannot be told, ssl.SSLCertVerificationError where it is over.
    """
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(cert)
    forth, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [trusting.wrap_bio(back, forth), shown.wrap_bio(forth, back, server_side=True)]
    for _ in range(_ROUNDS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    told = ends[0].getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(told.get("notAfter"))))
