"""What weights can be kept in: the names that nodes offer."""

from __future__ import annotations

import torch

from ...omnisync_core.errors import InputError

WEIGHT_DTYPES = {
    "default": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "fp8_e4m3fn": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
}


def chosen_dtype(weight_dtype: str) -> torch.dtype | None:
    """What the weights are kept in; None leaves it to the host. InputError: another name."""
    if weight_dtype not in WEIGHT_DTYPES:
        raise InputError(f"weight_dtype must be one of {', '.join(WEIGHT_DTYPES)}, got {weight_dtype!r}")
    return WEIGHT_DTYPES[weight_dtype]
