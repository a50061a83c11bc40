"""A bundle of one step from a bundle of many: `[generator]` in the TOML file says how, `init` from which.

The encoder of text and the autoencoder's encoder stay; transformer and decoder are trained together. Where there is
`[speech]`, the encoder of sound learns on before them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from ..checkpoint import Bundle, read_bundle, write_bundle
from ..engines.omnisync import BUNDLED, build_networks, build_spec
from ..errors import InputError
from ..models.vae import VideoVAE
from ..models.whisper import WhisperEncoder
from ..synth.speech import Corpus, build_corpus
from .encoders import SpeechReader, fit_head, speech_batch, train_reader
from .generator import (
    Generator,
    GeneratorOptions,
    Reels,
    channel_weights,
    edited,
    encode_reels,
    generator_loss,
    mouth_box,
)
from .latents import FeatureBank
from .latentsync.drawn import Voices
from .latentsync.syncnet import SMALL, load_syncnet
from .reels import POSE_A, ReelOptions, write_reels
from .settings import check_file, check_number, check_table
from .stage import device_of, run_stage, step_rng

BUNDLE = "omnisync_one_step.safetensors"
SHEET_CLIPS = 40
HEAD_SAYINGS = 96
_PART = {"steps": 0, "batch": 1, "decoded": 0, "seed": 0}
"""Whole numbers of a part, and the least they can be."""
_SHARES = ("interpolation", "decoder_interpolation")
"""How much is kept of what all, or the decoder, learned in a part. A decoder that is left behind learns beside the
transformer: it takes on the blur of what cannot be known, which the transformer would have to learn otherwise."""
DRAWN_SEED = 1_000_000
"""Of the first saying in a voice of its own."""
WEIGHED_WINDOWS = 16
Captions = Callable[[nn.Module], dict[int, list[np.ndarray]]]


def train_generator(config: dict, corpora: dict[str, Corpus], texts_of: Captions, work: Path) -> Path:
    """Draw, encode, train part by part; returns the bundle's path. `texts_of(encoder)`: style -> encoded captions."""
    bundle = read_bundle(config["generator"].get("init") or BUNDLED)
    networks = build_networks(bundle)
    _check_pieces(config, networks["vae"].spatial_stride)
    judge, voices = config["generator"].get("syncnet"), dict.fromkeys(corpora)
    if judge:
        judge = load_syncnet(judge, SMALL, checkpointed=False)
        voices = {split: Voices(corpus, SMALL) for split, corpus in corpora.items()}
    if "speech" in config:
        networks["whisper"] = _hear_on(config, work, networks["whisper"], corpora)
    model = _prepared(networks)
    model.syncnet = judge or None
    reels = {split: _reels(config, work, split, networks, corpora[split], voices[split]) for split in ("train", "test")}
    texts = texts_of(networks["text"])

    def write(trained: Generator) -> Path:
        return _write(config, bundle, {**networks, "dit": trained.dit, "vae": trained.vae}, work / BUNDLE)

    for number, part in enumerate(config["generator"]["parts"]):
        model = _train_part(
            f"generator_{number}", part, part.get("seed", config["seed"]), work, model, reels, texts, write
        )
    return write(model)


def check_generator(table: dict) -> None:
    """InputError: the table `[generator]` has names that are none, or values that cannot be."""
    if unknown := sorted(table.keys() - {"init", "syncnet", "parts"}):
        raise InputError(f"[generator] has unknown {', '.join(unknown)}; there are init, syncnet, parts")
    for name in ("init", "syncnet"):
        if not isinstance(table.get(name, ""), str):
            raise InputError(f"generator.{name} must be the name of a file, got {table[name]!r}")
        check_file(f"generator.{name}", table.get(name, ""))
    parts = table["parts"]
    if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
        raise InputError(f"generator.parts must be tables [[generator.parts]], one or more, got {parts!r}")
    for number, part in enumerate(parts, 1):
        try:
            _check_part(part)
        except InputError as error:
            raise InputError(f"part {number} of generator.parts: {error}") from None
        if part.get("objective", {}).get("sync_weight") and not table.get("syncnet"):
            raise InputError(f"part {number} of generator.parts: sync_weight needs a SyncNet's file, generator.syncnet")


def _check_part(part: dict) -> None:
    known = {*_PART, *_SHARES, "lr", "compiled", "objective"}
    unknown, missing = sorted(part.keys() - known), sorted({"steps", "batch", "decoded", "lr"} - part.keys())
    if unknown or missing:
        raise InputError(
            f"it lacks {', '.join(missing) or 'nothing'} and has unknown {', '.join(unknown) or 'nothing'}"
        )
    for name in _PART.keys() & part.keys():
        check_number(name, part[name], _PART[name], whole=True)
    check_number("lr", part["lr"], 0, least=False)
    for name in _SHARES:
        check_number(name, share := part.get(name, 1.0), 0)
        if share > 1:
            raise InputError(f"{name} must be a number from 0 to 1, got {share:g}")
    if part["decoded"] > part["batch"]:
        raise InputError(f"decoded must be at most the batch of {part['batch']}, got {part['decoded']}")
    if not isinstance(part.get("compiled", False), bool):
        raise InputError(f"compiled must be true or false, got {part['compiled']!r}")
    check_table(GeneratorOptions, part.get("objective", {}), "objective")


def _check_pieces(config: dict, stride: int) -> None:
    """InputError: a part looks at pieces that are larger than the crops."""
    most = config["reels"]["crop_size"] // stride
    for number, part in enumerate(config["generator"]["parts"], 1):
        objective = GeneratorOptions(**part.get("objective", {}))
        name, side = ("piece", objective.piece) if part["decoded"] else ("latent_piece", objective.latent_piece)
        if side > most:
            raise InputError(
                f"part {number} of generator.parts: objective.{name} must be at most {most}, the side of a crop of "
                f"{config['reels']['crop_size']} pixels in latents, got {side}"
            )


def _hear_on(config: dict, work: Path, encoder: WhisperEncoder, corpora: dict[str, Corpus]) -> WhisperEncoder:
    """The encoder of sound, taught to read the mouth in more sayings; its head is fitted before it learns."""
    options, seed = config["speech"], config["seed"]
    if drawn := options.get("drawn_voices"):
        path = work / "corpus_voices.npz"
        if not path.exists():
            seconds, workers = config["corpus"]["seconds"], config["corpus"]["workers"]
            build_corpus(drawn, "train", DRAWN_SEED, seconds, workers, path, drawn=True)
        corpora = {**corpora, "train": Corpus(*corpora["train"].paths, path)}
    reader = SpeechReader(encoder.config)
    reader.encoder.load_state_dict(encoder.state_dict())
    fit_head(reader, *speech_batch(corpora["train"], encoder.config, HEAD_SAYINGS, step_rng(seed, 6)))
    return train_reader(reader, corpora, options, work, seed)


def _train_part(
    name: str, part: dict, seed: int, work: Path, model: Generator, reels: dict[str, Reels], texts: dict,
    write: Callable[[Generator], Path],
) -> Generator:  # fmt: skip
    """One part of the training from the average of the one before, `_SHARES` of what it learned."""
    objective = GeneratorOptions(**part.get("objective", {}))
    model.dit.requires_grad_(objective.latent_weight > 0)
    model.vae.decoder.requires_grad_(part["decoded"] > 0)
    model.adversary.requires_grad_(objective.adversary_weight > 0)
    model.channel_weights_C = _channel_weights(model, reels["train"], texts, seed) if objective.by_channel else None
    if part.get("compiled"):
        model.dit.compile(dynamic=False)

    def loss_of(running: nn.Module, step: int) -> dict[str, torch.Tensor]:
        rng = step_rng(seed, 5, step)
        batch = reels["train"].draw(part["batch"], texts, objective, rng, part["decoded"])
        return generator_loss(running, batch, part["decoded"], objective, rng)

    def sheet(average: nn.Module, step: int) -> None:
        figures, picture = generator_sheet(average, reels["test"], texts)
        cv2.imwrite(str(work / f"{name}_{step:06d}.png"), picture[..., ::-1])
        said = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
        print(f"{name}, step {step}: {said}", flush=True)
        write(average)

    before = {key: value.clone() for key, value in model.state_dict().items()}
    learned = run_stage(
        name, work, model, loss_of, steps=part["steps"], lr=part["lr"], seed=seed, decay=0.995,
        matrices={"muon_ratio": 2.0, "muon_decay": 0.1}, save_minutes=6.0, sheet=sheet,
    )  # fmt: skip
    after, share = learned.state_dict(), part.get("interpolation", 1.0)
    decoder = interpolated(before, after, part.get("decoder_interpolation", share))
    kept = {key: value for key, value in decoder.items() if key.startswith("vae.decoder.")}
    learned.load_state_dict(interpolated(before, after, share) | kept)
    return learned


def _channel_weights(model: Generator, reels: Reels, texts: dict, seed: int) -> torch.Tensor:
    """Of this decoder on some windows of the training."""
    batch = reels.draw(WEIGHED_WINDOWS, texts, GeneratorOptions(), step_rng(seed, 8))
    torch.manual_seed(seed)
    with torch.autocast(device_of(model).type, torch.bfloat16):
        return channel_weights(model, {name: value.to(device_of(model)) for name, value in batch.items()})


def interpolated(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], share: float) -> dict:
    """Weights on the straight line from before (0) to after (1): what a short training costs goes faster along it than
    what it gains (Wortsman et al., Robust fine-tuning of zero-shot models, 2022)."""
    return {
        key: before[key].to(value).lerp(value, share) if value.is_floating_point() else value
        for key, value in after.items()
    }


def _prepared(networks: dict[str, nn.Module]) -> Generator:
    """The bundle's networks, its decoder with new ways from the source that change nothing yet."""
    dit, vae = networks["dit"], networks["vae"]
    if not vae.config.skips:
        wider = VideoVAE(replace(vae.config, skips=True))
        for skip in wider.decoder.skips:
            nn.init.zeros_(skip.weight)
            nn.init.zeros_(skip.bias)
        nn.init.zeros_(wider.decoder.blend.outer.conv.weight)
        nn.init.zeros_(wider.decoder.blend.outer.conv.bias)
        wider.load_state_dict(vae.state_dict(), strict=False)
        vae = wider
    return Generator(dit, vae)


def _reels(
    config: dict, work: Path, split: str, networks: dict[str, nn.Module], corpus: list, voices: Voices | None
) -> Reels:  # fmt: skip
    options = config["reels"]
    reels = ReelOptions(
        corpus=str(work / f"corpus_{split}.npz"), out=str(work / f"reels_{split}"), split=split,
        seed=options.get("seed", config["seed"]), crop_size=options["crop_size"], frames=options["frames"],
        clips=POSE_A,
    )  # fmt: skip
    drawn = write_reels(reels, options["characters" if split == "train" else "test_characters"], options["workers"])
    folder = work / f"encoded_{split}"
    folder.mkdir(exist_ok=True)
    encoded = [folder / path.name for path in drawn]
    missing = [(frames, out) for frames, out in zip(drawn, encoded, strict=True) if not out.exists()]
    if missing:
        bank = FeatureBank(networks["whisper"], corpus, networks["dit"].config.speech_tokens)
        for frames, out in missing:
            encode_reels(frames, out, networks["vae"], bank)
    return Reels(drawn, encoded, voices)


@torch.no_grad()
def generator_sheet(model: Generator, reels: Reels, texts: dict) -> tuple[dict[str, float], np.ndarray]:
    """Figures in the mouth's neighbourhood on unseen characters, and a picture: source, result, truth."""
    rows: list = []
    rng, sums = np.random.default_rng(9), dict.fromkeys(("left", "there", "edges", "edges_true"), 0.0)
    options = replace(GeneratorOptions(), joint_dropout=0.0, text_dropout=0.0)
    for _ in range(SHEET_CLIPS // 4):
        batch = {name: value.to(device_of(model)) for name, value in reels.draw(4, texts, options, rng).items()}
        torch.manual_seed(int(rng.integers(2**31)))
        with torch.autocast(device_of(model).type, torch.bfloat16):
            source, result, target = edited(model, batch, 0.92)
        for one in range(len(result)):
            box = (..., *mouth_box(batch["mouth"][one], source.shape[-1]))
            shown = {name: video[one][box] for name, video in (("s", source), ("r", result), ("t", target))}
            sums["left"] += float((shown["r"] - shown["t"]).square().sum())
            sums["there"] += float((shown["s"] - shown["t"]).square().sum())
            sums["edges"] += _edges(shown["r"])
            sums["edges_true"] += _edges(shown["t"])
        if len(rows) < 6:
            at = source.shape[2] // 2
            rows.append(torch.cat([torch.cat(list(video[:, :, at]), 2) for video in (source, result, target)], 1))
    half = len(rows) // 2
    picture = torch.cat([torch.cat(rows[:half], 2), torch.cat(rows[half : 2 * half], 2)], 1).permute(1, 2, 0)
    figures = {"share": 1 - sums["left"] / sums["there"], "edges": sums["edges"] / sums["edges_true"]}
    return figures, ((picture + 1) * 127.5).clamp(0, 255).byte().cpu().numpy()


def _edges(video_CTHW: torch.Tensor) -> float:
    return sum(float(video_CTHW.diff(dim=axis).square().sum()) for axis in (-1, -2))


def _write(config: dict, bundle: Bundle, networks: dict[str, nn.Module], path: Path) -> Path:
    vae = networks["vae"].config
    spec = replace(build_spec(bundle), crop_size=config["reels"]["crop_size"], window_frames=config["reels"]["frames"])
    described = {**bundle.config, "vae": asdict(vae), "spec": asdict(spec), "sampling": config["sampling"]}
    write_bundle(path, {part: networks[part] for part in ("dit", "vae", "whisper", "text")}, described)
    return path
