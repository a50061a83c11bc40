"""The frozen networks around the transformer, each from a bundle or from the file it is published in."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...checkpoint import Bundle, read_bundle, tensor_digest
from ...engines.omnisync import vae_config
from ...errors import CheckpointError
from ...models.text import TextEncoder, load_text
from ...models.vae import VideoVAE
from ...models.wan_vae import build_vae, read_wan_vae
from ...models.whisper import WhisperEncoder, read_whisper
from .start import is_bundle


def open_vae(path: str) -> VideoVAE:
    """Float32, frozen. CheckpointError: neither a bundle nor Wan 2.1's VAE."""
    if not is_bundle(Path(path)):
        return read_wan_vae(path)
    bundle = _bundle(path)
    return _frozen(bundle.load_into("vae", build_vae(vae_config(bundle))))


def open_whisper(path: str) -> WhisperEncoder:
    """Of a bundle, or of any size from its public file."""
    if not is_bundle(Path(path)):
        return _frozen(read_whisper(path))
    bundle = _bundle(path)
    return _frozen(bundle.load_into("whisper", WhisperEncoder(bundle.config["whisper"])))


def open_text(path: str) -> TextEncoder:
    """Of a bundle, or from a folder as transformers writes it."""
    if not is_bundle(Path(path)):
        return _frozen(load_text(path))
    bundle = _bundle(path)
    return _frozen(bundle.load_into("text", TextEncoder(bundle.config["text"])))


def text_width(path: str) -> int:
    """Of a text encoder's features, without its weights. CheckpointError: there is none."""
    if is_bundle(Path(path)):
        return _bundle(path).config["text"]["d_model"]
    try:
        return json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))["d_model"]
    except (OSError, ValueError, KeyError):
        raise CheckpointError(f"no text encoder at {path}; expected a bundle or a folder with config.json") from None


def digest_of(network: Any) -> str:
    return tensor_digest(network.state_dict())


def _frozen(network: Any) -> Any:
    return network.float().eval().requires_grad_(False)


@lru_cache(maxsize=2)
def _bundle(path: str) -> Bundle:
    return read_bundle(path)
