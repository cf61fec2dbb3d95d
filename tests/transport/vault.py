"""A CA of the tests' own, and what it signs."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterable
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509 import (
    CertificateBuilder,
    Name,
    NameAttribute,
    UnrecognizedExtension,
    load_pem_x509_certificate,
    random_serial_number,
)
from cryptography.x509.oid import ExtensionOID, NameOID

from .station import config_text


class Vault:
    """A CA, and the files of certificates that it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(self.ca_file)

    def sign(self, name: str, *identities: str, common_name: str | None = None) -> tuple[Path, Path]:
        """Write a certificate for these identities, and its key."""
        return self.write(name, self.ca.issue_cert(*identities, common_name=common_name))

    def write(self, name: str, leaf: trustme.LeafCert) -> tuple[Path, Path]:
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        leaf.private_key_pem.write_to_path(key)
        cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        return cert, key

    def server(self, *identities: str, ask: bool = False, expired: bool = False) -> ssl.SSLContext:
        """What a peer that listens answers with; `ask`: for a certificate, too."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue(identities, expired).configure_cert(context)
        if ask:
            context.verify_mode = ssl.CERT_REQUIRED
            self.ca.configure_trust(context)
        return context

    def client(self, *identities: str, expired: bool = False) -> ssl.SSLContext:
        """What a peer that connects uses, with a certificate if it has identities."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if identities:
            self.issue(identities, expired).configure_cert(context)
        return context

    def issue(self, identities: Iterable[str], expired: bool) -> trustme.LeafCert:
        """A certificate that counts, or did until yesterday."""
        if not expired:
            return self.ca.issue_cert(*identities)
        now = datetime.datetime.now(datetime.UTC)
        days = datetime.timedelta(days=1)
        return self.ca.issue_cert(*identities, not_before=now - 9 * days, not_after=now - days)

    def nameless(self, common_name: str) -> ssl.SSLContext:
        """What a peer that connects uses, with a certificate whose DNS name is no text."""
        issuer = load_pem_x509_certificate(self.ca.cert_pem.bytes())
        signer = load_pem_private_key(self.ca.private_key_pem.bytes(), None)
        assert isinstance(signer, EllipticCurvePrivateKey)
        key = generate_private_key(SECP256R1())
        names = b"\x30\x04\x82\x02\xff\xfe"
        now = datetime.datetime.now(datetime.UTC)
        cert = (
            CertificateBuilder()
            .subject_name(Name([NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, names), False)
            .sign(signer, SHA256())
        )
        file = self.folder / "nameless.pem"
        file.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + cert.public_bytes(Encoding.PEM)
        )
        context = self.client()
        context.load_cert_chain(file)
        return context

    def text(self, port: int = 9, *, target: str = "", carrier: str = "", more: str = "") -> str:
        """A configuration with a tls: listener, and a carrier that is met over TLS."""
        cert, key = self.sign("gw", "gw.example")
        return config_text(
            target or f'"sips:127.0.0.3:{port}"',
            '"tcp:127.0.0.1:0", "tls:127.0.0.1:0"',
            f'tls_cert = "{cert}"\ntls_key = "{key}"\n{more}',
            f'tls_ca = "{self.ca_file}"\n{carrier}',
        )
