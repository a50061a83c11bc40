"""Content Credentials (C2PA 2.x) by c2pa-python, an extra: sign a result, read what a file claims.

Nothing leaves the machine: no time stamp authority is asked, no remote manifest fetched. Format: c2pa.org,
specification 2.2, sections on actions and ingredients; as c2pa-rs 0.91 writes and reads them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from ..errors import InputError, OutputError
from ..files import replacing
from .tag import SOURCE_TYPE

FORMATS = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
"""Of results that can carry them."""
NAME = "OmniSync"
_SETTINGS = {"verify": {"remote_manifest_fetch": False}, "builder": {"thumbnail": {"enabled": False}}}


@dataclass(frozen=True)
class Claim:
    """What a file's Content Credentials say of it."""

    signer: str
    generator: str
    actions: tuple[str, ...]
    is_edited: bool
    """Whether they call it a composite with trained algorithmic media."""
    sources: tuple[str, ...]
    """Names of the ingredients."""
    is_intact: bool
    """Whether the file is as it was signed."""
    is_trusted: bool
    """Whether the signer is on a list that this machine trusts; without a list nobody is."""
    problem: str = ""


class DamagedClaimError(InputError):
    """A file has Content Credentials, but they cannot be read: it was changed or cut off after it was signed."""


class Signer:
    """A certificate and its key, tried once. InputError: not there, expired, not fitting, not for signing."""

    def __init__(self, certificate: str, key: str) -> None:
        self._c2pa = need_c2pa()
        self._certificate, self._key = certificate, key
        self._chain, secret = _pem(certificate, "certificate"), _pem(key, "key")
        self._secret, self._algorithm = secret, _algorithm(secret, key)
        self._try()

    def sign(self, path: Path, output: Path, source: Path | None, made_by: Mapping[str, Any]) -> None:
        """Sign the finished file at `path` in place; `output` is what it will be called. InputError, OutputError.

        The source is the parent ingredient, with the credentials it carries (None: it is not named); `made_by` tells
        engine and model.
        """
        try:
            with replacing(path) as signed, self._builder(output.name, source is not None, made_by) as builder:
                if source is not None:
                    _add_source(builder, source)
                with open(path, "rb") as file, open(signed, "w+b") as result:
                    builder.sign(self._signer(), FORMATS[output.suffix.lower()], file, result)
        except self._c2pa.C2paError as error:
            raise self._explained(error) from None
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None

    def _try(self) -> None:
        """Sign one pixel, so that what is wrong shows before the work."""
        created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        pixel = io.BytesIO(cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes())
        try:
            with self._c2pa.Builder(_definition("", [created]), _context(self._c2pa)) as builder:
                builder.sign(self._signer(), "image/png", pixel, io.BytesIO())
        except self._c2pa.C2paError as error:
            raise self._explained(error) from None

    def _builder(self, title: str, has_source: bool, made_by: Mapping[str, Any]) -> Any:
        edit = {
            "action": "c2pa.edited",
            "digitalSourceType": SOURCE_TYPE,
            "softwareAgent": {"name": NAME, "version": _version()},
            "description": "The mouth was synced to another sound.",
            "parameters": {f"com.omnisync.{name}": str(value) for name, value in made_by.items()},
        }
        created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}
        actions = [opened if has_source else created, edit]
        return self._c2pa.Builder(_definition(title, actions), _context(self._c2pa))

    def _signer(self) -> Any:
        info = self._c2pa.C2paSignerInfo(self._algorithm, self._chain, self._secret, None)
        return self._c2pa.Signer.from_info(info)

    def _explained(self, error: Exception) -> InputError:
        reason = " ".join(str(error).split())
        if "not valid at time" in reason:
            return InputError(f"the certificate {self._certificate} is not valid today: renew it")
        if "does not match" in reason:
            return InputError(f"the key {self._key} does not fit the certificate {self._certificate}")
        return InputError(f"cannot sign with {self._certificate} and {self._key}: {reason}")


def check_container(output: Path) -> None:
    """InputError where a result of that name cannot carry Content Credentials."""
    if output.suffix.lower() not in FORMATS:
        raise InputError(
            f"{output.name} cannot carry Content Credentials: take .mp4 or .mov, or leave the mark c2pa out"
        )


def read_claim(path: str | Path) -> Claim | None:
    """What a file's own credentials say, whatever its name; None where it has none (a re-muxed file has lost them).

    InputError: not there, no library. DamagedClaimError.
    """
    c2pa, path = need_c2pa(), Path(path)
    try:
        with open(path, "rb") as file:
            kind = _kind(file.read(12))
            if kind is None:
                return None
            file.seek(0)
            reader = c2pa.Reader.try_create(kind, file, context=_context(c2pa))
            if reader is None:
                return None
            with reader:
                manifests = json.loads(reader.json())
    except c2pa.C2paError as error:
        reason = " ".join(str(error).split()).rstrip(":")
        raise DamagedClaimError(
            f"there are some, but damaged ({reason}): the file was changed or cut off after it was signed"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return _claim(manifests)


def _kind(head: bytes) -> str | None:
    """Of a file by its first 12 bytes; None: it cannot carry credentials."""
    if head[4:8] != b"ftyp":
        return None
    return FORMATS[".mov" if head[8:] == b"qt  " else ".mp4"]


def need_c2pa() -> ModuleType:
    """The library. InputError where it is not installed."""
    try:
        import c2pa
    except ImportError:
        raise InputError(
            "Content Credentials need c2pa-python: pip install c2pa-python, or leave the mark c2pa out"
        ) from None
    return c2pa


def _add_source(builder: Any, source: Path) -> None:
    kind = FORMATS.get(source.suffix.lower(), "application/octet-stream")
    with open(source, "rb") as file:
        builder.add_ingredient({"title": source.name, "relationship": "parentOf", "label": "source"}, kind, file)


def _claim(store: Mapping[str, Any]) -> Claim:
    active = store["manifests"][store["active_manifest"]]
    lists = [part["data"]["actions"] for part in active.get("assertions", ()) if "c2pa.actions" in part["label"]]
    actions = [action for actions in lists for action in actions]
    failures = [
        failure
        for failure in store.get("validation_results", {}).get("activeManifest", {}).get("failure", ())
        if failure["code"] != "signingCredential.untrusted"
    ]
    signature, makers = active.get("signature_info", {}), active.get("claim_generator_info", [{}])
    return Claim(
        signer=signature.get("common_name") or signature.get("issuer") or "nobody named",
        generator=f"{makers[0].get('name', '?')} {makers[0].get('version', '')}".strip(),
        actions=tuple(action["action"] for action in actions),
        is_edited=any(action.get("digitalSourceType") == SOURCE_TYPE for action in actions),
        sources=tuple(part.get("title", "?") for part in active.get("ingredients", ())),
        is_intact=not failures,
        is_trusted=store.get("validation_state") == "Trusted",
        problem="; ".join(failure["code"] for failure in failures),
    )


def _definition(title: str, actions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "title": title,
        "claim_generator_info": [{"name": NAME, "version": _version()}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
    }


def _context(c2pa: ModuleType) -> Any:
    return c2pa.Context.from_dict(_SETTINGS)


def _version() -> str:
    try:
        return metadata.version("omnisync")
    except metadata.PackageNotFoundError:  # run from its folder
        return "0.1"


def _pem(path: str, what: str) -> bytes:
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the {what} {path}: {error.strerror}") from None
    if b"-----BEGIN" not in text:
        raise InputError(f"the {what} {path} is not PEM; expected text that begins with -----BEGIN")
    return text


def _algorithm(secret: bytes, path: str) -> str:
    """What the specification calls the key's kind of signature."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    try:
        key = serialization.load_pem_private_key(secret, password=None)
    except TypeError:
        raise InputError(f"the key {path} has a password: save it without one, where only you can read it") from None
    except ValueError:
        raise InputError(f"{path} is no private key; give the one that belongs to the certificate") from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise InputError(f"the key {path} is of a kind that C2PA does not know: take P-256, P-384, P-521, RSA or Ed25519")


_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
