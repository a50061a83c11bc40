"""The whole training, stage by stage, from a TOML file to a bundle.

Voices, drawings, the two encoders, the autoencoder, the transformer. Under `accelerate launch` the first process makes
the files and the others wait; every process trains on its own batches.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from accelerate import PartialState
from safetensors import SafetensorError
from torch import Tensor, nn

from ..checkpoint import write_bundle
from ..diffusion.guidance import Guidance
from ..errors import InputError, OutputError
from ..files import make_folder
from ..models import text, whisper
from ..models.dit import MINI, DiT
from ..models.vae import VAEConfig, VideoVAE
from ..spec import VideoSpec
from ..synth.archive import opened
from ..synth.speech import CAPTIONS, Corpus, build_corpus
from .autoencoder import AutoencoderTraining, autoencoder_loss, pixel_batch, psnr_sheet
from .encoders import WORDS, CaptionReader, SpeechReader, caption_loss, train_reader
from .latents import FeatureBank, encode_shard, latent_statistics
from .latentsync.run import train_latentsync
from .objective import ObjectiveOptions, cut_pieces, draw_batch, flow_loss
from .one_step import check_generator, train_generator
from .reels import ReelOptions, write_reels
from .settings import check_number, check_table
from .sized import train_sized
from .sized.options import read_options
from .sized.parts import text_width
from .sized.start import fresh
from .sized.windows import read_encoding
from .stage import run_stage, step_rng

if TYPE_CHECKING:
    from .sized.memory import Need

BUNDLE = "omnisync_mini.safetensors"
_KEYS = {
    "corpus": ("utterances", "seconds", "workers"),
    "reels": ("characters", "test_characters", "crop_size", "frames", "workers"),
    "speech": ("steps", "batch", "lr"),
    "text": ("steps", "batch", "lr"),
    "vae": ("steps", "batch", "frames", "size", "lr", "shards"),
    "dit": ("steps", "batch", "piece_batch", "lr"),
    "sampling": ("steps", "tau", "guidance"),
}

_SHARES, _TABLES = ("seconds", "lr", "tau"), ("guidance", "parts")
"""Of these keys: what need not be a whole number, and what is none."""
_GENERATOR_KEYS = {part: _KEYS[part] for part in ("corpus", "reels", "sampling")} | {"generator": ("parts",)}


def train(path: str | Path) -> Path:
    """Run every stage of the configuration at `path`; returns the bundle's path.

    OutputError: something cannot be written; what was saved stays.
    """
    config = _read(Path(path))
    work = Path(config["out"])
    make_folder(work)
    try:
        return _train(config, work)
    except OutputError:
        raise
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise OutputError(
            f"the training in {work} cannot go on ({reason}); what it saved stays: give the command again once that is "
            "mended"
        ) from error


def _train(config: dict, work: Path) -> Path:
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
    if "latentsync" in config:
        return train_latentsync(config["latentsync"], work, config["seed"])
    if "omnisync" in config:
        return train_sized(config["omnisync"], work, config["seed"])
    with state.main_process_first():
        corpus = _corpora(config, work)
    if "generator" in config:
        return train_generator(config, corpus, encode_captions, work)
    with state.main_process_first():
        reels = {split: _reels(config, work, split) for split in ("train", "test")}
    reader = _fresh(lambda: SpeechReader(whisper.MINI), config["seed"])
    speech = train_reader(reader, corpus, config["speech"], work, config["seed"])
    captions = _captions(config["text"], work, config["seed"])
    vae = _autoencoder(config, work, reels)
    with state.main_process_first():
        latents = {
            split: _latents(work, split, paths, vae, FeatureBank(speech, corpus[split], MINI.speech_tokens))
            for split, paths in reels.items()
        }
    dit = _transformer(config, work, latents, captions)
    if state.is_main_process:
        _write(config, work, {"dit": dit, "vae": vae, "whisper": speech, "text": captions})
    return work / BUNDLE


def dry_run(path: str | Path, processes: int = 1, timed: bool = True) -> Need:
    """What the training of an `[omnisync]` table would need; its windows are described, nothing else is read.

    InputError: another training.
    """
    config = _read(Path(path))
    if "omnisync" not in config:
        raise InputError(f"{path} has no [omnisync]: what other trainings need stands in docs/training.md")
    from .sized.memory import need, step_seconds

    options = read_options(config["omnisync"])
    encoding, text_dim = read_encoding(Path(options.data)), text_width(options.text)
    found = need(options, encoding, text_dim, processes)
    return replace(found, seconds=step_seconds(options, encoding, text_dim)) if timed else found


def _write(config: dict, work: Path, networks: dict[str, nn.Module]) -> None:
    spec = VideoSpec(crop_size=config["reels"]["crop_size"], window_frames=config["reels"]["frames"])
    described = {part: networks[part].config for part in ("whisper", "text")}
    described |= {part: asdict(networks[part].config) for part in ("dit", "vae")}
    write_bundle(work / BUNDLE, networks, {**described, "spec": asdict(spec), "sampling": config["sampling"]})


def encode_captions(encoder: text.TextEncoder) -> dict[int, list[np.ndarray]]:
    """Features of every caption of every style, by the style's index."""
    with torch.no_grad():
        return {
            index: list(encoder.encode(_worded(forms)).cpu().numpy()) for index, forms in enumerate(CAPTIONS.values())
        }


def _worded(forms: tuple[str, ...]) -> list[str]:
    """The sentences that `synth.speech.caption` can make of these forms, also without the full stop."""
    texts = {re.sub(r"^A (?=[aeiou])", "An ", form.format(word)) for form in forms for word in WORDS}
    return sorted(texts | {text.rstrip(".") for text in texts})


def _read(path: Path) -> dict:
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; configs/mini.toml is an example") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); give a TOML file such as configs/mini.toml"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no valid TOML: {error}") from None
    unknown = sorted(config.keys() - {"out", "seed", "latentsync", "omnisync", *_KEYS, "generator"})
    kinds = sorted(config.keys() & {"latentsync", "omnisync", "generator"})
    if unknown or len(kinds) > 1:
        what = (
            f"unknown {', '.join(unknown)}" if unknown else f"{' and '.join(kinds)}, which are trainings of their own"
        )
        raise InputError(f"{path} has {what}; compare it with those in configs/")
    keys = {} if config.keys() & {"latentsync", "omnisync"} else _GENERATOR_KEYS if "generator" in config else _KEYS
    if "speech" in config:
        keys = keys | {"speech": _KEYS["speech"]}
    missing = [name for name in ("out", "seed", *keys) if name not in config]
    wrong = [part for part in keys if not isinstance(config.get(part, {}), dict)]
    if wrong:
        raise InputError(f"{path}: {wrong[0]} must be a table, got {config[wrong[0]]!r}")
    missing += [f"{part}.{name}" for part, names in keys.items() for name in names if name not in config.get(part, {})]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; compare it with configs/mini.toml")
    _check_values(config, keys)
    return config


def _check_values(config: dict, keys: dict[str, tuple[str, ...]]) -> None:
    """InputError: a number that is none, or cannot be."""
    if not isinstance(config["out"], str) or not config["out"]:
        raise InputError(f"out must be the name of a folder, got {config['out']!r}")
    check_number("seed", config["seed"], 0, whole=True)
    for part, names in keys.items():
        for name in names:
            if name not in _TABLES:
                check_number(f"{part}.{name}", config[part][name], 0, whole=name not in _SHARES, least=False)
    if "sampling" in keys:
        check_table(Guidance, config["sampling"]["guidance"], "sampling.guidance")
    if "dit" in keys:
        check_table(ObjectiveOptions, config["dit"].get("objective", {}), "dit.objective")
    if "generator" in keys:
        check_generator(config["generator"])


def _fresh(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """A network whose first weights depend on the seed alone: the same in every process, whatever ran before."""
    torch.manual_seed(seed)
    return build()


def _corpora(config: dict, work: Path) -> dict[str, Corpus]:
    options, corpora = config["corpus"], {}
    for split, count in (("train", options["utterances"]), ("test", max(20, options["utterances"] // 10))):
        path = work / f"corpus_{split}.npz"
        if not path.exists():
            build_corpus(count, split, config["seed"], options["seconds"], options["workers"], path)
        corpora[split] = Corpus(path)
    return corpora


def _reels(config: dict, work: Path, split: str) -> list[Path]:
    options = config["reels"]
    reel = ReelOptions(
        corpus=str(work / f"corpus_{split}.npz"), out=str(work / f"reels_{split}"), split=split, seed=config["seed"],
        crop_size=options["crop_size"], frames=options["frames"],
    )  # fmt: skip
    return write_reels(reel, options["characters" if split == "train" else "test_characters"], options["workers"])


def _captions(options: dict, work: Path, seed: int) -> text.TextEncoder:
    def loss_of(model: Any, step: int) -> dict[str, Tensor]:
        return caption_loss(model, options["batch"], step_rng(seed, 2, step))

    model = _fresh(lambda: CaptionReader(text.MINI), seed)
    model = run_stage("text", work, model, loss_of, steps=options["steps"], lr=options["lr"], seed=seed)
    return model.encoder.eval()


def _autoencoder(config: dict, work: Path, reels: dict[str, list[Path]]) -> VideoVAE:
    options, seed = config["vae"], config["seed"]
    shards = [dict(opened(path)) for path in reels["train"][: options["shards"]]]
    test = dict(opened(reels["test"][0]))

    def loss_of(model: Any, step: int) -> dict[str, Tensor]:
        rng = step_rng(seed, 3, step)
        return autoencoder_loss(model, *pixel_batch(shards, options["batch"], options["frames"], options["size"], rng))

    def sheet(model: Any, step: int) -> None:
        figures, picture = psnr_sheet(model.vae, test)
        cv2.imwrite(str(work / f"vae_{step:06d}.png"), picture[..., ::-1])
        print(f"autoencoder, step {step}: " + ", ".join(f"{key} {value:.2f} dB" for key, value in figures.items()))

    model = _fresh(lambda: AutoencoderTraining(VideoVAE(VAEConfig())), seed)
    model = run_stage(
        "vae", work, model, loss_of, steps=options["steps"], lr=options["lr"], seed=seed,
        compiled=options.get("compiled", True), sheet=sheet,
    )  # fmt: skip
    vae = model.vae.eval()
    mean, std = latent_statistics(vae, reels["train"][:3])
    vae.latent_mean.copy_(mean)
    vae.latent_std.copy_(std)
    return vae


def _latents(work: Path, split: str, reels: list[Path], vae: VideoVAE, bank: FeatureBank) -> list[Path]:
    folder = work / f"latents_{split}"
    folder.mkdir(exist_ok=True)
    for path in reels:
        if not (folder / path.name).exists():
            encode_shard(path, folder / path.name, vae, bank)
    return [folder / path.name for path in reels]


def _transformer(config: dict, work: Path, latents: dict[str, list[Path]], captions: text.TextEncoder) -> DiT:
    options, seed = config["dit"], config["seed"]
    objective = ObjectiveOptions(**options.get("objective", {}))
    coarse = replace(objective, high_noise_share=objective.piece_high_noise_share)
    shards = {split: [dict(opened(path)) for path in paths] for split, paths in latents.items()}
    texts = encode_captions(captions)

    def loss_of(model: Any, step: int) -> dict[str, Tensor]:
        rng = step_rng(seed, 4, step)
        if step >= objective.piece_share * options["steps"]:
            return flow_loss(model, draw_batch(shards["train"], texts, options["batch"], objective, rng), objective)
        batch = draw_batch(shards["train"], texts, options["piece_batch"], coarse, rng)
        return flow_loss(model, cut_pieces(batch, min(objective.piece, *batch["target"].shape[-2:]), rng), objective)

    def report(model: Any, step: int) -> None:
        fixed = np.random.default_rng(5)
        with torch.no_grad():
            batches = [draw_batch(shards["test"], texts, 16, objective, fixed) for _ in range(4)]
            parts = [flow_loss(model, batch, objective) for batch in batches]
        means = {key: np.nanmean([float(part[key]) for part in parts]) for key in parts[0]}
        print(f"transformer, step {step}, unseen: " + ", ".join(f"{key} {value:.4f}" for key, value in means.items()))

    trained = run_stage(
        "dit", work, _fresh(lambda: fresh(MINI), seed), loss_of, steps=options["steps"], lr=options["lr"], seed=seed,
        decay=0.999,
        compiled=options.get("compiled", True), matrices={"muon_ratio": 2.0, "muon_decay": 0.4}, sheet=report,
    )  # fmt: skip
    return trained.eval()
