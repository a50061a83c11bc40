"""LatentSync's UNet: denoises the latents of a clip's faces, given their sound. Names are the official checkpoint's.

Shapes: B clips, F frames, C channels, H W latent pixels; audio_BFLD (B, F, 50, 384). The input's 13 channels are
noisy latents (4), mask (1), latents of the masked face (4), latents of the reference face (4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint import fitting
from ...errors import InputError
from ...models.layers import Attention, attend, timestep_embedding
from .blocks import Block, Downsampler, Given, Maker, Middle, Upsampler, norm_over_frames, run_part
from .config import BlockConfig, UNetConfig, read_config


def load_unet(
    state_dict: Mapping[str, Tensor],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    operations: Any = nn,
    attention: Attention = attend,
    heads: int = 8,
    groups: int = 32,
) -> UNet:
    """The UNet that a state dict belongs to, with its weights; whatever widths and blocks it has.

    dtype: of the weights, None = float32. Nothing may be missing or of another shape: CheckpointError. What the network
    has no place for is left alone, as by the official program.
    Tensors on the meta device give a module without storage.
    """
    config = read_config(state_dict, heads, groups)
    unet = UNet(config, device="meta", dtype=dtype, operations=operations, attention=attention)
    held = fitting(unet, state_dict, "the LatentSync UNet")
    placed = {key: value.to(value.device if value.is_meta else device, unet.dtype) for key, value in held.items()}
    unet.load_state_dict(placed, assign=True)
    return unet.eval().requires_grad_(False)


class UNet(nn.Module):
    """Predicts the noise in the first four channels."""

    def __init__(
        self,
        config: UNetConfig,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        operations: Any = nn,
        attention: Attention = attend,
    ) -> None:
        super().__init__()
        self.config, self.dtype, self.run = config, dtype or torch.float32, run_part
        make = {"device": device, "dtype": dtype}
        maker = Maker(operations, make, attention, config.heads, config.groups, config.time_width)
        self.conv_in = maker.conv(config.in_channels, config.width, 3)
        self.time_embedding = TimeEmbedding(config, maker)
        self.down_blocks = nn.ModuleList(DownBlock(block, maker) for block in config.down)
        self.mid_block = Middle(config.mid, maker)
        self.up_blocks = nn.ModuleList(UpBlock(block, maker) for block in config.up)
        self.conv_norm_out = maker.group_norm(config.width, 1e-5)
        self.conv_out = maker.conv(config.width, config.out_channels, 3)

    def forward(self, sample_BCFHW: Tensor, timestep: Tensor | float, audio_BFLD: Tensor | None = None) -> Tensor:
        """Noise (B, 4, F, H, W) at timestep 0..1000, one number or one per clip."""
        return self.predict(sample_BCFHW, timestep, audio_BFLD)[0]

    def predict(
        self,
        sample_BCFHW: Tensor,
        timestep: Tensor | float,
        audio_BFLD: Tensor | None,
        deep: Tensor | None = None,
        hints: dict | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The noise, and the features that go into the last layer.

        deep: such features of an earlier step; then only the first convolution and the last layer are computed
        (Ma et al., DeepCache, arXiv 2312.00858, branch 0). hints: given to every call of the injected attention.
        """
        self._check(sample_BCFHW, audio_BFLD)
        frames = sample_BCFHW.shape[2]
        given = Given(
            frames,
            self.time_embedding(_per_clip(timestep, sample_BCFHW), sample_BCFHW.dtype),
            None if audio_BFLD is None else audio_BFLD.flatten(0, 1),
            hints or {},
            self.run,
        )
        x = sample_BCFHW.transpose(1, 2).flatten(0, 1)
        first = self.conv_in(x)
        if deep is None:
            deep = self._deep(first, given)
        last = self.up_blocks[-1]
        x = last.layer(len(last.resnets) - 1, torch.cat([deep, first], 1), given)
        x = self.conv_out(F.silu(norm_over_frames(self.conv_norm_out, x, frames), inplace=True))
        return x.unflatten(0, (-1, frames)).transpose(1, 2), deep

    def _deep(self, first: Tensor, given: Given) -> Tensor:
        """Everything but the last layer."""
        x, skips = first, [first]
        for block in self.down_blocks:
            x = block(x, given, skips)
        x = self.mid_block(x, given)
        for block in self.up_blocks[:-1]:
            x = block(x, given, skips)
        return self.up_blocks[-1].but_last(x, given, skips)

    def _check(self, sample_BCFHW: Tensor, audio_BFLD: Tensor | None) -> None:
        channels, most = self.config.in_channels, self.config.max_frames
        if sample_BCFHW.ndim != 5 or sample_BCFHW.shape[1] != channels:
            raise InputError(f"the UNet takes (B, {channels}, F, H, W), got {tuple(sample_BCFHW.shape)}")
        clips, frames = sample_BCFHW.shape[0], sample_BCFHW.shape[2]
        if most is not None and frames > most:
            raise InputError(f"the UNet takes at most {most} frames, got {frames}: give it shorter windows")
        if audio_BFLD is not None and (
            audio_BFLD.ndim != 4
            or audio_BFLD.shape[:2] != (clips, frames)
            or self.config.audio_dim not in (None, audio_BFLD.shape[3])
        ):
            raise InputError(
                f"the UNet takes sound ({clips}, {frames}, L, {self.config.audio_dim}), got {tuple(audio_BFLD.shape)}"
            )


class TimeEmbedding(nn.Module):
    def __init__(self, config: UNetConfig, maker: Maker) -> None:
        super().__init__()
        self.width = config.width
        self.linear_1 = maker.linear(config.width, config.time_width)
        self.linear_2 = maker.linear(config.time_width, config.time_width)

    def forward(self, time_B: Tensor, dtype: torch.dtype) -> Tensor:
        """float32 timesteps (B,) to (B, E) of the type to compute in."""
        return self.linear_2(F.silu(self.linear_1(timestep_embedding(time_B, self.width).to(dtype))))


class DownBlock(Block):
    def __init__(self, config: BlockConfig, maker: Maker) -> None:
        super().__init__(config, maker)
        width = config.layers[-1].outputs
        self.downsamplers = nn.ModuleList([Downsampler(width, maker)] if config.sampler else [])

    def forward(self, x: Tensor, given: Given, skips: list[Tensor]) -> Tensor:
        """Adds what it leaves behind to `skips`."""
        for index in range(len(self.resnets)):
            x = self.layer(index, x, given)
            skips.append(x)
        for sampler in self.downsamplers:
            x = sampler(x)
            skips.append(x)
        return x


class UpBlock(Block):
    def __init__(self, config: BlockConfig, maker: Maker) -> None:
        super().__init__(config, maker)
        width = config.layers[-1].outputs
        self.upsamplers = nn.ModuleList([Upsampler(width, maker)] if config.sampler else [])

    def forward(self, x: Tensor, given: Given, skips: list[Tensor]) -> Tensor:
        """Takes what it needs from `skips`."""
        x = self.but_last(x, given, skips)
        x = self.layer(len(self.resnets) - 1, torch.cat([x, skips.pop()], 1), given)
        for sampler in self.upsamplers:
            x = sampler(x, tuple(skips[-1].shape[2:]))
        return x

    def but_last(self, x: Tensor, given: Given, skips: list[Tensor]) -> Tensor:
        """All layers but the last."""
        for index in range(len(self.resnets) - 1):
            x = self.layer(index, torch.cat([x, skips.pop()], 1), given)
        return x


def _per_clip(timestep: Tensor | float, sample_BCFHW: Tensor) -> Tensor:
    """(B,) float32."""
    time = torch.as_tensor(timestep, dtype=torch.float32, device=sample_BCFHW.device).reshape(-1)
    return time.expand(sample_BCFHW.shape[0])
