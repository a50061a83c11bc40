"""The core's autoencoder as a host VAE: the host's own encode, decode and tiled nodes work on it.

Shapes: images NHWC 0..1, video BCTHW -1..1, latents BCthw.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy.model_management as memory
import comfy.ops
import comfy.sd
import torch
from torch import Tensor

from ...omnisync_core.checkpoint import Bundle, check_strictly, read_bundle, tensor_digest
from ...omnisync_core.engines.omnisync import vae_config
from ...omnisync_core.errors import InputError
from ...omnisync_core.models.vae import VideoVAE
from ...omnisync_core.models.wan_vae import WanVAE
from .patchers import streamed_patcher

CHUNK = 8
"""Latent frames decoded (and four times as many frames encoded) at a time; a chunk goes on exactly where one ended."""
VALUES_PER_PIXEL = 240
"""Numbers held at the widest point of a chunk, per pixel and frame: measured for decoding; encoding holds fewer."""


class VideoVAEAdapter(comfy.sd.VAE):
    """A VAE of the host over a bundle's autoencoder.

    The host's constructor only knows its own families, so every attribute that its methods read is set here
    (`tests/host/test_models.py` compares them with the host's).
    """

    def __init__(self, bundle: Bundle, disable_dynamic: bool = False):
        self.first_stage_model = _network(bundle)
        self.device, self.output_device = memory.vae_device(), memory.intermediate_device()
        self.vae_dtype, self.working_dtypes = torch.float32, [torch.float32]
        self.latent_dim, self.output_channels = 3, 3
        self.latent_channels = self.first_stage_model.config.latent_channels
        self.upscale_ratio = (lambda frames: max(0, 4 * frames - 3), 8, 8)
        self.downscale_ratio = (lambda frames: max(0, (frames + 3) // 4), 8, 8)
        self.upscale_index_formula = self.downscale_index_formula = (4, 8, 8)
        self.process_input = lambda image: image * 2.0 - 1.0
        self.process_output = lambda image: image.add_(1.0).div_(2.0).clamp_(0.0, 1.0)
        self.memory_used_encode = lambda shape, dtype: _bytes(shape[2], shape[3], shape[4], dtype)
        self.memory_used_decode = lambda shape, dtype: _bytes(4 * shape[2], 8 * shape[3], 8 * shape[4], dtype)
        self.disable_offload = self.not_video = self.handles_tiling = False
        self.crop_input = True
        self.pad_channel_value = self.extra_1d_channel = self.format_encoded = self.size = None
        self.audio_sample_rate = 44100
        offload = memory.vae_offload_device()
        self.patcher = streamed_patcher(self.first_stage_model, self.device, offload, disable_dynamic)
        _load(self.first_stage_model, bundle, assign=self.patcher.is_dynamic())
        memory.archive_model_dtypes(self.first_stage_model)
        self.patcher.cached_patcher_init = (load_vae_patcher, (str(bundle.path),))
        self.model_size()

    def encode(self, pixel_samples: Tensor) -> Tensor:
        """Images (N, H, W, C) or clips with a batch in front. InputError: smaller than 8 pixels, NaN."""
        if min(pixel_samples.shape[-3:-1]) < 8:
            raise InputError(f"pictures must be at least 8 x 8 pixels, got {tuple(pixel_samples.shape[-3:-1])}")
        if not torch.isfinite(pixel_samples.sum(dtype=torch.float32)):
            raise InputError("the pictures hold NaN or infinite numbers; check the node before")
        return super().encode(pixel_samples)


def load_vae_patcher(path: str | Path, disable_dynamic: bool = False):
    """The patcher of a bundle's VAE alone, as the host rebuilds it for another device."""
    return VideoVAEAdapter(read_bundle(path), disable_dynamic).patcher


def looks_at_source(vae) -> bool:
    """Whether a VAE's decoder can be given the pictures that the latents are an edit of."""
    network = getattr(vae, "first_stage_model", None)
    return isinstance(network, Chunked) and network.config.skips


def decode_pictures(vae, latent_BCthw: Tensor, source_NHWC: Tensor | None = None) -> Iterator[Tensor]:
    """Pictures (N, H, W, 3), 0..1, of the first clip of a batch, in chunks; another VAE's come as one.

    Memory does not grow with the clip's length; the chunks together equal a decode of the whole. Of latents that hold
    several streams the first is the video. source: the pictures that were encoded, for a decoder that looks at them.
    InputError: other latents; pictures of another number or size.
    """
    network = getattr(vae, "first_stage_model", None)
    if latent_BCthw.is_nested:
        latent_BCthw = latent_BCthw.unbind()[0]
    if not isinstance(network, Chunked):
        pictures = vae.decode(latent_BCthw if latent_BCthw.ndim == 4 else latent_BCthw[:1])
        yield pictures[0] if pictures.ndim == 5 else pictures
        return
    if latent_BCthw.ndim != 5 or latent_BCthw.shape[1] != vae.latent_channels:
        raise InputError(
            f"this VAE decodes video latents (1, {vae.latent_channels}, t, h, w), got {tuple(latent_BCthw.shape)}; "
            "use the VAE that encoded them"
        )
    pieces = latent_BCthw[:1].split(CHUNK, 2)
    vae.prepare_decode(pieces[0].shape)
    source = None if source_NHWC is None else _source_video(vae, network, latent_BCthw, source_NHWC)
    for video in network.decode_chunks((piece.to(vae.device, vae.vae_dtype) for piece in pieces), source):
        memory.throw_exception_if_processing_interrupted()
        if not torch.isfinite(video.sum()):
            raise InputError("the latents hold NaN or infinite numbers; load the model with a wider weight_dtype")
        pictures = vae.process_output(video[0].to(vae.output_device, vae.vae_output_dtype(), copy=True))
        yield pictures.movedim(0, -1)


class Chunked:
    """A core's autoencoder behind the host's door for chunked work: pixels stay where they are and visit in chunks.

    A clip that is not 1 + 4k frames is filled with its last frame.
    """

    comfy_has_chunked_io = True

    def encode(self, video_BCTHW: Tensor, device=None) -> Tensor:
        missing = -(video_BCTHW.shape[2] - 1) % self.temporal_stride
        if missing:
            video_BCTHW = torch.cat([video_BCTHW, video_BCTHW[:, :, -1:].expand(-1, -1, missing, -1, -1)], 2)
        pieces = video_BCTHW.split(CHUNK * self.temporal_stride, 2)
        return torch.cat(list(self.encode_chunks(piece.to(device) for piece in pieces)), 2)

    def decode(self, latent_BCthw: Tensor, output_buffer: Tensor | None = None) -> Tensor:
        if output_buffer is None:
            return torch.cat(list(self.decode_chunks(latent_BCthw.split(CHUNK, 2))), 2)
        start = 0
        for video in self.decode_chunks(latent_BCthw.split(CHUNK, 2)):
            output_buffer[:, :, start : start + video.shape[2]].copy_(video)
            start += video.shape[2]
        return output_buffer

    def decode_output_shape(self, shape) -> tuple[int, ...]:
        stride, side = self.temporal_stride, self.spatial_stride
        return shape[0], 3, 1 + stride * (shape[2] - 1), side * shape[3], side * shape[4]


class ChunkedVAE(Chunked, VideoVAE):
    """The core's own."""


class ChunkedWanVAE(Chunked, WanVAE):
    """Wan's, of a model that was trained on its latents."""


def _source_video(vae, network: VideoVAE, latent_BCthw: Tensor, source_NHWC: Tensor) -> Tensor:
    """The pictures that were encoded, as `encode` filled them up."""
    _, _, frames, height, width = network.decode_output_shape(latent_BCthw.shape)
    missing = frames - len(source_NHWC)
    if not 0 <= missing < network.temporal_stride or tuple(source_NHWC.shape[1:3]) != (height, width):
        raise InputError(
            f"source holds {len(source_NHWC)} pictures of {source_NHWC.shape[2]} x {source_NHWC.shape[1]}, the latents "
            f"{frames} of {width} x {height}; connect the pictures that were encoded"
        )
    filled = torch.cat([source_NHWC, source_NHWC[-1:].expand(missing, -1, -1, -1)])
    return vae.process_input(filled.to(vae.device, vae.vae_dtype)).movedim(-1, 0)[None]


def _network(bundle: Bundle) -> VideoVAE:
    config = vae_config(bundle)
    kind = ChunkedWanVAE if config.architecture == "wan" else ChunkedVAE
    network = kind(config, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    return network.eval().requires_grad_(False)


def _load(network: VideoVAE, bundle: Bundle, assign: bool) -> None:
    tensors = {key: value.float() for key, value in bundle.tensors["vae"].items()}
    check_strictly(network, tensors, f"{bundle.path} (vae)")
    network.load_state_dict(tensors, assign=assign)
    network.digest, network.bundle_digest = tensor_digest(bundle.tensors["vae"]), bundle.digest


def _bytes(frames: int, height: int, width: int, dtype: torch.dtype) -> int:
    """Memory of the widest chunk of a clip, in pixels and frames."""
    return VALUES_PER_PIXEL * min(frames, 4 * CHUNK) * height * width * memory.dtype_size(dtype)
