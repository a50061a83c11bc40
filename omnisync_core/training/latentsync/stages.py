"""LatentSync's two stages: what learns, what is frozen, which loss weighs how much.

Stage 1 teaches the whole UNet, without motion modules, to draw noise right: many clips fit on a GPU, nothing is
decoded. Stage 2 adds motion modules and teaches them and the attention in pixels: SyncNet, LPIPS and TREPA look at
what one step leads to, decoded. VAE, Whisper and the judges are frozen in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...checkpoint import fitting
from ...engines.latentsync.blocks import Given
from ...engines.latentsync.config import BlockConfig, LayerConfig, MotionConfig, UNetConfig, read_config
from ...engines.latentsync.ddim import TRAIN_STEPS
from ...engines.latentsync.unet import UNet
from ...errors import InputError
from .losses import mixed_noise, noised, one_step, perceptual_loss, sync_loss, trepa_loss
from .syncnet import StableSyncNet
from .videomae import position_table

POSITIONS = 24
"""Frames that new motion modules have positions for."""


@dataclass(frozen=True)
class StageOptions:
    """Weights as in the paper (eq. 7) and in configs/unet/*.yaml. A judge of weight 0 is neither loaded nor asked."""

    motion: tuple[str, ...]
    """Where the UNet has motion modules: "down_blocks", "up_blocks"."""
    trained: tuple[str, ...] = ()
    """What learns: tensors whose names hold one of these; empty: all."""
    reconstruction: float = 1.0
    sync: float = 0.0
    perceptual: float = 0.0
    trepa: float = 0.0
    noise_alpha: float = 1.0

    @property
    def in_pixels(self) -> bool:
        """Whether anything looks at decoded pictures."""
        return max(self.sync, self.perceptual, self.trepa) > 0


STAGE_1 = StageOptions(motion=())
STAGE_2 = StageOptions(
    motion=("down_blocks", "up_blocks"), trained=("motion_modules.", "attentions."),
    sync=0.05, perceptual=0.1, trepa=10.0,
)  # fmt: skip
STAGE_2_EFFICIENT = replace(STAGE_2, motion=("up_blocks",), trained=("motion_modules.", "attn2."), trepa=0.0)
"""configs/unet/stage2_efficient.yaml: for 20 GB, say its authors."""
STAGES = {"1": STAGE_1, "2": STAGE_2, "2_efficient": STAGE_2_EFFICIENT}


@dataclass(frozen=True)
class Judges:
    """Frozen networks; None where the stage gives them no weight."""

    decode: Callable[[Tensor], Tensor] | None = None
    """Latents (N, 4, h, w) as the UNet has them to pictures (N, 3, S, S) in -1..1, with gradients."""
    syncnet: StableSyncNet | None = None
    perceptual: nn.Module | None = None
    motion: Callable[[Tensor], Tensor] | None = None
    """Videos (B, 3, F, 224, 224) in 0..1 to features (B, D)."""


@dataclass(frozen=True)
class FaceBatch:
    """Clips of aligned faces."""

    truth: Tensor
    """Latents (B, 4, F, h, w) of the faces; so are `masked` and `reference`."""
    masked: Tensor
    reference: Tensor
    """Of other frames of the same clip."""
    mask: Tensor
    """(B, 1, F, h, w): 1 where the face is kept."""
    audio_BFLD: Tensor
    pictures_BFCHW: Tensor
    mel_B1MF: Tensor


def stage_loss(unet: nn.Module, batch: FaceBatch, judges: Judges, options: StageOptions) -> dict[str, Tensor]:
    """`loss` and its parts, unweighted. Noise and timesteps come from torch's global generator."""
    noise = mixed_noise(tuple(batch.truth.shape), options.noise_alpha, batch.truth.device)
    time_B = torch.randint(0, TRAIN_STEPS, (len(batch.truth),), device=batch.truth.device)
    return loss_at(unet, batch, noise, time_B, judges, options)


def loss_at(
    unet: nn.Module, batch: FaceBatch, noise: Tensor, time_B: Tensor, judges: Judges, options: StageOptions
) -> dict[str, Tensor]:
    """The same with a given noise at given timesteps."""
    noisy = noised(batch.truth, noise, time_B)
    given = torch.cat([noisy, batch.mask, batch.masked, batch.reference], 1)
    predicted = unet(given, time_B, batch.audio_BFLD).to(noise.dtype)
    losses = {"reconstruction": F.mse_loss(predicted, noise)}
    if options.in_pixels:
        clean = one_step(noisy, predicted, time_B)
        losses |= _judged(clean, batch, judges, options)
    loss = sum(getattr(options, name) * value for name, value in losses.items())
    return {"loss": loss, **{name: value.detach() for name, value in losses.items()}}


def _judged(clean: Tensor, batch: FaceBatch, judges: Judges, options: StageOptions) -> dict[str, Tensor]:
    latents_BFChw = clean.transpose(1, 2)
    assert judges.decode is not None  # as `StageOptions.in_pixels` says
    made = judges.decode(latents_BFChw.flatten(0, 1)).float().unflatten(0, latents_BFChw.shape[:2])
    losses = {}
    if options.sync:
        watched = latents_BFChw if judges.syncnet.config.latent else made
        losses["sync"] = sync_loss(judges.syncnet, watched, batch.mel_B1MF)
    if options.perceptual:
        losses["perceptual"] = perceptual_loss(judges.perceptual, made, batch.pictures_BFCHW)
    if options.trepa:
        losses["trepa"] = trepa_loss(judges.motion, made, batch.pictures_BFCHW)
    return losses


def build_unet(tensors: Mapping[str, Tensor], options: StageOptions, name: str) -> UNet:
    """The UNet of a stage, what learns set to learn, from a published or trained one with or without motion modules.

    Motion modules that the stage does not want are left out. Those that it wants and the file lacks are new and change
    nothing yet. CheckpointError: no LatentSync UNet.
    """
    tensors = {
        key: value for key, value in tensors.items() if "motion_modules." not in key or key.startswith(options.motion)
    }
    unet = UNet(_with_motion(read_config(tensors), options.motion))
    tensors |= _still(unet, {_module_of(key) for key in tensors})
    unet.load_state_dict(fitting(unet, tensors, name))
    return freeze(unet.train(), options)


def freeze(unet: UNet, options: StageOptions) -> UNet:
    """Only what the stage trains learns. InputError: that is nothing."""
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(not options.trained or any(part in name for part in options.trained))
    if not any(parameter.requires_grad for parameter in unet.parameters()):
        raise InputError(f"nothing of the UNet learns: no tensor's name holds one of {', '.join(options.trained)}")
    return unet


def recompute(unet: UNet) -> UNet:
    """From now on the UNet's parts compute their activations a second time instead of keeping them."""
    unet.run = _run_again
    return unet


def _run_again(part: nn.Module, x: Tensor, given: Given) -> Tensor:
    return checkpoint(part, x, given, use_reentrant=False)


def _with_motion(config: UNetConfig, places: tuple[str, ...]) -> UNetConfig:
    def blocks(some: tuple[BlockConfig, ...]) -> tuple[BlockConfig, ...]:
        return tuple(replace(block, layers=tuple(map(_moving, block.layers))) for block in some)

    return replace(
        config,
        down=blocks(config.down) if "down_blocks" in places else config.down,
        up=blocks(config.up) if "up_blocks" in places else config.up,
    )


def _moving(layer: LayerConfig) -> LayerConfig:
    return layer if layer.motion else replace(layer, motion=MotionConfig(1, 2, layer.outputs, POSITIONS))


def _module_of(key: str) -> str:
    """`up_blocks.0.motion_modules.1` of a motion module's tensor, nothing of others."""
    before, found, after = key.partition("motion_modules.")
    return before + found + after.split(".")[0] if found else ""


def _still(unet: UNet, known: set[str]) -> dict[str, Tensor]:
    """First values of motion modules that are not known: sinusoidal positions, and a last projection of 0."""
    values = {}
    for key, value in unet.state_dict().items():
        if _module_of(key) and _module_of(key) not in known:
            last = "temporal_transformer.proj_out." in key
            table = key.endswith("pos_encoder.pe")
            values[key] = (
                position_table(*value.shape[1:])[None] if table else torch.zeros_like(value) if last else value
            )
    return values
