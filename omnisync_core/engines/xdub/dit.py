"""X-Dub's transformer: Wan 2.2 5B that is shown the source's latents before the noisy ones, in one sequence.

Names are the official checkpoint's. Shapes: B clips; latents BCfHW, h = H / 2, w = W / 2, L = hw tokens a frame; the
sequence is (B, 2 f L, D): the source's frames at timestep 0, then the target's. Text and sound are read by the target
alone, and a latent frame hears only its own P features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...checkpoint import check_strictly
from ...errors import InputError
from ...models.diffusers_parts import Maker
from ...models.dit import CrossAttention, unpatchify
from ...models.dit import SelfAttention as HalvesAttention
from ...models.layers import Attention, attend, rope_table, rotate_pairs, timestep_embedding, two_layers
from .audio_embedding import AudioEmbedding
from .config import XDubConfig, read_config

PATCH = (1, 2, 2)


def load_dit(
    state_dict: Mapping[str, Tensor],
    *,
    heads: int | None = None,
    audio_heads: int | None = None,
    device: Any = None,
    dtype: torch.dtype | None = None,
    operations: Any = nn,
    attention: Attention = attend,
) -> XDubDiT:
    """The transformer that a state dict in the official names belongs to, with its weights.

    heads, audio_heads: where they are not as wide as in the published file. dtype: of the weights, None = float32.
    Nothing may be missing, unexpected or of another shape: CheckpointError. Meta tensors give a module without storage.
    """
    config = read_config(state_dict, heads, audio_heads)
    network = XDubDiT(config, device="meta", dtype=dtype, operations=operations, attention=attention)
    check_strictly(network, state_dict, "the X-Dub transformer")
    kind = dtype or torch.float32
    placed = {key: value.to(value.device if value.is_meta else device, kind) for key, value in state_dict.items()}
    network.load_state_dict(placed, assign=True)
    return network.eval().requires_grad_(False)


class XDubDiT(nn.Module):
    """Velocity eps - x0 of the target."""

    def __init__(
        self,
        config: XDubConfig,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
        operations: Any = nn,
        attention: Attention = attend,
    ) -> None:
        super().__init__()
        self.config, self.dtype = config, dtype or torch.float32
        make, width = {"device": device, "dtype": dtype}, config.width
        self.patch_embedding = operations.Conv3d(config.latent_channels, width, PATCH, PATCH, **make)
        self.text_embedding = two_layers(config.text_dim, width, width, nn.GELU("tanh"), make, operations)
        self.time_embedding = two_layers(config.frequency_dim, width, width, nn.SiLU(), make, operations)
        self.time_projection = nn.Sequential(nn.SiLU(), operations.Linear(width, 6 * width, **make))
        self.audio_embedding = AudioEmbedding(config, Maker(operations, make, attention, config.audio_heads))
        self.blocks = nn.ModuleList(Block(config, make, operations, attention) for _ in range(config.depth))
        self.head = Head(config, make, operations)

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor,
        *,
        ref_latents: Tensor,
        context: Tensor,
        audio_feats: Tensor,
        motion_frames: int = 0,
        hints: dict | None = None,
    ) -> Tensor:
        """latents, ref_latents BCfHW; timestep (B,) = 1000 sigma; context (B, M, text); audio_feats (B, f, P, sound).

        The first `motion_frames` latent frames of the target are finished: they are at timestep 0. `hints` go to every
        call of the injected attention by name. InputError: shapes that do not fit.
        """
        self._check(latents, ref_latents, context, audio_feats, motion_frames)
        hints = hints or {}
        frames, height, width = latents.shape[2], latents.shape[3] // PATCH[1], latents.shape[4] // PATCH[2]
        grid = (frames, height, width)
        x = self.patch_embedding(torch.cat([ref_latents, latents], 2)).flatten(2).transpose(1, 2)
        time_B2D = self._time(timestep, x.dtype)
        modulation = self.time_projection(time_B2D).unflatten(2, (6, -1))
        at_level = torch.arange(2 * frames, device=x.device) >= frames + motion_frames
        levels_F = at_level.long()
        text = self.text_embedding(context.to(x.dtype))
        audio = self.audio_embedding(audio_feats.to(x.dtype), hints)
        rope = self._rope(grid, x.device)
        for block in self.blocks:
            x = block(x, modulation, levels_F, rope, text, audio, hints)
        target = x[:, x.shape[1] // 2 :]
        return unpatchify(self.head(target, time_B2D, levels_F[frames:]), grid, PATCH)

    def _time(self, timestep: Tensor, dtype: torch.dtype) -> Tensor:
        """Embeddings (B, 2, D) of timestep 0 and of the given one: the sequence knows no others."""
        exact = torch.float32 if timestep.device.type == "mps" else torch.float64
        both = torch.stack([torch.zeros_like(timestep), timestep], 1).flatten()
        waves = timestep_embedding(both, self.config.frequency_dim, exact).to(dtype)
        return self.time_embedding(waves).unflatten(0, (-1, 2))

    def _rope(self, grid: tuple[int, int, int], device: torch.device) -> Tensor:
        """Source and target stand at the same times, the source one grid further down and to the right."""
        channels = self.config.width // self.config.heads
        moved = rope_table(grid, channels, device, start=(0, *grid[1:]))
        return torch.cat([moved, rope_table(grid, channels, device)], 1)

    def _check(
        self, latents: Tensor, ref_latents: Tensor, context: Tensor, audio_feats: Tensor, motion_frames: int
    ) -> None:
        sizes = self.config
        video = latents.ndim == 5 and latents.shape[1] == sizes.latent_channels
        if not video or any(side % 2 for side in latents.shape[3:]):
            raise InputError(
                f"X-Dub takes latents (B, {sizes.latent_channels}, f, H, W) with even H and W, got "
                f"{tuple(latents.shape)}; its autoencoder is Wan 2.2's"
            )
        if ref_latents.shape != latents.shape:
            raise InputError(
                f"the source's latents must be as large as the target's: {tuple(ref_latents.shape)} beside "
                f"{tuple(latents.shape)}"
            )
        if context.shape[-1] != sizes.text_dim:
            raise InputError(f"X-Dub reads text of width {sizes.text_dim} (umT5-XXL), got {context.shape[-1]}")
        batch, frames = latents.shape[0], latents.shape[2]
        if audio_feats.shape[:2] != (batch, frames) or audio_feats.shape[3:] != (sizes.audio_dim,):
            raise InputError(
                f"X-Dub takes sound ({batch}, {frames}, P, {sizes.audio_dim}), got {tuple(audio_feats.shape)}"
            )
        if audio_feats.shape[2] > sizes.audio_positions:
            raise InputError(f"a frame hears at most {sizes.audio_positions} features, got {audio_feats.shape[2]}")
        if not 0 <= motion_frames <= frames:
            raise InputError(f"motion_frames must be within 0..{frames}, got {motion_frames}")


class SelfAttention(HalvesAttention):
    """Wan's: neighbouring channels are a pair."""

    turn = staticmethod(rotate_pairs)


class Block(nn.Module):
    """Self-attention over source and target; text, then sound, into the target; feed-forward over both.

    The timestep shifts, scales and gates by latent frame: one number for all tokens of a frame, and but two kinds of
    frames, where the official program holds three copies by token.
    """

    def __init__(self, config: XDubConfig, make: dict, operations: Any, attention: Attention) -> None:
        super().__init__()
        width, parts = config.width, (config.width, config.width, config.heads, make, operations, attention)
        self.norm1 = layer_norm(width, make, operations, affine=False)
        self.self_attn = SelfAttention(*parts)
        self.norm3 = layer_norm(width, make, operations, affine=True)
        self.cross_attn = CrossAttention(*parts)
        self.norm4 = layer_norm(width, make, operations, affine=True)
        self.audio_attn = CrossAttention(*parts)
        self.norm2 = layer_norm(width, make, operations, affine=False)
        self.ffn = two_layers(width, config.ffn_width, width, nn.GELU("tanh"), make, operations)
        self.modulation = nn.Parameter(torch.zeros(1, 6, width, **make))

    def forward(
        self, x: Tensor, modulation_B26D: Tensor, levels_F: Tensor, rope: Tensor, text: Tensor, audio_BfPD: Tensor,
        hints: dict,
    ) -> Tensor:  # fmt: skip
        """`levels_F`: which of the two timesteps each latent frame is at."""
        levels = (self.modulation.to(modulation_B26D) + modulation_B26D)[:, levels_F].unbind(2)
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = levels
        x = x + by_frame(self.self_attn(modulate(self.norm1(x), shift_a, scale_a), rope, hints), gate_a)
        source, target = x.chunk(2, 1)
        target = target + self.cross_attn(self.norm3(target), text, hints)
        target = target + self._listen(target, audio_BfPD, hints)
        x = torch.cat([source, target], 1)
        return x + by_frame(self.ffn(modulate(self.norm2(x), shift_f, scale_f)), gate_f)

    def _listen(self, target: Tensor, audio_BfPD: Tensor, hints: dict) -> Tensor:
        """Each latent frame attends to its own features."""
        frames = audio_BfPD.shape[1]
        tokens = self.norm4(target).unflatten(1, (frames, -1)).flatten(0, 1)
        heard = self.audio_attn(tokens, audio_BfPD.flatten(0, 1), hints)
        return heard.unflatten(0, (-1, frames)).flatten(1, 2)


class Head(nn.Module):
    """The target's tokens to latent patches."""

    def __init__(self, config: XDubConfig, make: dict, operations: Any) -> None:
        super().__init__()
        outputs = PATCH[0] * PATCH[1] * PATCH[2] * config.latent_channels
        self.norm = layer_norm(config.width, make, operations, affine=False)
        self.head = operations.Linear(config.width, outputs, **make)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.width, **make))

    def forward(self, x: Tensor, time_B2D: Tensor, levels_F: Tensor) -> Tensor:
        levels = self.modulation.to(time_B2D)[:, None] + time_B2D[:, :, None]
        shift, scale = levels[:, levels_F].unbind(2)
        return self.head(modulate(self.norm(x), shift, scale))


def layer_norm(width: int, make: dict, operations: Any, *, affine: bool) -> nn.Module:
    return operations.LayerNorm(width, eps=1e-6, elementwise_affine=affine, **make)


def modulate(x: Tensor, shift_BFD: Tensor, scale_BFD: Tensor) -> Tensor:
    """x (B, F * L, D) scaled and shifted by latent frame."""
    frames = x.unflatten(1, (shift_BFD.shape[1], -1))
    return (frames * (1 + scale_BFD[:, :, None]) + shift_BFD[:, :, None]).flatten(1, 2)


def by_frame(x: Tensor, gate_BFD: Tensor) -> Tensor:
    """x (B, F * L, D) times a gate by latent frame."""
    return (x.unflatten(1, (gate_BFD.shape[1], -1)) * gate_BFD[:, :, None]).flatten(1, 2)
