"""LatentSync from its public files, where no host loads them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from ...checkpoint import tensor_digest
from ...errors import CheckpointError
from ...models.picture_vae import PictureVAE, read_picture_vae
from ...models.whisper import read_whisper
from ..omnisync import choose_device, choose_dtype
from .engine import LatentSyncEngine, PlacedUNet, Settings
from .unet import load_unet
from .weights import read_unet


def load_latentsync(
    unet: str | Path,
    vae: str | Path,
    whisper: str | Path,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    *,
    device: str = "auto",
    dtype: str = "auto",
) -> LatentSyncEngine:
    """An engine over latentsync_unet.pt, sd-vae-ft-mse and Whisper's tiny.pt (or safetensors copies).

    `dtype` is the UNet's; the others run in float32. InputError, CheckpointError.
    """
    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    denoiser = load_unet(read_unet(unet), device=place, dtype=kind)
    codec, hearing = read_picture_vae(vae).to(place), read_whisper(Path(whisper)).to(place)
    heard = denoiser.config.audio_dim
    if heard is not None and (hearing.width, hearing.config["encoder_layers"]) != (heard, 4):
        raise CheckpointError(f"{whisper} is not the Whisper that this UNet hears; expected tiny.pt")
    digests = [tensor_digest(_stored(network)) for network in (denoiser, codec, hearing)]
    return LatentSyncEngine(PlacedUNet(denoiser), PlacedCodec(codec), hearing.eval(), settings, digests)


class PlacedCodec:
    """A `Codec` of an autoencoder that already lies where it runs."""

    def __init__(self, vae: PictureVAE) -> None:
        self._vae = vae

    def encode(self, faces_NRRC: Tensor) -> Tensor:
        return self._vae.encode(faces_NRRC.to(self._place).permute(0, 3, 1, 2) * 2 - 1)

    def decode(self, latents_NChw: Tensor) -> Tensor:
        return self._vae.decode(latents_NChw.to(self._place)).permute(0, 2, 3, 1) / 2 + 0.5

    @property
    def _place(self) -> torch.device:
        return self._vae.quant_conv.weight.device


def _stored(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in network.state_dict().items()}
