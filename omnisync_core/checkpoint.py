"""Bundles: one safetensors file with every network of an engine, its configuration and a digest of its tensors.

Keys carry the prefixes `dit. vae. whisper. text.`; the metadata holds `omnisync.config` (JSON) and `omnisync.digest`
(sha256 over the tensors' bytes in key order). Loading is strict: nothing missing, nothing unexpected, no NaN, and the
configuration is within `configuration.py`'s bounds before anything is built of it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .configuration import FORMAT, BadConfiguration, read_configuration
from .errors import CheckpointError
from .files import replacing

PARTS = ("dit", "vae", "whisper", "text")
KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)
LONGEST_NAME = 200


@dataclass(frozen=True)
class Bundle:
    """The tensors of a bundle by part, its configuration by part and its digest."""

    path: Path
    config: dict
    digest: str
    tensors: dict[str, dict[str, Tensor]]

    def load_into(self, part: str, module: nn.Module) -> nn.Module:
        """Copy a part's tensors into `module`, in the module's own type. CheckpointError names the first bad key."""
        load_strictly(module, self.tensors[part], f"{self.path} ({part})")
        return module


def read_bundle(path: str | PathLike) -> Bundle:
    """Read and verify a bundle."""
    path = Path(path)
    try:
        is_there = path.is_file()
    except OSError:  # a name that is too long
        is_there = False
    if not is_there:
        raise CheckpointError(f"no such model file: {path}; give a bundle made by `train` or leave --model out")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "omnisync.config" not in metadata:
                raise CheckpointError(f"{path} is not an OmniSync bundle: its metadata has no omnisync.config")
            config = _read_config(path, metadata["omnisync.config"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, struct.error, OSError, UnicodeError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error}); copy it again") from None
    parts = _parts(path, tensors)
    found = tensor_digest(tensors)
    if found != metadata.get("omnisync.digest"):
        raise CheckpointError(
            f"{path}: its tensors have digest {found[:12]}, its metadata says "
            f"{str(metadata.get('omnisync.digest'))[:12]}; the file was changed or damaged, copy or download it again"
        )
    return Bundle(path, config, found, parts)


def write_bundle(
    path: str | Path, modules: Mapping[str, nn.Module], config: dict, dtype: torch.dtype = torch.float16
) -> str:
    """Write modules by part with their configuration; returns the digest. Floating tensors are stored as `dtype`."""
    tensors = {
        f"{part}.{name}": (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu().clone()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    }
    _parts(path, tensors)
    digest = tensor_digest(tensors)
    text = json.dumps({"format": FORMAT, **config}, sort_keys=True)
    with replacing(path) as part:
        save_file(tensors, part, {"omnisync.config": text, "omnisync.digest": digest})
    return digest


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """`load_state_dict` with a one-line error that says what is missing, unexpected or of another shape."""
    check_strictly(module, tensors, name)
    module.load_state_dict(dict(tensors))


def check_strictly(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """CheckpointError in one line unless `tensors` are exactly what `module` holds, in name and shape."""
    expected = module.state_dict()
    missing = [key for key in expected if key not in tensors]
    unexpected = [key for key in tensors if key not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"{name}: {len(missing)} tensors are missing (first: {(missing or ['-'])[0]}) and {len(unexpected)} "
            f"unexpected (first: {(unexpected or ['-'])[0]}); the file belongs to another model"
        )
    for key, value in expected.items():
        if value.shape != tensors[key].shape:
            raise CheckpointError(f"{name}: {key} has shape {tuple(tensors[key].shape)}, expected {tuple(value.shape)}")


def fitting(module: nn.Module, tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors that `module` holds; others in the file are left alone. CheckpointError: missing, another shape."""
    wanted = module.state_dict()
    held = {key: value for key, value in tensors.items() if key in wanted}
    check_strictly(module, held, name)
    return held


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the tensors' raw bytes, keys in sorted order."""
    sha = hashlib.sha256()
    for key in sorted(tensors):
        sha.update(key.encode())
        sha.update(tensors[key].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def _read_config(path: Path, text: str) -> dict:
    try:
        return read_configuration(text)
    except BadConfiguration as error:
        raise CheckpointError(
            f"{path}: its omnisync.config describes no OmniSync model: {error}; "
            "it was made by another version, update the pack or download the model again"
        ) from None


def _parts(path: str | Path, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors by part and name; CheckpointError for a key of no part and for numbers that are none."""
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for key, value in tensors.items():
        part, _, name = key.partition(".")
        if part not in parts or not key.isprintable() or len(key) > LONGEST_NAME:
            key = key[:LONGEST_NAME]
            raise CheckpointError(f"{path} holds {key!r}; expected keys that begin with {', '.join(PARTS)}")
        if value.dtype not in KINDS:
            raise CheckpointError(f"{path}: {key} is of type {value.dtype}, expected numbers of 16 or 32 bits")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: {key} holds NaN or infinite numbers; train or download the model again")
        parts[part][name] = value
    return parts
