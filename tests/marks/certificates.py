"""Certificates of a test authority that nobody trusts, made for one test."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def write_pair(folder: Path, name: str = "leaf", days: tuple[int, int] = (-1, 30)) -> dict[str, str]:
    """A certificate chain and its key as PEM files, valid within `days` from now; as options of `Marks`."""
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _builder("Authority", "Authority", authority, days)
    root = root.add_extension(x509.BasicConstraints(True, None), True).add_extension(_usage(signs_others=True), True)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), False)
    leaf = _builder("Test Studio", "Authority", own, days)
    leaf = leaf.add_extension(x509.BasicConstraints(False, None), True).add_extension(_usage(), True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False)
    pem = serialization.Encoding.PEM
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    chain = [part.sign(authority, hashes.SHA256()).public_bytes(pem) for part in (leaf, root)]
    certificate.write_bytes(b"".join(chain))
    key.write_bytes(own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return {"certificate": str(certificate), "key": str(key)}


def _builder(subject: str, issuer: str, key, days: tuple[int, int]) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    first, last = (now + datetime.timedelta(days=count) for count in days)
    builder = x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(first).not_valid_after(last)


def _name(common: str) -> x509.Name:
    parts = ((NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, common))
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])


def _usage(signs_others: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(True, False, False, False, False, signs_others, signs_others, False, False)
