"""Which marks a result gets."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError

KINDS = {
    "tag": "a note in the file's metadata",
    "c2pa": "signed Content Credentials, by your certificate",
    "watermark": "a faint change all over the edited frames, which outlives encoders",
}
CORNERS = ("bottom-right", "bottom-left", "top-right", "top-left")
CERTIFICATE, KEY = "OMNISYNC_C2PA_CERTIFICATE", "OMNISYNC_C2PA_KEY"
WEIGHTS = "OMNISYNC_WATERMARK"
"""Environment variables that name the files."""


@dataclass(frozen=True)
class Marks:
    """By default the tag alone. Only a result with edited frames is marked."""

    kinds: tuple[str, ...] = ("tag",)
    """Of `KINDS`; none: not marked."""
    certificate: str | None = None
    """PEM file of the certificate chain, leaf first; None: what the environment names."""
    key: str | None = None
    """PEM file of its private key, without a password."""
    weights: str | None = None
    """Weight file of a learned watermark; None: what the environment names; with neither the pattern is the mark."""
    label: str = ""
    """Shown in every frame; empty: none."""
    corner: str = CORNERS[0]
    opacity: float = 0.7

    def __post_init__(self) -> None:
        wrong = [kind for kind in self.kinds if kind not in KINDS]
        if wrong:
            raise InputError(f"a mark must be one of {', '.join(KINDS)}, got {', '.join(map(repr, wrong))}")
        if self.weights and "watermark" not in self.kinds:
            raise InputError("weights of a watermark are given, but no watermark is asked for: add it to the marks")
        if self.corner not in CORNERS:
            raise InputError(f"the label's corner must be one of {', '.join(CORNERS)}, got {self.corner!r}")
        if not 0 < self.opacity <= 1:
            raise InputError(f"the label's opacity must be above 0 and at most 1, got {self.opacity}")
        if len(self.label) > 60 or not all(" " <= letter <= "~" for letter in self.label):
            raise InputError(f"the label must be at most 60 letters of ASCII, got {self.label!r}")

    @classmethod
    def of(cls, text: str, **settings: Any) -> Marks:
        """By the kinds' names with commas between, or `none`. InputError."""
        return cls(() if text == "none" else tuple(text.split(",")), **settings)

    @property
    def credentials(self) -> tuple[str, str] | None:
        """The files of certificate and key; None where there are none. InputError: one without the other."""
        certificate = self.certificate or os.environ.get(CERTIFICATE)
        key = self.key or os.environ.get(KEY)
        if bool(certificate) != bool(key):
            have, lack = ("certificate", "key") if certificate else ("key", "certificate")
            raise InputError(f"Content Credentials need a certificate and its key: there is a {have}, but no {lack}")
        return (certificate, key) if certificate and key else None

    @property
    def watermark(self) -> str | None:
        """The weight file of the watermark; None where there is none, or none is asked for."""
        return (self.weights or weights_named()) if "watermark" in self.kinds else None

    def anywhere(self) -> Marks:
        """The same for a process elsewhere: the files by their whole names, also those that this environment names."""
        certificate, key = (self.credentials or (None, None)) if self.signs else (self.certificate, self.key)
        weights = self.watermark or self.weights
        return replace(self, certificate=_whole(certificate), key=_whole(key), weights=_whole(weights))

    @property
    def signs(self) -> bool:
        """Whether Content Credentials are asked for and can be made. InputError as `credentials`."""
        return "c2pa" in self.kinds and self.credentials is not None


def _whole(file: str | None) -> str | None:
    return os.path.abspath(file) if file else file


def weights_named() -> str | None:
    """The weight file of a watermark that the environment names."""
    return os.environ.get(WEIGHTS) or None
