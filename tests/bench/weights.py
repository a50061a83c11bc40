"""Weights by rule, so that numbers made elsewhere with the same rule can be compared."""

import zlib

import numpy as np
import torch


def by_rule(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """A tensor a key, random by the key's name; norms near 1, so that nothing fades or explodes."""
    tensors = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            values = np.zeros(shape, np.int64)
        elif key.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif key.endswith("weight") and len(shape) > 1:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            values = rng.normal(1.0 if key.endswith("weight") else 0.0, 0.1, shape)
        tensors[key] = torch.from_numpy(np.asarray(values)).to(
            torch.int64 if key.endswith("tracked") else torch.float32
        )
    return tensors
