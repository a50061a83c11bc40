"""A start from public weights: HuMo 1.7B's published keys as the keys of our `base` transformer.

HuMo is Wan 2.1 1.3B with speech cross-attention. Its layers are ours under the switches of `HUMO`; three things differ
and are converted here: HuMo's rotary pairs are neighbours (ours are halves of a head), its input has no source
channels (ours start at zero), its speech features are Whisper's, 8 x 5 per latent frame.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import CheckpointError
from .dit import DiTConfig

HUMO = DiTConfig(
    width=1536, depth=30, heads=12, ffn_width=8960, speech_dim=1280, speech_tokens=10, text_dim=4096, speech_width=1536,
    speech_hidden=512, speech_context=16, norm="layer", text_first=True,
)  # fmt: skip
"""`base` with LayerNorm and text before speech. 10 x 1280 features a video frame are HuMo's 8 x 5 a latent frame."""

_TOP = {
    "patch_embedding": "patch_embedding",
    "text_embedding": "text_embedding",
    "time_embedding": "time_embedding",
    "time_projection": "time_projection",
    "head.head": "head.out",
    "head.modulation": "head.modulation",
    "audio_proj.audio_proj_glob_1.layer": "speech_projection.inner",
    "audio_proj.audio_proj_glob_2.layer": "speech_projection.middle",
    "audio_proj.audio_proj_glob_3.layer": "speech_projection.outer",
    "audio_proj.audio_proj_glob_norm.layer": "speech_projection.norm",
}
_BLOCK = {
    "modulation": "modulation",
    "self_attn": "self_attention",
    "cross_attn": "text_attention",
    "norm3": "norm_text",
    "audio_cross_attn_wrapper.audio_cross_attn": "speech_attention",
    "audio_cross_attn_wrapper.norm1_audio": "norm_speech",
    "ffn": "ffn",
}
_ROTATED = ("self_attention.q.", "self_attention.k.", "self_attention.norm_q.", "self_attention.norm_k.")


def rename(key: str) -> str:
    """Our name of one of HuMo's keys; CheckpointError for a key of none of its modules."""
    if ours := _renamed(key, _TOP, _BLOCK):
        return ours
    raise CheckpointError(f"{key!r} is no key of HuMo 1.7B; expected its published transformer")


def original(name: str) -> str:
    """HuMo's name of one of our layers or tensors: `rename` the other way round."""
    if theirs := _renamed(name, *({ours: theirs for theirs, ours in table.items()} for table in (_TOP, _BLOCK))):
        return theirs
    raise ValueError(f"{name!r} is no part of the transformer")


def original_pairs(pairs: Mapping[str, tuple[Tensor, Tensor]], heads: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Low-rank additions (A, B) to our layers as additions to HuMo's own."""
    return {
        original(layer): (inner, _halves_to_pairs(outer, heads) if f"{layer}.".endswith(_ROTATED) else outer)
        for layer, (inner, outer) in pairs.items()
    }


def convert(tensors: Mapping[str, Tensor], config: DiTConfig = HUMO) -> dict[str, Tensor]:
    """A state dict for `DiT(config)`; works on the meta device as well."""
    converted = {}
    for key, value in tensors.items():
        name = rename(key)
        if any(part in name for part in _ROTATED):
            value = _pairs_to_halves(value, config.heads)
        if name == "patch_embedding.weight":
            value = torch.cat([value, value.new_zeros(value.shape[0], config.source_channels, *value.shape[2:])], 1)
        converted[name] = value
    return converted


def _renamed(name: str, top: Mapping[str, str], block: Mapping[str, str]) -> str | None:
    """By a table for what stands in a block and one for the rest; None: it is in neither."""
    head, table, rest = "", top, name
    if name.startswith("blocks."):
        _, index, rest = name.split(".", 2)
        head, table = f"blocks.{index}.", block
    for before, after in table.items():
        if rest == before or rest.startswith(before + "."):
            return head + after + rest[len(before) :]
    return None


def _pairs_to_halves(value: Tensor, heads: int) -> Tensor:
    """Rows (d0, d1, d2, d3, ...) of every head to (d0, d2, ..., d1, d3, ...)."""
    pairs = value.unflatten(0, (heads, -1, 2))
    return pairs.transpose(1, 2).flatten(0, 2)


def _halves_to_pairs(value: Tensor, heads: int) -> Tensor:
    halves = value.unflatten(0, (heads, 2, -1))
    return halves.transpose(1, 2).flatten(0, 2).contiguous()
