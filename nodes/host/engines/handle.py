"""What every kind of ENGINE checks of the host's models, and says of them.

An ENGINE is a frozen dataclass, small in itself. `get_models` gives the patchers of all models in use, which the host
counts; `open` the core's `Engine`, once a job while its node runs. All that it loads goes through the host.
"""

from __future__ import annotations

from contextlib import suppress
from inspect import isfunction
from typing import Any

import torch
from torch import Tensor

from ....omnisync_core.errors import InputError
from ..digest import digest
from ..encoders import AudioEncoder

PLAIN = (str, int, float, bool, type(None))


def check_vae(vae, remedy: str, **wanted: int) -> None:
    """InputError unless a VAE's latents have these `channels`, `dimensions`, or `frames` and `pixels` a position."""
    if vae is None:
        raise InputError(f"there is no VAE, and the model needs a VAE; {remedy}")
    readers = {
        "channels": lambda: getattr(vae, "latent_channels", None),
        "dimensions": lambda: getattr(vae, "latent_dim", None),
        "frames": lambda: vae.temporal_compression_decode(),
        "pixels": lambda: vae.spacial_compression_decode(),
    }
    found = {name: readers[name]() for name in wanted}
    if found != wanted:
        has, needs = (", ".join(f"{value} {name}" for name, value in sizes.items()) for sizes in (found, wanted))
        raise InputError(f"this VAE has latents of {has}; the model needs {needs}: {remedy}")


def check_kind(patcher, kind: type, wanted: str, remedy: str, hint: str = "") -> None:
    """InputError unless a MODEL is of a kind; `hint` says more of what it is."""
    found = getattr(patcher, "model", None)
    if not isinstance(found, kind):
        raise InputError(f"the MODEL is {type(found).__name__}{hint}, not {wanted}; {remedy}")


def check_own_encoder(encoder, remedy: str) -> None:
    """InputError unless an AUDIO_ENCODER is one of this pack."""
    if not isinstance(encoder, AudioEncoder):
        found = "none" if encoder is None else type(encoder).__name__
        raise InputError(f"the audio encoder is {found}; {remedy}")


def model_options(patcher) -> Any:
    """What is set on a MODEL beside its patches (EasyCache, wrappers, replaced parts), as plain values."""
    return _plain({**patcher.model_options, "replaced": patcher.object_patches})


def _plain(value: Any) -> Any:
    """Anything as plain values, the same in every session; of a function also the numbers that it encloses."""
    if isinstance(value, Tensor):
        return digest(value)
    if isinstance(value, dict):
        entries = {str(key): _plain(entry) for key, entry in value.items()}
        return {key: entry for key, entry in entries.items() if entry not in ({}, [], None)}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, torch.dtype):
        return str(value)
    if hasattr(value, "__qualname__"):
        enclosed = _enclosed(value)
        return [value.__qualname__, enclosed] if enclosed else value.__qualname__
    kept = getattr(value, "__dict__", {})
    return [type(value).__name__, {key: kept[key] for key in kept if isinstance(kept[key], PLAIN[:4])}]


def _enclosed(function: Any) -> dict:
    """Plain values of a function's closure by name: a strength that a node's patch was made with."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True) if isfunction(function) else ()
    kept = {}
    for name, cell in cells:
        with suppress(ValueError):  # nothing is in it yet
            if isinstance(cell.cell_contents, PLAIN):
                kept[name] = cell.cell_contents
    return kept
