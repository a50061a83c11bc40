"""The transformer as a generator of one step, judged in pixels through a decoder that sees the source.

At inference the mini takes one Euler step from progressive noise: its own clean prediction. So that is what is trained
here: noise levels around the start alone, the prediction compared in latents over the whole window and, decoded, in
pixels around the mouth, in space and in time. Reels as in `training/reels.py` with `clips` = `POSE_A`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..diffusion import flow
from ..diffusion.guidance import gaussian, mouth_per_latent_frame
from ..errors import InputError
from ..files import replacing
from ..models.dit import DiT
from ..models.layers import attend, attend_plainly
from ..models.vae import Source, VideoVAE
from ..synth.archive import mapped, opened
from .adversary import Adversary, adversary_losses, balance
from .latents import FeatureBank, as_video, read_reels
from .latentsync.drawn import Voices, draw_stretch, sampled_faces
from .latentsync.losses import sync_loss
from .latentsync.syncnet import StableSyncNet
from .objective import cut_pieces
from .settings import check_number
from .stage import device_of


@dataclass(frozen=True)
class GeneratorOptions:
    sigma_least: float = 0.88
    """Noise levels are uniform from here to 1; each is also where its path starts."""
    piece: int = 8
    """Side, in latents, of what is decoded around the mouth."""
    latent_piece: int = 0
    """Side, in latents, of what the transformer sees around the mouth where nothing is decoded; 0: the whole crop."""
    plain_share: float = 0.15
    """Steps whose pixels are the target's own latents decoded without the source: a plain autoencoder, still."""
    truth_share: float = 0.0
    """Steps whose pixels are decoded from the target's own latents: what is right is painted sharply, where a decoder
    that sees predictions alone paints the mean of all that may be meant."""
    latent_weight: float = 1.0
    """0: the transformer stays as it is, the decoder learns to make the most of what it predicts."""
    by_channel: bool = False
    """Errors in latents weigh by channel as much as the decoder shows them (`channel_weights`)."""
    pixel_weight: float = 4.0
    mouth_weight: float = 8.0
    time_weight: float = 1.0
    adversary_weight: float = 0.0
    """How hard the judge of patches pulls at the pictures, over how hard `pixel_loss` does: with it what does not
    follow from the speech is painted sharply too."""
    sync_weight: float = 0.0
    """How hard a frozen SyncNet (`[generator] syncnet`) pulls at what is decoded from predictions (`sync_figure`)."""
    joint_dropout: float = 0.05
    text_dropout: float = 0.05

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "sigma_least" or name.endswith(("_share", "_dropout")):
                if not 0 <= value <= 1:
                    raise InputError(f"objective.{name} must be from 0 to 1, got {value}")
            elif not isinstance(value, bool):
                check_number(f"objective.{name}", value, int(name == "piece"))


class Generator(nn.Module):
    """Transformer and autoencoder as they are trained together; the encoder stays as it is."""

    def __init__(self, dit: DiT, vae: VideoVAE) -> None:
        super().__init__()
        self.dit, self.vae, self.adversary = dit, vae, Adversary()
        self.syncnet: StableSyncNet | None = None
        self.channel_weights_C: Tensor | None = None
        """Of errors in latents; None: all weigh the same."""
        vae.encoder.requires_grad_(False)
        for block in dit.blocks:
            for part in (block.self_attention, block.speech_attention, block.text_attention):
                part.attention = attend if torch.cuda.is_available() else attend_plainly

    def predict(self, source: Tensor, sigma_B: Tensor, speech: Tensor, text: Tensor) -> Tensor:
        """The clean latents that one step from progressive noise leads to."""
        x = flow.add_noise(source, torch.randn_like(source), sigma_B)
        return flow.clean(x, self.dit(x, sigma_B, source, speech, text).float(), sigma_B)

    def decode(self, latent_BCthw: Tensor, source_BCTHW: Tensor | None) -> Tensor:
        source = None
        if source_BCTHW is not None:
            with torch.no_grad():
                source = Source(source_BCTHW, self.vae.encoder.features(source_BCTHW, {}))
        x = rearrange(self.vae.denormalise(latent_BCthw), "b c t h w -> b t h w c")
        return self.vae.decoder(x, {}, source).float()


@torch.no_grad()
def edited(model: Generator, batch: dict[str, Tensor], tau: float) -> tuple[Tensor, Tensor, Tensor]:
    """Source, the source with the target's speech after one step from `tau`, and target: videos in -1..1."""
    source, target = (as_video(batch[f"{name}_frames"]) for name in ("source", "target"))
    clean = model.predict(batch["source"], torch.full_like(batch["sigma"], tau), batch["speech"], batch["text"])
    return source, model.decode(clean, source).clamp(-1, 1), target


def mouth_box(mouth_T3: Tensor, size: int) -> tuple[slice, slice]:
    """Rows and columns of a picture of `size` around the mouth's mean place, a little wider than it."""
    x, y, width = (mouth_T3.mean(0) * size).tolist()
    rows, columns = (slice(max(0, round(at - 0.62 * width)), min(size, round(at + 0.62 * width))) for at in (y, x))
    return rows, columns


@torch.no_grad()
def encode_reels(shard: Path, out: Path, vae: VideoVAE, bank: FeatureBank, batch: int = 12) -> None:
    """Latents of a shard's clips, as drawn and mirrored (R, K, 2, C, t, h, w), and the features of what each says."""
    reel = read_reels(shard)
    count, clips, frames = reel["frames"].shape[:3]
    flat = torch.as_tensor(reel["frames"]).flatten(0, 1)
    device, parts = device_of(vae), []
    with torch.autocast(device.type, torch.bfloat16):
        for part in flat.split(batch):
            video = as_video(part.to(device))
            parts.append(torch.stack([vae.encode(one).float().cpu() for one in (video, video.flip(-1))], 1))
    latent = torch.cat(parts).unflatten(0, (count, clips)).half().numpy()
    times = reel["start"][..., None] + np.arange(frames) / reel["fps"][:, None, None]
    rows = zip(reel["utterance"], times, strict=True)
    speech = np.stack([[bank.at(int(said), at_T) for said, at_T in zip(*row, strict=True)] for row in rows])
    with replacing(out) as part, open(part, "wb") as file:
        np.savez(file, latent=latent, speech=speech.astype(np.float16), mouth=reel["mouth"], style=reel["style"])


class Reels:
    """Drawn frames beside their latents, shard by shard; frames are mapped from the disk.

    `voices`: what a SyncNet hears of them.
    """

    def __init__(self, drawn: Sequence[Path], encoded: Sequence[Path], voices: Voices | None = None) -> None:
        self.shards, self.voices = [], voices
        for frames, latents in zip(drawn, encoded, strict=True):
            with opened(latents) as data, opened(frames) as said:
                shard = {key: data[key] for key in data.files} | {
                    key: said[key] for key in ("fps", "utterance", "start")
                }
            self.shards.append(shard | {"frames": mapped(frames, "frames")})

    def draw(
        self, batch: int, texts: dict, options: GeneratorOptions, rng: np.random.Generator, seen: int | None = None
    ) -> dict[str, Tensor]:
        """Random pseudo-pairs, half of them mirrored; `texts`: style -> list of encoded captions (L, D).

        The first `seen` (None: all) come with their frames, and where a SyncNet counts with what it hears of a stretch.
        """
        rows: dict[str, list] = defaultdict(list)
        for row in range(batch):
            shard = self.shards[rng.integers(len(self.shards))]
            reel, mirrored = rng.integers(len(shard["latent"])), int(rng.random() < 0.5) % shard["latent"].shape[2]
            target, source = rng.choice(shard["latent"].shape[1], size=2, replace=False)
            captions = texts[int(shard["style"][reel, target])]
            heard = rng.random() >= options.joint_dropout
            for name, clip in (("source", source), ("target", target)):
                rows[name].append(shard["latent"][reel, clip, mirrored])
                if seen is None or row < seen:
                    frames = np.asarray(shard["frames"][reel, clip])
                    rows[f"{name}_frames"].append(frames[:, :, ::-1] if mirrored else frames)
            read = heard and rng.random() >= options.text_dropout
            rows["text"].append(captions[rng.integers(len(captions))] * read)
            rows["speech"].append(shard["speech"][reel, target] * heard)
            mouth_T3 = shard["mouth"][reel, target].copy()
            if mirrored:
                mouth_T3[:, 0] = 1 - mouth_T3[:, 0]
            rows["mouth"].append(mouth_T3)
            if self.voices and options.sync_weight and (seen is None or row < seen):
                late, at_F = draw_stretch(self.voices.config.frames, shard["fps"][reel], len(mouth_T3), rng)
                said, begin = (shard[name][reel, target] for name in ("utterance", "start"))
                rows["sync_frames"].append(at_F)
                rows["mel"].append(self.voices.mel(int(said), begin + late)[None])
                rows["heard"].append(heard)
            rows["sigma"].append(rng.uniform(options.sigma_least, 1))
        whole = {name: torch.as_tensor(np.stack(value)) for name, value in rows.items()}
        return {name: value if "frames" in name else value.float() for name, value in whole.items()}


def generator_loss(
    model: Generator, batch: dict[str, Tensor], decoded: int, options: GeneratorOptions, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Error of the prediction in latents, in units of what differs from the source; of `decoded` samples in pixels.

    Without any to decode the transformer learns alone, on pieces of `latent_piece` latents around the mouth.
    """
    if not decoded:
        return _latent_loss(model, batch, options, rng)
    batch = {name: value.to(device_of(model)) for name, value in batch.items()}
    target, source = batch["target"], batch["source"]
    plain = rng.random() < options.plain_share
    given = plain or rng.random() < options.truth_share
    learns = options.latent_weight > 0
    clean, figures = target, {}
    if learns or not given:
        with torch.set_grad_enabled(learns):
            clean = model.predict(source, batch["sigma"], batch["speech"], batch["text"])
        figures = latent_losses(model, clean, batch, options.mouth_weight)
    size = tuple(target.shape[-2:])

    pieces = corners(batch["mouth"][:decoded], size[0], options.piece, rng)
    latent = cut((target if given else clean)[:decoded], pieces, options.piece)
    scale, side = model.vae.spatial_stride, options.piece * model.vae.spatial_stride
    frames = {
        name: cut(as_video(batch[f"{name}_frames"]), [(x * scale, y * scale) for x, y in pieces], side)
        for name in ("source", "target")
    }
    result = model.decode(latent, None if plain else frames["source"])
    mouth = batch["mouth"][:decoded] * (size[0] / options.piece)
    mouth[..., :2] -= torch.tensor(pieces, device=mouth.device)[:, None] / options.piece
    pixels = pixel_loss(result, frames["target"], mouth, options)
    figures["codec" if plain else "truth" if given else "pixels"] = pixels
    loss = options.pixel_weight * pixels + (options.latent_weight * figures["latents"] if learns else 0)
    if options.sync_weight and not given and batch["heard"].any():
        figures["sync"] = sync_figure(model, result, batch, [(x * scale, y * scale) for x, y in pieces])
        loss = loss + options.sync_weight * figures["sync"]
    if options.adversary_weight and not plain:
        figures |= (judged := adversary_losses(model.adversary, result, frames["target"]))
        share = options.adversary_weight * options.pixel_weight
        loss = loss + share * balance(pixels, judged["passes"], result) * judged["passes"] + judged["tells"]
    return {"loss": loss, **{name: value.detach() for name, value in figures.items()}}


def _latent_loss(model: Generator, batch: dict, options: GeneratorOptions, rng: np.random.Generator) -> dict:
    if options.latent_piece:
        batch = cut_pieces(batch, options.latent_piece, rng)
    batch = {name: value.to(device_of(model)) for name, value in batch.items()}
    clean = model.predict(batch["source"], batch["sigma"], batch["speech"], batch["text"])
    losses = latent_losses(model, clean, batch, options.mouth_weight)
    return {"loss": losses["latents"], "mouth": losses["mouth"].detach()}


def latent_losses(model: Generator, clean: Tensor, batch: dict[str, Tensor], mouth_weight: float) -> dict[str, Tensor]:
    """`latents`: squared error over the spread of what differs from the source, heavier at the mouth; `mouth`: there,
    the share of what had to change that is wrong still."""
    target, source = batch["target"], batch["source"]
    size = tuple(target.shape[-2:])
    near = torch.stack(
        [gaussian(mouth_per_latent_frame(mouth_T3, DiT.stride), size, 0.6) for mouth_T3 in batch["mouth"]]
    )[:, None]
    weight, error, difference = 1 + mouth_weight * near, (clean - target).square(), (target - source).square()
    if model.channel_weights_C is not None:
        channels = model.channel_weights_C.to(error)[:, None, None, None]
        error, difference = channels * error, channels * difference
    return {
        "latents": (weight * error).mean() / (weight.mean() * (model.dit.config.residual_std or 1.0) ** 2),
        "mouth": (near * error).sum() / (near * difference).sum(),
    }


@torch.no_grad()
def channel_weights(model: Generator, batch: dict[str, Tensor]) -> Tensor:
    """How much an error in each channel of the latents shows in the decoder's pictures around the mouth; mean 1."""
    target, frames, shown = batch["target"], as_video(batch["source_frames"]), []
    near = torch.stack([gaussian(mouth_T3, tuple(frames.shape[-2:]), 0.6) for mouth_T3 in batch["mouth"]])[:, None]
    noise, right = 0.3 * torch.randn_like(target[:, :1]), model.decode(target, frames)
    for channel in range(target.shape[1]):
        wrong = target.clone()
        wrong[:, channel : channel + 1] += noise
        shown.append((near * (model.decode(wrong, frames) - right).square()).mean((1, 2, 3, 4)))
    weights_BC = torch.stack(shown, 1)
    return (weights_BC / weights_BC.mean(1, keepdim=True)).mean(0)


def pixel_loss(result: Tensor, target: Tensor, mouth_BT3: Tensor, options: GeneratorOptions) -> Tensor:
    """L1, L2, gradients at two scales and the change from frame to frame; heavier at the mouth. Videos -1..1."""
    near = torch.stack([gaussian(mouth_T3, tuple(target.shape[-2:]), 0.6) for mouth_T3 in mouth_BT3])[:, None]
    weight = 1 + options.mouth_weight * near
    weight = weight / weight.mean()
    difference = result - target
    loss = (weight * (difference.abs() + 2 * difference.square())).mean()
    loss = loss + options.time_weight * (weight[:, :, 1:] * difference.diff(dim=2).abs()).mean()
    for axis in (-1, -2):
        for step in (1, 2):
            size = target.shape[axis] - step
            change = difference.narrow(axis, step, size) - difference.narrow(axis, 0, size)
            loss = loss + (weight.narrow(axis, 0, size) * change.abs()).mean() / step
    return loss


def sync_figure(
    model: Generator, result: Tensor, batch: dict[str, Tensor], at: Sequence[tuple[int, int]]
) -> Tensor:  # fmt: skip
    """How little the SyncNet believes that decoded pieces, at pixels x, y of the target's frames, say what was heard.

    `result` (B, 3, T, side, side); of the batch its first B, of them those whose prediction heard anything.
    """
    whole = as_video(batch["target_frames"])
    for row, (piece, (x, y)) in enumerate(zip(result, at, strict=True)):
        whole[row, ..., y : y + piece.shape[-2], x : x + piece.shape[-1]] = piece
    shown_BF, rows_B1 = batch["sync_frames"], torch.arange(len(whole), device=whole.device)[:, None]
    mouth_BF3 = batch["mouth"][rows_B1, shown_BF]
    faces = sampled_faces(whole.transpose(1, 2)[rows_B1, shown_BF], mouth_BF3, model.syncnet.config.resolution)
    heard = batch["heard"] > 0
    return sync_loss(model.syncnet, faces[heard], batch["mel"][heard])


def corners(mouth_BT3: Tensor, size: int, piece: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Where pieces of `piece` latents squared around the mouths begin, in latents."""
    found = []
    for x, y, _ in mouth_BT3.mean(1).tolist():
        wanted = np.array([x, y]) * size - piece / 2 + rng.normal(size=2)
        column, row = np.clip(np.round(wanted), 0, size - piece)
        found.append((int(column), int(row)))
    return found


def cut(x: Tensor, at: Sequence[tuple[int, int]], side: int) -> Tensor:
    return torch.stack([one[..., y : y + side, x0 : x0 + side] for one, (x0, y) in zip(x, at, strict=True)])
