"""Stable Diffusion 1.5's autoencoder of pictures, from its public files (sd-vae-ft-mse).

Rombach et al., arXiv 2112.10752. Sizes are read off the tensors. Shapes: pictures (N, 3, H, W) in -1..1, latents
(N, 4, H / 8, W / 8), in the scale of Stable Diffusion's network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from .published import read_content, tensors_of

SCALE = 0.18215
"""By which latents are multiplied for the network."""
GROUPS, EPSILON = 32, 1e-6


class PictureVAE(nn.Module):
    """Names are those of Stable Diffusion's own files."""

    def __init__(self, width: int, factors: tuple[int, ...], layers: int, latent: int = 4) -> None:
        """`factors` of the width, one for each resolution; `layers` residual blocks in each of the encoder."""
        super().__init__()
        widths = tuple(width * factor for factor in factors)
        self.encoder, self.decoder = _Encoder(widths, layers, 2 * latent), _Decoder(widths, layers + 1, latent)
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)

    def encode(self, pictures_N3HW: Tensor) -> Tensor:
        """The most likely latents."""
        return self.quant_conv(self.encoder(pictures_N3HW)).chunk(2, 1)[0] * SCALE

    def decode(self, latents_NChw: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(latents_NChw / SCALE))


def read_picture_vae(path: str | Path) -> PictureVAE:
    """The autoencoder of a file in Stable Diffusion's or diffusers' names, or in a whole checkpoint.

    CheckpointError: damaged, or no such autoencoder.
    """
    tensors = _renamed(tensors_of(read_content(Path(path)), "state_dict", path))
    try:
        width = tensors["encoder.conv_in.weight"].shape[0]
        levels = 1 + max(int(key.split(".")[2]) for key in tensors if key.startswith("encoder.down."))
        layers = 1 + max(int(key.split(".")[4]) for key in tensors if key.startswith("encoder.down.0.block."))
        factors = [tensors[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] // width for level in range(levels)]
        with torch.device("meta"):
            vae = PictureVAE(width, tuple(factors), layers, tensors["post_quant_conv.weight"].shape[0])
        expected = vae.state_dict()
        placed = {key: tensors[key].reshape(value.shape).float() for key, value in expected.items()}
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no autoencoder of Stable Diffusion 1.5 ({error}); expected sd-vae-ft-mse "
            "(vae-ft-mse-840000-ema-pruned.safetensors)"
        ) from None
    vae.load_state_dict(placed, assign=True)
    return vae.eval().requires_grad_(False)


_NAMES = (
    (r"^(encoder|decoder)\.mid_block\.resnets\.(\d)", lambda m: f"{m[1]}.mid.block_{int(m[2]) + 1}"),
    (r"^(encoder|decoder)\.mid_block\.attentions\.0", r"\1.mid.attn_1"),
    (r"^encoder\.down_blocks\.(\d)\.resnets", r"encoder.down.\1.block"),
    (r"^encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample"),
    (r"^decoder\.up_blocks\.(\d)\.resnets", lambda m: f"decoder.up.{3 - int(m[1])}.block"),
    (r"^decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{3 - int(m[1])}.upsample"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
    (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.(?:to_)?(q|k|v)(?:uery|ey|alue)?\.", r"attn_1.\1."),
    (r"attn_1\.(?:to_out\.0|proj_attn)", "attn_1.proj_out"),
)
"""diffusers' names (older and newer) to Stable Diffusion's."""


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    inner = {key.removeprefix("first_stage_model."): key for key in tensors}
    renamed = {}
    for name, key in inner.items():
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensors[key]
    return renamed


class _Encoder(nn.Module):
    def __init__(self, widths: tuple[int, ...], layers: int, outputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(
            _Level((before, *[after] * layers), "downsample" if level < len(widths) - 1 else "")
            for level, (before, after) in enumerate(zip((widths[0], *widths[:-1]), widths, strict=True))
        )
        self.mid = _Middle(widths[-1])
        self.norm_out = _norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down:
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class _Decoder(nn.Module):
    def __init__(self, widths: tuple[int, ...], layers: int, inputs: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(inputs, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1])
        self.up = nn.ModuleList(
            _Level((before, *[after] * layers), "upsample" if level else "")
            for level, (before, after) in enumerate(zip((*widths[1:], widths[-1]), widths, strict=True))
        )
        self.norm_out = _norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(F.silu(self.norm_out(x)))


class _Level(nn.Module):
    """Residual blocks of one resolution, then half or twice the size."""

    def __init__(self, widths: tuple[int, ...], sampler: str) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Residual(a, b) for a, b in pairwise(widths))
        self.sampler = sampler
        if sampler:
            self.add_module(sampler, {"downsample": _Downsample, "upsample": _Upsample}[sampler](widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.block:
            x = block(x)
        return self.get_submodule(self.sampler)(x) if self.sampler else x


class _Downsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Upsample(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0))


class _Middle(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = _Residual(width, width), _Attention(width), _Residual(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(inputs), _norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(F.silu(self.norm1(x)))
        return self.nin_shortcut(x) + self.conv2(F.silu(self.norm2(inner)))


class _Attention(nn.Module):
    """One head over all places."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        q, k, v = (layer(normed).flatten(2).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v))
        attended = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2).reshape(x.shape)
        return x + self.proj_out(attended)


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, width, eps=EPSILON)
