"""The published file `latentsync_unet.pt`, or a safetensors copy of it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ...models.published import read_content, tensors_of


def read_unet(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a UNet under their own names. CheckpointError: damaged, or no state dict."""
    return tensors_of(read_content(Path(path)), "state_dict", path)
