"""Model files as they are published: safetensors, or torch's own with nothing but tensors in them."""

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

from ..errors import CheckpointError


def read_content(path: Path) -> Mapping[str, Any]:
    """What a file holds; nothing in it is run. CheckpointError: not there, damaged, or more than tensors."""
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


def tensors_of(content: Mapping[str, Any], inside: str, path: Any) -> dict[str, Tensor]:
    """The state dict itself, which published files keep under a name of their own. CheckpointError: there is none."""
    state = content.get(inside, content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict; expected tensors by name, or a dictionary with {inside!r}")
    return dict(state)
