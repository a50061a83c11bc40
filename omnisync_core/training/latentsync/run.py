"""A LatentSync training from a TOML file: `[latentsync]` says what is trained, on which clips, from which files.

Under `accelerate launch` every process draws its own batch; a run that was stopped goes on where it was saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ...engines.latentsync import read_unet, read_whisper
from ...errors import InputError
from ...files import replacing
from ...models.picture_vae import read_picture_vae
from ..fit import Course, Report, fit, log_unseen
from ..lora import add_lora, linear_layers, low_rank, write_lora
from ..optimiser import AdamW
from ..settings import check_kinds, check_number
from ..stage import device_of, step_rng
from .codec import Codec
from .contrastive import Crossed, Pairs, contrastive_loss, crossed_loss, draw_pairs
from .drawn import DrawnReels, is_drawn
from .faces import FaceClip, HeardClip, draw_faces, read_clips
from .perceptual import load_perceptual
from .stages import STAGES, Judges, StageOptions, build_unet, recompute, stage_loss
from .syncnet import LAYOUTS, StableSyncNet, SyncNetConfig, load_syncnet
from .videomae import load_videomae

SYNCNET = "syncnet"
SYNCNET_FILE, UNET_FILE, LORA_FILE = (
    "stable_syncnet.safetensors",
    "latentsync_unet.safetensors",
    "latentsync_lora.safetensors",
)
UNSEEN_BATCHES, UNSEEN_FROM = 8, 10**9


@dataclass(frozen=True)
class LatentSyncOptions:
    """The table `[latentsync]`. Paths are files in the formats they are published in."""

    stage: str
    """"syncnet", "1", "2" or "2_efficient"."""
    clips: str
    """A folder of videos; SyncNet: or of reels of drawn characters (`reels_train` of a mini's training)."""
    steps: int
    unseen: str = ""
    """SyncNet: another folder of clips, of other people, to be judged on."""
    batch: int = 1
    lr: float = 1e-5
    resolution: int = 256
    layout: str = "pixel_attention"
    """Of SyncNet: one of `syncnet.LAYOUTS`."""
    unet: str = ""
    whisper: str = ""
    vae: str = ""
    syncnet: str = ""
    vgg: str = ""
    lpips: str = ""
    videomae: str = ""
    lora_rank: int = 0
    """Above 0: the linear layers of what the stage trains learn low-rank additions alone, written as a LoRA."""
    ema: float = 0.0
    """Decay of the weights' moving average, which is then what is written; 0: none."""
    bf16: bool | None = None
    """Mixed precision; None: on a GPU alone."""
    save_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name, value, allowed in (("stage", self.stage, (SYNCNET, *STAGES)), ("layout", self.layout, LAYOUTS)):
            if value not in allowed:
                raise InputError(f"latentsync.{name} must be one of {', '.join(allowed)}, got {value!r}")
        if self.resolution % 8 or self.resolution < 48:
            raise InputError(f"latentsync.resolution must be a multiple of 8 from 48 on, got {self.resolution}")
        for name in ("steps", "batch"):
            check_number(f"latentsync.{name}", getattr(self, name), 1, whole=True)
        check_number("latentsync.lr", self.lr, 0, least=False)
        check_number("latentsync.lora_rank", self.lora_rank, 0, whole=True)
        if not 0 <= self.ema < 1:
            raise InputError(f"latentsync.ema must be from 0 to below 1, got {self.ema}")
        if self.lora_rank and self.stage == SYNCNET:
            raise InputError("latentsync.lora_rank is for the UNet's stages; leave it out for syncnet")
        missing = [name for name in self.needed if not getattr(self, name)]
        if missing:
            raise InputError(f"stage {self.stage} needs the paths latentsync.{', latentsync.'.join(missing)}")

    @property
    def needed(self) -> tuple[str, ...]:
        """Which files this stage reads."""
        if self.stage == SYNCNET:
            return ("vae",) if LAYOUTS[self.layout].latent else ()
        weights = STAGES[self.stage]
        judges = {"syncnet": weights.sync, "vgg": weights.perceptual, "lpips": weights.perceptual}
        judges["videomae"] = weights.trepa
        return ("unet", "whisper", "vae", *(name for name, weight in judges.items() if weight))


def read_options(table: dict) -> LatentSyncOptions:
    """From the TOML file's table. InputError: an unknown or missing name, or a stage without the files it needs."""
    if not isinstance(table, dict):
        raise InputError(f"[latentsync] must be a table, got {table!r}")
    known = {field.name for field in fields(LatentSyncOptions)}
    unknown, missing = sorted(table.keys() - known), sorted({"stage", "clips", "steps"} - table.keys())
    if unknown or missing:
        raise InputError(f"[latentsync] lacks {missing or 'nothing'} and has unknown {unknown or 'nothing'}")
    table = {**table, "stage": str(table["stage"])}
    check_kinds(LatentSyncOptions, table, "latentsync")
    return LatentSyncOptions(**table)


def train_latentsync(table: dict, work: Path, seed: int) -> Path:
    """Train what the table says; returns the path of a file in the published names."""
    options = read_options(table)
    train = _train_syncnet if options.stage == SYNCNET else _train_unet
    model, name = train(options, work, seed)
    if options.lora_rank:
        return write_lora(work / LORA_FILE, low_rank(model), {"base": Path(options.unet).name, "stage": options.stage})
    with replacing(work / name) as part:
        save_file({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}, part)
    return work / name


def _train_syncnet(options: LatentSyncOptions, work: Path, seed: int) -> tuple[nn.Module, str]:
    config = LAYOUTS[options.layout]
    codec = Codec(read_picture_vae(options.vae)) if config.latent else None

    def opened(folder: str) -> list | DrawnReels:
        if is_drawn(folder):
            return DrawnReels(Path(folder), config, options.resolution)
        return read_clips(folder, lambda path: FaceClip(path, options.resolution, config))

    seen, unseen = opened(options.clips), opened(options.unseen) if options.unseen else []
    torch.manual_seed(seed)
    checkpointed = not isinstance(seen, DrawnReels)  # small pictures: their activations cost less than their time
    if options.syncnet:
        model = load_syncnet(options.syncnet, config, checkpointed=checkpointed)
    else:
        model = StableSyncNet(config, checkpointed=checkpointed)
    model.train().requires_grad_(True)

    def watched(model: nn.Module, drawn: Pairs | Crossed) -> Any:
        """On the model's device, as it looks at it."""
        drawn = replace(drawn, **{name: value.to(device_of(model)) for name, value in vars(drawn).items()})
        if codec is None:
            return drawn
        with torch.autocast(device_of(model).type, enabled=False):
            return replace(drawn, faces_BFCHW=codec.to(device_of(model)).encode(drawn.faces_BFCHW))

    def pairs(clips: list | DrawnReels, rng: np.random.Generator) -> Pairs:
        drawn = isinstance(clips, DrawnReels)
        return clips.pairs(options.batch, rng) if drawn else draw_pairs(clips, options.batch, rng)

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        rng = step_rng(seed, 8, step)
        if isinstance(seen, DrawnReels):
            return crossed_loss(model, watched(model, seen.crossed(options.batch, rng)))
        return contrastive_loss(model, watched(model, pairs(seen, rng)))

    def report(model: nn.Module, step: int) -> None:
        with torch.no_grad():
            rngs = [step_rng(seed, 8, UNSEEN_FROM + number) for number in range(UNSEEN_BATCHES)]
            losses = [contrastive_loss(model, watched(model, pairs(unseen, rng))) for rng in rngs]
        means = {key: torch.stack([one[key] for one in losses]).mean() for key in losses[0]}
        log_unseen(work, f"latentsync_{SYNCNET}", step, means)

    return _fit(options, work, model, loss_of, seed, report if unseen else None), SYNCNET_FILE


def _train_unet(options: LatentSyncOptions, work: Path, seed: int) -> tuple[nn.Module, str]:
    weights = STAGES[options.stage]
    whisper, codec = read_whisper(Path(options.whisper)), Codec(read_picture_vae(options.vae))
    config = LAYOUTS[options.layout]
    heard = work / "heard"
    heard.mkdir(exist_ok=True)
    clips = read_clips(options.clips, lambda path: HeardClip(path, options.resolution, config, whisper, heard))
    torch.manual_seed(seed)
    model = recompute(build_unet(read_unet(options.unet), weights, options.unet))
    if options.lora_rank:
        add_lora(model, linear_layers(model, weights.trained or ("",)), options.lora_rank)
    judges = _judges(options, weights, codec, config)

    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        device = device_of(model)
        for part in (codec, judges.syncnet, judges.perceptual, judges.motion):
            if part is not None:
                part.to(device)
        with torch.autocast(device.type, enabled=False):
            batch = draw_faces(clips, options.batch, codec, step_rng(seed, 9, step), device)
        return stage_loss(model, batch, judges, weights)

    return _fit(options, work, model, loss_of, seed), UNET_FILE


def _judges(options: LatentSyncOptions, weights: StageOptions, codec: Codec, config: SyncNetConfig) -> Judges:
    return Judges(
        decode=codec.decode,
        syncnet=load_syncnet(options.syncnet, config) if weights.sync else None,
        perceptual=load_perceptual(options.vgg, options.lpips) if weights.perceptual else None,
        motion=load_videomae(options.videomae) if weights.trepa else None,
    )


def _fit(
    options: LatentSyncOptions, work: Path, model: nn.Module, loss_of: Callable, seed: int, report: Report | None = None
) -> nn.Module:
    half = torch.cuda.is_available() if options.bf16 is None else options.bf16
    course = Course(
        steps=options.steps, optimiser=lambda model: AdamW(model, options.lr), seed=seed,
        decay=options.ema or None, precision="bf16" if half else "no", save_minutes=options.save_minutes,
    )  # fmt: skip
    return fit(f"latentsync_{options.stage}", work, model, loss_of, course, report)
