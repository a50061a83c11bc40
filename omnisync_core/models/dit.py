"""The diffusion transformer: full 3D self-attention over video latents, cross-attention to speech and to text.

Shapes: latents BCthw; speech_BTND (T video frames, N tokens a frame, D features); text_BLD; tokens BLD with
L = t * h/2 * w/2. A latent frame hears the speech of its own video frames: frame 0 alone (repeated), then fours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from .layers import Attention, attend, rope_table, rotate, timestep_embedding, two_layers

COARSE = 0.8
"""Noise levels above decide where the lips are, those below how they look."""


@dataclass(frozen=True)
class DiTConfig:
    """Sizes and switches. The switches other than the default make HuMo's published weights fit (`models/humo.py`)."""

    width: int
    depth: int
    heads: int
    ffn_width: int
    speech_dim: int
    text_dim: int
    speech_tokens: int = 4
    """Feature vectors per video frame."""
    speech_width: int | None = None
    """Width of a speech token after projection; None = `width`."""
    speech_hidden: int = 512
    speech_context: int = 16
    """Tokens per latent frame after projection."""
    latent_channels: int = 16
    source_channels: int = 16
    frequency_dim: int = 256
    norm: str = "rms"
    text_first: bool = False
    residual_std: float | None = None
    """Spread of target - source latents. With it the network predicts what differs from the source (`precondition`)."""
    overshoot: float = 0.0
    """With `residual_std`, and for inference alone: at coarse noise the result goes this much further from the source
    than predicted, as a share of the way. What is left of the source's lips there no later step takes away."""

    @property
    def in_channels(self) -> int:
        return self.latent_channels + self.source_channels


MINI = DiTConfig(
    width=320, depth=7, heads=5, ffn_width=1024, speech_dim=128, text_dim=64, speech_width=128, speech_hidden=384,
    speech_context=4, residual_std=0.5,
)  # fmt: skip
BASE = DiTConfig(width=1536, depth=30, heads=12, ffn_width=8960, speech_dim=1024, text_dim=1024)


class DiT(nn.Module):
    """Velocity of the flow at (x, sigma), given the source's latents, the target's speech and a prompt."""

    patch = (1, 2, 2)
    stride = 4
    """Video frames per latent frame after the first."""

    def __init__(
        self,
        config: DiTConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        operations: Any = nn,
        attention: Attention = attend,
    ) -> None:
        super().__init__()
        self.config = config
        make = {"device": device, "dtype": dtype}
        width = config.width
        self.patch_embedding = operations.Conv3d(config.in_channels, width, self.patch, self.patch, **make)
        self.text_embedding = two_layers(config.text_dim, width, width, nn.GELU("tanh"), make, operations)
        self.time_embedding = two_layers(config.frequency_dim, width, width, nn.SiLU(), make, operations)
        self.time_projection = nn.Sequential(nn.SiLU(), operations.Linear(width, 6 * width, **make))
        self.speech_projection = SpeechProjection(config, self.stride, make, operations)
        self.blocks = nn.ModuleList(Block(config, make, operations, attention) for _ in range(config.depth))
        self.head = Head(config, self.patch, make, operations)

    def forward(
        self, x: Tensor, sigma: Tensor, source: Tensor | None, speech: Tensor, text: Tensor, hints: dict | None = None
    ) -> Tensor:
        """x, source BCthw, h and w even; sigma (B,); speech_BTND, T = 1 + 4 (t - 1); text_BLD -> velocity BCthw.

        Speech may also come as `group_speech` gives it. `hints` go to every call of the injected attention by name.
        """
        std = self.config.residual_std
        if std is None:
            return self.network(x, sigma, source, speech, text, hints)
        keep, gain = precondition(sigma, std, x)
        scale = sigma.reshape(-1, 1, 1, 1, 1).to(x.dtype)
        guess = keep * (x - (1 - scale) * source)
        change = guess + gain * self.network(guess / std, sigma, source, speech, text, hints)
        further = 1 + self.config.overshoot * (scale > COARSE).to(x.dtype)
        return (x - source - further * change) / scale

    def network(
        self, x: Tensor, sigma: Tensor, source: Tensor, speech: Tensor, text: Tensor, hints: dict | None = None
    ) -> Tensor:
        """The transformer itself, without preconditioning."""
        hints = hints or {}
        grid = (x.shape[2], x.shape[3] // self.patch[1], x.shape[4] // self.patch[2])
        latents = x if source is None else torch.cat([x, source], 1)
        tokens = self.patch_embedding(latents).flatten(2).transpose(1, 2)
        time = self.time_embedding(timestep_embedding(sigma * 1000, self.config.frequency_dim).to(x.dtype))
        modulation = self.time_projection(time).unflatten(1, (6, -1))
        speech = self.speech_projection(speech.to(x.dtype))
        text = self.text_embedding(text.to(x.dtype))
        rope = rope_table(grid, self.config.width // self.config.heads, x.device)
        for block in self.blocks:
            tokens = block(tokens, modulation, rope, speech, text, hints)
        return unpatchify(self.head(tokens, time), grid, self.patch)


def unpatchify(tokens_BLD: Tensor, grid: tuple[int, int, int], patch: tuple[int, int, int]) -> Tensor:
    """Tokens of a (t, h, w) grid, channels last in each patch, as latents BCthw."""
    return rearrange(
        tokens_BLD, "b (t h w) (p q r c) -> b c (t p) (h q) (w r)", t=grid[0], h=grid[1], w=grid[2],
        p=patch[0], q=patch[1], r=patch[2],
    )  # fmt: skip


def precondition(sigma: Tensor, std: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the observation to keep and scale of the network's output, if target = source + N(0, std^2).

    Given x = (1 - s) x0 + s eps, the best linear guess of what differs is keep * (x - (1 - s) source); its error has
    the spread `gain`. The network sees the guess and predicts its error, both in units: where nothing differs, that
    is the guess with its sign turned, at every noise level that counts (Karras et al. 2022, with a prior mean).
    """
    s = sigma.reshape(-1, *[1] * (x.ndim - 1)).float()
    total = ((1 - s) * std) ** 2 + s**2
    return ((1 - s) * std**2 / total).to(x.dtype), (s * std / total.sqrt()).to(x.dtype)


class Block(nn.Module):
    """Self-attention, speech and text cross-attention, feed-forward; the timestep shifts, scales and gates."""

    GATES = (2, 5)
    """Where `modulation` holds them."""

    def __init__(self, config: DiTConfig, make: dict, operations: Any, attention: Attention) -> None:
        super().__init__()
        width = config.width
        self.text_first = config.text_first
        self.norm_self = norm(config, make, operations, affine=config.norm == "rms")
        self.self_attention = SelfAttention(width, width, config.heads, make, operations, attention)
        self.norm_speech = norm(config, make, operations, affine=True)
        self.speech_attention = CrossAttention(
            width, config.speech_width or width, config.heads, make, operations, attention
        )
        self.norm_text = norm(config, make, operations, affine=True)
        self.text_attention = CrossAttention(width, width, config.heads, make, operations, attention)
        self.norm_ffn = norm(config, make, operations, affine=config.norm == "rms")
        self.ffn = two_layers(width, config.ffn_width, width, nn.GELU("tanh"), make, operations)
        self.modulation = nn.Parameter(torch.zeros(1, 6, width, **make))

    def forward(
        self, x: Tensor, modulation_B6D: Tensor, rope: Tensor, speech_BtMD: Tensor, text_BLD: Tensor, hints: dict
    ) -> Tensor:
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (
            self.modulation.to(modulation_B6D) + modulation_B6D
        ).chunk(6, 1)
        x = x + gate_a * self.self_attention(shift_a + self.norm_self(x) * (1 + scale_a), rope, hints)
        if self.text_first:
            x = self.listen(self.read(x, text_BLD, hints), speech_BtMD, hints)
        else:
            x = self.read(self.listen(x, speech_BtMD, hints), text_BLD, hints)
        return x + gate_f * self.ffn(shift_f + self.norm_ffn(x) * (1 + scale_f))

    def listen(self, x: Tensor, speech_BtMD: Tensor, hints: dict) -> Tensor:
        """Each latent frame attends to its own speech tokens."""
        frames = speech_BtMD.shape[1]
        heard = rearrange(self.norm_speech(x), "b (t l) d -> (b t) l d", t=frames)
        heard = self.speech_attention(heard, speech_BtMD.flatten(0, 1), hints)
        return x + rearrange(heard, "(b t) l d -> b (t l) d", t=frames)

    def read(self, x: Tensor, text_BLD: Tensor, hints: dict) -> Tensor:
        return x + self.text_attention(self.norm_text(x), text_BLD, hints)


class SelfAttention(nn.Module):
    """Attention with normalised queries and keys and rotary positions."""

    turn = staticmethod(rotate)

    def __init__(
        self, width: int, context_width: int, heads: int, make: dict, operations: Any, attention: Attention
    ) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.q = operations.Linear(width, width, **make)
        self.k = operations.Linear(context_width, width, **make)
        self.v = operations.Linear(context_width, width, **make)
        self.o = operations.Linear(width, width, **make)
        self.norm_q = operations.RMSNorm(width, eps=1e-6, **make)
        self.norm_k = operations.RMSNorm(width, eps=1e-6, **make)

    def forward(self, x: Tensor, rope: Tensor, hints: dict) -> Tensor:
        q = self.turn(self.norm_q(self.q(x)), rope, self.heads)
        k = self.turn(self.norm_k(self.k(x)), rope, self.heads)
        return self.o(self.attention(q, k, self.v(x), self.heads, **hints))


class CrossAttention(SelfAttention):
    """The same towards a context, without positions."""

    def forward(self, x: Tensor, context: Tensor, hints: dict) -> Tensor:
        q, k, v = self.norm_q(self.q(x)), self.norm_k(self.k(context)), self.v(context)
        return self.o(self.attention(q, k, v, self.heads, **hints))


class SpeechProjection(nn.Module):
    """The features of a latent frame's video frames -> a few context tokens: (B, T, N, D) -> (B, t, M, D')."""

    def __init__(self, config: DiTConfig, stride: int, make: dict, operations: Any) -> None:
        super().__init__()
        self.stride, self.context = stride, config.speech_context
        width, hidden = config.speech_width or config.width, config.speech_hidden
        self.inner = operations.Linear(stride * config.speech_tokens * config.speech_dim, hidden, **make)
        self.middle = operations.Linear(hidden, hidden, **make)
        self.outer = operations.Linear(hidden, self.context * width, **make)
        self.norm = operations.LayerNorm(width, **make)

    def forward(self, speech: Tensor) -> Tensor:
        grouped = speech if speech.ndim == 5 else group_speech(speech, self.stride)
        hidden = torch.relu(self.middle(torch.relu(self.inner(grouped.flatten(2)))))
        return self.norm(rearrange(self.outer(hidden), "b t (m d) -> b t m d", m=self.context))


def group_speech(speech_BTND: Tensor, stride: int = DiT.stride) -> Tensor:
    """What each latent frame hears: frame 0 alone (repeated), then groups of `stride`; (B, t, stride, N, D)."""
    first = speech_BTND[:, :1].expand(-1, stride, -1, -1)
    return torch.cat([first, speech_BTND[:, 1:]], 1).unflatten(1, (-1, stride))


class Head(nn.Module):
    """Tokens to latent patches."""

    def __init__(self, config: DiTConfig, patch: tuple[int, int, int], make: dict, operations: Any) -> None:
        super().__init__()
        self.norm = norm(config, make, operations, affine=config.norm == "rms")
        self.out = operations.Linear(config.width, patch[0] * patch[1] * patch[2] * config.latent_channels, **make)
        self.modulation = nn.Parameter(torch.zeros(1, 2, config.width, **make))

    def forward(self, x: Tensor, time_BD: Tensor) -> Tensor:
        shift, scale = (self.modulation.to(time_BD) + time_BD[:, None]).chunk(2, 1)
        return self.out(shift + self.norm(x) * (1 + scale))


def norm(config: DiTConfig, make: dict, operations: Any, *, affine: bool) -> nn.Module:
    kind = operations.RMSNorm if config.norm == "rms" else operations.LayerNorm
    return kind(config.width, eps=1e-6, elementwise_affine=affine, **make)
