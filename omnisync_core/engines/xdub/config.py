"""What an X-Dub transformer looks like, read from the names and shapes of its tensors.

Only the numbers of heads are not in there: a head is 128 wide, one of the sound's 64, in the published file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...errors import CheckpointError
from ...models.published import Shapes

HEAD_WIDTH, AUDIO_HEAD_WIDTH = 128, 64
FILE = "X-Dub_model.safetensors of KlingTeam/X-Dub"


@dataclass(frozen=True)
class XDubConfig:
    """Sizes of the transformer, and of the small one before it that brings the sound to its width."""

    width: int
    depth: int
    heads: int
    ffn_width: int
    latent_channels: int
    text_dim: int
    frequency_dim: int
    audio_dim: int
    """Width of the sound's features, Whisper's and wav2vec2's together."""
    audio_width: int
    audio_depth: int
    audio_heads: int
    audio_positions: int
    """Features of a latent frame for which there is a place."""


def read_config(
    state_dict: Mapping[str, Tensor], heads: int | None = None, audio_heads: int | None = None
) -> XDubConfig:
    """The configuration that a state dict in the official names belongs to. CheckpointError: it is no X-Dub."""
    _check_kind(state_dict)
    shapes = Shapes(state_dict, "the X-Dub file is not whole", f"download {FILE} again")
    width, channels = shapes["patch_embedding.weight"][:2]
    audio_width, audio_dim = shapes["audio_embedding.proj_in.weight"]
    config = XDubConfig(
        width=width,
        depth=shapes.count("blocks"),
        heads=heads or max(1, width // HEAD_WIDTH),
        ffn_width=shapes["blocks.0.ffn.0.weight"][0],
        latent_channels=channels,
        text_dim=shapes["text_embedding.0.weight"][1],
        frequency_dim=shapes["time_embedding.0.weight"][1],
        audio_dim=audio_dim,
        audio_width=audio_width,
        audio_depth=shapes.count("audio_embedding.layers"),
        audio_heads=audio_heads or max(1, audio_width // AUDIO_HEAD_WIDTH),
        audio_positions=shapes["audio_embedding.layers.0.pos_embed.pe"][1],
    )
    for name, size, count in (("width", width, config.heads), ("sound's width", audio_width, config.audio_heads)):
        if size % count or (name == "width" and size // count % 2):
            raise CheckpointError(f"the X-Dub file's {name} {size} cannot be divided into {count} heads: say how many")
    return config


def hears(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether names are X-Dub's, beside those of the Wan that it was made of."""
    return "audio_embedding.proj_in.weight" in state_dict and "blocks.0.audio_attn.q.weight" in state_dict


def _check_kind(state_dict: Mapping[str, Tensor]) -> None:
    """Says what a file is that is none of X-Dub's."""
    if hears(state_dict):
        return
    kind = "this is another model"
    if "head.modulation" in state_dict and "blocks.0.self_attn.q.weight" in state_dict:
        kind = "this is a Wan model that hears nothing"
    raise CheckpointError(f"{kind}, not X-Dub's transformer; load {FILE}")
