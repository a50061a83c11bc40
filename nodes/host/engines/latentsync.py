"""LatentSync's files as the host's own MODEL and AUDIO_ENCODER, and the engine over them and an SD VAE.

Shapes: faces_NRRC 0..1, latents_NChw, samples (B, 13, F, h, h).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.model_management as memory
import comfy.supported_models_base
import torch
from torch import Tensor

from ....omnisync_core.checkpoint import fitting, tensor_digest
from ....omnisync_core.engines.latentsync import UNet, read_unet, read_whisper
from ....omnisync_core.engines.latentsync.config import UNetConfig, read_config
from ....omnisync_core.engines.latentsync.engine import LatentSyncEngine, Settings
from ....omnisync_core.engines.latentsync.mask import LATENT
from ....omnisync_core.errors import InputError
from ..digest import model_digest
from ..encoders import AudioEncoder
from ..models import host_attention
from ..patchers import model_patcher
from .handle import check_kind, check_own_encoder, check_vae

LOADER = "connect Load LatentSync"
SD_VAE = "connect Load VAE with that of Stable Diffusion 1.5, sd-vae-ft-mse (vae-ft-mse-840000-ema-pruned)"
LATENT_SCALE = comfy.latent_formats.SD15().scale_factor
TOKENS = 50
"""Features of a video frame: ten states of each of five layers."""


def load_latentsync(unet: Path, whisper: Path, resolution: int, weight_dtype: str = "default") -> tuple:
    """(MODEL, AUDIO_ENCODER) of the published files. CheckpointError: other files; InputError: they do not fit."""
    Settings(resolution=resolution)
    model = load_unet_patcher(str(unet), resolution, weight_dtype)
    network = read_whisper(whisper)
    encoder = AudioEncoder(network, tensor_digest(network.state_dict()), TOKENS)
    _check_encoder(encoder, model.model.diffusion_model.config)
    return model, encoder


def load_unet_patcher(path: str, resolution: int, weight_dtype: str = "default", disable_dynamic: bool = False):
    """The MODEL alone, as the host rebuilds it for another device or without dynamic memory."""
    tensors = read_unet(path)
    sizes = read_config(tensors)
    tensors = fitting(UNet(sizes, device="meta"), tensors, path)
    config = LatentSyncConfig(sizes)
    build = partial(LatentSyncModel, config, resolution)
    patcher = model_patcher(config, build, tensors, path, weight_dtype, disable_dynamic)
    patcher.cached_patcher_init = (load_unet_patcher, (path, resolution, weight_dtype))
    return patcher


class LatentSyncModel(comfy.model_base.BaseModel):
    """The host's view of the UNet; it is sampled by its own engine."""

    engine_node = "LatentSync Engine"

    def __init__(self, config: LatentSyncConfig, resolution: int, device=None):
        super().__init__(config, comfy.model_base.ModelType.EPS, device=device, unet_model=HostUNet)
        self.resolution = resolution

    def extra_conds(self, **kwargs) -> dict:
        raise InputError("a LatentSync MODEL is not sampled by KSampler: connect it to LatentSync Engine")


class HostUNet(UNet):
    """The core's UNet with the host's layers and attention."""

    def __init__(self, config: UNetConfig, *, device=None, dtype=None, operations=None):
        super().__init__(config, device=device, dtype=dtype, operations=operations, attention=host_attention)


class LatentSyncConfig(comfy.supported_models_base.BASE):
    """What the host asks of a model family."""

    unet_extra_config: dict = {}  # noqa: RUF012 - as the host declares it
    latent_format = comfy.latent_formats.SD15
    supported_inference_dtypes = [torch.float16, torch.bfloat16, torch.float32]  # noqa: RUF012
    memory_usage_factor = 1.0

    def __init__(self, config: UNetConfig):
        super().__init__({"config": config})


@dataclass(frozen=True, eq=False)
class LatentSyncHandle:
    """The ENGINE: host MODEL, SD VAE and AUDIO_ENCODER, and how to draw. InputError: they do not fit."""

    model: Any
    vae: Any
    audio_encoder: Any
    settings: Settings

    def __post_init__(self):
        check_model(self.model)
        check_vae(self.vae, SD_VAE, channels=4, dimensions=2, pixels=LATENT)
        _check_encoder(self.audio_encoder, self.model.model.diffusion_model.config)

    def get_models(self) -> list:
        return [self.model, self.vae.patcher, self.audio_encoder.patcher]

    def open(self) -> LatentSyncEngine:
        return LatentSyncEngine(
            HostDenoiser(self.model),
            HostCodec(self.vae),
            self.audio_encoder.model,
            self.settings,
            [model_digest(patcher) for patcher in self.get_models()],
            self.audio_encoder.resident,
        )


class HostDenoiser:
    """The UNet of a MODEL: LoRAs, casts and offloading are the host's."""

    def __init__(self, patcher):
        self._patcher = patcher
        self.device, self.dtype = patcher.load_device, patcher.model.get_dtype_inference()

    @contextmanager
    def resident(self, sample_shape: tuple[int, ...]) -> Iterator[None]:
        model = self._patcher.model
        memory.load_models_gpu([self._patcher], memory_required=model.memory_required(list(sample_shape)))
        self._patcher.pre_run()
        try:
            yield
        finally:
            self._patcher.cleanup()

    def predict(self, sample: Tensor, timestep: int, audio: Tensor, deep: Tensor | None) -> tuple[Tensor, Tensor]:
        memory.throw_exception_if_processing_interrupted()
        options = self._patcher.model_options.get("transformer_options", {})
        return self._patcher.model.diffusion_model.predict(
            sample, timestep, audio, deep, {"transformer_options": options}
        )


class HostCodec:
    """An SD VAE of the host, which gives the most likely latents (the official code draws them at random)."""

    def __init__(self, vae):
        self._vae = vae

    def encode(self, faces_NRRC: Tensor) -> Tensor:
        return self._vae.encode(faces_NRRC).float() * LATENT_SCALE

    def decode(self, latents_NChw: Tensor) -> Tensor:
        return self._vae.decode(latents_NChw / LATENT_SCALE)


def check_model(patcher) -> None:
    check_kind(patcher, LatentSyncModel, "LatentSync's UNet", LOADER)


def _check_encoder(encoder, sizes: UNetConfig) -> None:
    check_own_encoder(encoder, f"{LOADER}, its second output")
    width, layers = encoder.model.width, encoder.model.config["encoder_layers"]
    if sizes.audio_dim is not None and (width, layers) != (sizes.audio_dim, 4):
        raise InputError(
            f"this UNet hears a Whisper of 4 layers of {sizes.audio_dim} (tiny is 384), this one has {layers} of "
            f"{width}; {LOADER} with tiny.pt"
        )
