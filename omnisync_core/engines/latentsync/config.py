"""What a LatentSync UNet looks like, read from the names and shapes of its tensors.

Every width, the layers of each block, where attention, motion modules and samplers sit and how wide the sound's
features are is in the keys. Only the number of heads (8) and of norm groups (32) is not; both are the same in every
published configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ...errors import CheckpointError
from ...models.published import Shapes


@dataclass(frozen=True)
class AttentionConfig:
    """A spatial transformer: number of blocks, inner width, width of the sound's features (None: it hears nothing)."""

    depth: int
    width: int
    audio_dim: int | None
    linear: bool
    """Whether it is projected by linear layers instead of 1 x 1 convolutions."""


@dataclass(frozen=True)
class MotionConfig:
    """A motion module: number of blocks, self-attentions in each, inner width, frames it has positions for."""

    depth: int
    attentions: int
    width: int
    positions: int | None


@dataclass(frozen=True)
class LayerConfig:
    """A residual block and what follows it."""

    inputs: int
    outputs: int
    attention: AttentionConfig | None
    motion: MotionConfig | None


@dataclass(frozen=True)
class BlockConfig:
    """Layers of one resolution; `sampler` halves (down) or doubles (up) the size after them."""

    layers: tuple[LayerConfig, ...]
    sampler: bool


@dataclass(frozen=True)
class UNetConfig:
    """The whole network. The middle's first layer is a bare residual block; the others end with theirs."""

    in_channels: int
    out_channels: int
    width: int
    time_width: int
    down: tuple[BlockConfig, ...]
    mid: tuple[LayerConfig, ...]
    up: tuple[BlockConfig, ...]
    heads: int = 8
    groups: int = 32

    @property
    def audio_dim(self) -> int | None:
        """Width of the sound's features."""
        return next((layer.attention.audio_dim for layer in self._layers if layer.attention), None)

    @property
    def max_frames(self) -> int | None:
        """Frames the motion modules have positions for; None without any."""
        counts = (layer.motion.positions for layer in self._layers if layer.motion)
        return min((count for count in counts if count), default=None)

    @property
    def _layers(self) -> tuple[LayerConfig, ...]:
        return (*(layer for block in (*self.down, *self.up) for layer in block.layers), *self.mid)


def read_config(state_dict: Mapping[str, Tensor], heads: int = 8, groups: int = 32) -> UNetConfig:
    """The configuration that a state dict in the official names belongs to. CheckpointError: it is no such UNet."""
    keys = _Keys(state_dict, "this is no LatentSync UNet", "expected latentsync_unet.pt or a copy of it")
    down = tuple(keys.block(f"down_blocks.{i}", "downsamplers") for i in range(keys.count("down_blocks")))
    up = tuple(keys.block(f"up_blocks.{i}", "upsamplers") for i in range(keys.count("up_blocks")))
    mid = tuple(keys.layer("mid_block", i, other=i - 1) for i in range(keys.count("mid_block.resnets")))
    config = UNetConfig(
        in_channels=keys["conv_in.weight"][1],
        out_channels=keys["conv_out.weight"][0],
        width=keys["conv_in.weight"][0],
        time_width=keys["time_embedding.linear_1.weight"][0],
        down=down,
        mid=mid,
        up=up,
        heads=heads,
        groups=groups,
    )
    _check(config)
    return config


class _Keys(Shapes):
    """The layers of a UNet, by their prefixes."""

    def block(self, prefix: str, sampler: str) -> BlockConfig:
        layers = tuple(self.layer(prefix, i, other=i) for i in range(self.count(f"{prefix}.resnets")))
        return BlockConfig(layers, f"{prefix}.{sampler}" in self)

    def layer(self, prefix: str, index: int, other: int) -> LayerConfig:
        """Residual block `index` with the attention and motion module `other` of the same block."""
        outputs, inputs = self[f"{prefix}.resnets.{index}.conv1.weight"][:2]
        attention, motion = f"{prefix}.attentions.{other}", f"{prefix}.motion_modules.{other}"
        return LayerConfig(inputs, outputs, self._attention(attention), self._motion(motion))

    def _attention(self, prefix: str) -> AttentionConfig | None:
        if prefix not in self:
            return None
        width, *rest = self[f"{prefix}.proj_in.weight"]
        blocks = f"{prefix}.transformer_blocks"
        heard = self.known.get(f"{blocks}.0.attn2.to_k.weight")
        return AttentionConfig(self.count(blocks), width, heard[1] if heard else None, linear=len(rest) == 1)

    def _motion(self, prefix: str) -> MotionConfig | None:
        if prefix not in self:
            return None
        inner = f"{prefix}.temporal_transformer"
        blocks = f"{inner}.transformer_blocks"
        positions = self.known.get(f"{blocks}.0.attention_blocks.0.pos_encoder.pe")
        return MotionConfig(
            self.count(blocks),
            self.count(f"{blocks}.0.attention_blocks"),
            self[f"{inner}.proj_in.weight"][0],
            positions[1] if positions else None,
        )


def _check(config: UNetConfig) -> None:
    """That the blocks fit each other: the way down leaves behind what the way up takes in."""
    if not config.down or not config.mid or len(config.up) != len(config.down):
        raise CheckpointError(
            f"this is no LatentSync UNet: {len(config.down)} blocks down, {len(config.mid)} layers in the middle, "
            f"{len(config.up)} blocks up; expected as many up as down"
        )
    width, left = config.width, [config.width]
    for block in config.down:
        for layer in block.layers:
            width = _through(layer, width)
            left.append(width)
        left += [width] * block.sampler
    for layer in config.mid:
        width = _through(layer, width)
    for block in config.up:
        for layer in block.layers:
            width = _through(layer, width + (left.pop() if left else 0))
    widths = {width, *(layer.outputs for block in config.down for layer in block.layers)}
    if left or width != config.width:
        raise CheckpointError("this is no LatentSync UNet: its blocks up do not take in what its blocks down leave")
    if any(width % config.groups or width % config.heads for width in widths):
        raise CheckpointError(
            f"the UNet's widths {sorted(widths)} cannot be divided into {config.groups} groups and {config.heads} "
            "heads; say which it was trained with (heads=, groups=)"
        )


def _through(layer: LayerConfig, width: int) -> int:
    if layer.inputs != width:
        raise CheckpointError(f"this is no LatentSync UNet: a layer takes {layer.inputs} channels, it is given {width}")
    return layer.outputs
