"""What tells two models apart, for the state of a job that is resumed."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

SAMPLES = 4096
"""Numbers of each tensor that are read: a checkpoint of 20 GB is told apart in seconds."""


def model_digest(patcher) -> str:
    """sha256 over names, shapes, types and a regular sample of a patcher's weights, and over all its patches.

    The same whether the host has merged the patches into loaded weights or not. A digest known of the file says
    nothing of the type that its weights are kept in (fp8 and bfloat16 may compute in the same type): that counts too.
    """
    known = getattr(patcher.model, "digest", None)
    sha = hashlib.sha256(str((known, patcher.model_dtype())).encode())
    if known is None:
        weights = {**_weights(patcher), **{key: kept.weight for key, kept in patcher.backup.items()}}
        for key in sorted(weights):
            _update(sha, [key, tuple(weights[key].shape), str(weights[key].dtype), _sample(weights[key])])
    for key in sorted(patcher.patches, key=str):
        _update(sha, [str(key), patcher.patches[key]])
    return sha.hexdigest()


def _weights(patcher) -> dict[str, Tensor]:
    """By name. ComfyUI-GGUF's layers tell the host nothing but sizes: theirs are taken from the layers themselves."""
    state, held = patcher.model_state_dict(), dict(patcher.model.named_parameters())
    empty = {key for key, value in state.items() if value.is_meta}
    return {key: held[key] if key in empty else value for key, value in state.items() if key not in empty - held.keys()}


def digest(tensor: Tensor) -> str:
    """sha256 of a tensor."""
    sha = hashlib.sha256()
    _update(sha, tensor)
    return sha.hexdigest()


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLES)].float()


def _update(sha, value) -> None:
    """Feed numbers, names and tensors in any nesting to a hash."""
    if isinstance(value, Tensor):
        sha.update(str((value.dtype, tuple(value.shape))).encode())
        sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, list | tuple):
        for part in value:
            _update(sha, part)
    elif hasattr(value, "weights"):  # a weight adapter of the host (LoRA, LoHa, ...)
        _update(sha, [type(value).__name__, value.weights])
    else:
        sha.update(getattr(value, "__qualname__", repr(value)).encode())
