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
    if _is_program(path):
        raise CheckpointError(f"{path} is a TorchScript program, which is not run; give the file of its weights alone")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        # Only its first sentence: torch goes on to advise what would run code from the file.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0]
        raise CheckpointError(f"{path} is damaged or holds more than tensors ({reason}); download it again") from None
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds {type(content).__name__}, expected a dictionary of tensors")
    return content


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


class Shapes:
    """Shapes of a state dict, by the names of its tensors; `wrong` and `remedy` are said where one is missing."""

    def __init__(self, state_dict: Mapping[str, Tensor], wrong: str, remedy: str) -> None:
        self.known = {key: tuple(value.shape) for key, value in state_dict.items()}
        self._wrong, self._remedy = wrong, remedy
        self._below: dict[str, set[str]] = {}
        for key in self.known:
            parts = key.split(".")
            for i in range(1, len(parts)):
                self._below.setdefault(".".join(parts[:i]), set()).add(parts[i])

    def __getitem__(self, key: str) -> tuple[int, ...]:
        if key not in self.known:
            raise CheckpointError(f"{self._wrong}: it has no tensor {key}; {self._remedy}")
        return self.known[key]

    def __contains__(self, prefix: str) -> bool:
        """Whether any name lies below a prefix."""
        return prefix in self._below

    def count(self, prefix: str) -> int:
        """One more than the highest number below a prefix."""
        return 1 + max((int(name) for name in self._below.get(prefix, ()) if name.isdecimal()), default=-1)


def tensors_of(content: Mapping[str, Any], inside: str, path: Any) -> dict[str, Tensor]:
    """The state dict itself, which published files keep under a name of their own. CheckpointError: there is none."""
    state = content.get(inside, content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no state dict; expected tensors by name, or a dictionary with {inside!r}")
    return dict(state)
