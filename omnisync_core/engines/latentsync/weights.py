"""The published files: `latentsync_unet.pt` and Whisper's `tiny.pt`, or safetensors copies of them."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ...errors import CheckpointError
from ...models.whisper import WhisperEncoder, build_whisper


def read_unet(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a UNet under their own names. CheckpointError: damaged, or no state dict."""
    return _tensors(_read(Path(path)), "state_dict", path)


def read_whisper(path: str | Path) -> WhisperEncoder:
    """The encoder of a Whisper in OpenAI's or transformers' naming. CheckpointError: damaged, or no Whisper."""
    content = _read(Path(path))
    sizes = content.get("dims")
    heads = sizes.get("n_audio_head") if isinstance(sizes, Mapping) else None
    return build_whisper(_tensors(content, "model_state_dict", path), str(path), heads)


def _read(path: Path) -> Mapping[str, Any]:
    """A file's content; nothing in it is run."""
    if not path.is_file():
        raise CheckpointError(f"no such model file: {path}; download it or say where it is")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged or no safetensors file ({error}); copy it again") from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path} is damaged or holds more than tensors ({reason}); download it again") from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected a dictionary of tensors")
    return content


def _tensors(content: Mapping[str, Any], inside: str, path: str | Path) -> dict[str, Tensor]:
    """The state dict itself, which published files keep under a name of their own."""
    state = content.get(inside, content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict; expected tensors by name, or a dictionary with {inside!r}")
    return dict(state)
