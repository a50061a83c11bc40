"""The published transformer, and the one text it was made for: the empty prompt, kept as its single row."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...errors import CheckpointError
from ...files import replacing
from ...models.published import read_content, tensors_of

TEXT_ROWS = 512
"""Rows of text that the network reads, without a mask; those after the prompt's are zero, and are read as well."""
PROMPT_FILE = "xdub_empty_prompt.safetensors"
PROMPT_KEY = "empty_prompt"


def read_dit(path: str | Path) -> dict[str, Tensor]:
    """The tensors of `X-Dub_model.safetensors` under their own names. CheckpointError: damaged, or no state dict."""
    return tensors_of(read_content(Path(path)), "state_dict", path)


def read_prompt(path: str | Path) -> Tensor:
    """The empty prompt's row (1, text) as `write_prompt` keeps it. CheckpointError: another file."""
    row = read_content(Path(path)).get(PROMPT_KEY)
    if not isinstance(row, Tensor) or row.ndim != 2 or len(row) != 1 or not torch.isfinite(row).all():
        raise CheckpointError(f"{path} holds no {PROMPT_KEY} of one row; delete it, it is made again from umT5-XXL")
    return row.float()


def write_prompt(path: str | Path, context_MD: Tensor) -> Tensor:
    """Keep what umT5-XXL makes of "": its first row, all others being zero. Returns the row (1, text).

    CheckpointError: other rows are not zero, so that it was another text or another encoder.
    """
    row, rest = context_MD[:1].float().cpu(), context_MD[1:]
    if rest.abs().sum() > 0 or not torch.isfinite(row).all() or not row.abs().sum() > 0:
        raise CheckpointError(
            "this CLIP makes more than one row of an empty prompt; X-Dub was made for umt5_xxl, loaded with type wan"
        )
    with replacing(path) as part:
        save_file({PROMPT_KEY: row.contiguous()}, part)
    return row


def context_of(row_1D: Tensor) -> Tensor:
    """The empty prompt as the network reads it: (1, 512, text)."""
    return torch.cat([row_1D, row_1D.new_zeros(TEXT_ROWS - len(row_1D), row_1D.shape[1])])[None]
