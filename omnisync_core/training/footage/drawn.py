"""Reels of drawn characters (`training/reels.py`) as encoded windows: exact pseudo-pairs, and arbitrary ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from ...errors import InputError
from ...models.vae import VideoVAE
from ...synth.archive import opened
from ...synth.speech import CAPTIONS, load_corpus
from ..latents import FeatureBank, as_video, read_reels
from ..reels import POSE_A, STYLES
from ..sized.parts import digest_of, open_vae, open_whisper
from ..sized.windows import Encoding, WindowRow, write_encoding, write_windows
from .encode import EncodeOptions


def encode_drawn(
    reels: str | Path, out: str | Path, options: EncodeOptions, on_shard: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Every shard of `reels_train` and `reels_test` below a folder, each with its voices (`corpus_train.npz`) there.

    Returns the windows made now; a shard that is there is not made again. InputError: no reels, or no voices.
    """
    reels, out = Path(reels), Path(out) / "encoded" / options.name
    shards = [(split, path) for split in ("train", "test") for path in sorted(reels.glob(f"reels_{split}/reels_*.npz"))]
    if not shards:
        raise InputError(f"no reels_train/reels_*.npz in {reels}; `train configs/mini.toml` draws them")
    vae, whisper = open_vae(options.vae), open_whisper(options.whisper)
    with opened(shards[0][1]) as data:
        frames, size = data["mouth"].shape[2], data["frames"].shape[3]
    latent = (vae.config.latent_channels, 1 + (frames - 1) // 4, size // vae.spatial_stride, size // vae.spatial_stride)
    speech = (frames, options.tokens, whisper.width)
    write_encoding(out, Encoding(digest_of(vae), digest_of(whisper), latent, speech, (frames, 3), size))
    banks: dict[str, FeatureBank] = {}
    count = 0
    for done, (split, path) in enumerate(shards, 1):
        made = out / f"{split}_{path.stem}.parquet"
        if not made.exists():
            if split not in banks:
                corpus = reels / f"corpus_{split}.npz"
                if not corpus.exists():
                    raise InputError(f"{path.parent} needs the voices that it was drawn to, {corpus}")
                banks[split] = FeatureBank(whisper, load_corpus(corpus), options.tokens)
            count += write_windows(made, _rows(path, vae, banks[split]))
        on_shard(done, len(shards))
    return count


@torch.no_grad()
def _rows(shard: Path, vae: VideoVAE, bank: FeatureBank) -> Iterator[WindowRow]:
    reels = read_reels(shard)
    for reel, clips in enumerate(reels["frames"]):
        person = f"drawn {int(reels['scene'][reel])}"
        latents = vae.encode(as_video(torch.as_tensor(clips))).float().numpy()
        for clip, latent in enumerate(latents):
            times_T = reels["start"][reel, clip] + np.arange(clips.shape[1]) / reels["fps"][reel]
            style = STYLES[int(reels["style"][reel, clip])]
            yield WindowRow(
                id=f"{person}/{clip}", person=person, pose=f"{person}/{int(clip >= POSE_A)}", truth=True,
                caption=CAPTIONS[style][0].format("character"), latent=latent,
                speech=bank.at(int(reels["utterance"][reel, clip]), times_T), mouth=reels["mouth"][reel, clip],
            )  # fmt: skip
