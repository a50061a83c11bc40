"""A training from encoded windows to a bundle that the pack loads, or to a LoRA.

Encoders and autoencoder are frozen, and their work on the windows is done before (`prepare`): a step is the transformer
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...adapter import write_adapter
from ...checkpoint import read_bundle, write_bundle
from ...errors import InputError
from ...models.dit import DiT, DiTConfig
from ...models.humo import original_pairs
from ...spec import VideoSpec
from ..fit import Course, fit, log_unseen, step_rng
from ..lora import add_lora, linear_layers, low_rank, write_lora
from ..objective import ObjectiveOptions, draw_level, draw_start, flow_loss
from ..optimiser import AdamW, MuonAdamW, Optimiser
from ..settings import check_file
from ..sharding import full_state, shard
from ..stage import device_of
from .options import SizedOptions, read_options
from .parts import digest_of, open_text, open_vae, open_whisper
from .start import begin, bundled, describe, is_bundle
from .windows import Encoding, Windows

BUNDLE, LORA, HUMO_LORA = "omnisync.safetensors", "omnisync_lora.safetensors", "humo_lora.safetensors"
UNSEEN_BATCHES = 4


def train_sized(table: Mapping[str, Any], work: Path, seed: int) -> Path:
    """Train what the table `[omnisync]` says; returns the path of the bundle or LoRA."""
    options = read_options(table)
    check_file("omnisync.init", options.init)
    windows = Windows(options.data, "train")
    windows.check(*_pairs(options.objective))
    networks: dict[str, Any] = {
        "vae": open_vae(options.vae), "whisper": open_whisper(options.whisper), "text": open_text(options.text)
    }  # fmt: skip
    _check_encoders(windows.encoding, networks, options)
    texts = encode_texts(networks["text"], windows.captions)
    dit = start(options, windows.encoding, networks["text"].width, seed)
    trained = fit("omnisync", work, dit, loss_on(windows, texts, options, seed), course_of(options, windows, seed),
                  _report(options, texts, work, seed))  # fmt: skip
    return _write(options, windows.encoding, work, {**networks, "dit": trained})


def start(options: SizedOptions, encoding: Encoding, text_dim: int, seed: int) -> DiT:
    """The transformer that is trained, with what learns set to learn."""
    dit, taken = begin(sizes(options, encoding, text_dim), options.init, seed, whole=over_humo(options))
    if PartialState().is_main_process:
        print(taken, flush=True)
    return prepared(options, dit)


def sizes(options: SizedOptions, encoding: Encoding, text_dim: int) -> DiTConfig:
    """Of the transformer that is trained. InputError: windows that are not for it."""
    humo = over_humo(options)
    if humo and not encoding.as_humo_hears:
        check_file("omnisync.init", options.init)
        raise InputError(
            f"a LoRA is learned over a bundle, and {options.init} is none or damaged, or over HuMo 1.7B, which needs "
            "windows of `prepare --hears humo`"
        )
    if encoding.as_humo_hears and not humo:
        raise InputError(
            f"{options.data} holds what HuMo hears, from which a LoRA over HuMo 1.7B alone is learned (omnisync.init, "
            "lora_rank); prepare windows without --hears humo"
        )
    if is_bundle(Path(options.init)) and not options.dit:
        return bundled(options.init, encoding.heard, text_dim)
    return describe(options.size, options.dit, encoding.heard, text_dim)


def over_humo(options: SizedOptions) -> bool:
    """Is a LoRA learned over HuMo's own file?"""
    return options.lora_rank > 0 and not is_bundle(Path(options.init))


def prepared(options: SizedOptions, dit: DiT) -> DiT:
    """What of it learns set to learn, in place; what a LoRA leaves as it is held as it is multiplied."""
    if options.lora_rank:
        add_lora(dit, lora_layers(dit), options.lora_rank)
        if options.bf16:
            halve_frozen(dit)
    return recompute(dit) if options.recompute else dit


def halve_frozen(network: nn.Module) -> None:
    """Linear layers that do not learn in bfloat16, in place: autocast multiplies by no more than that anyway."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and not layer.weight.requires_grad:
            layer.to(torch.bfloat16)


def lora_layers(dit: DiT) -> list[str]:
    """What of it a LoRA adds to: attention and feed-forward."""
    return linear_layers(dit, ("attention.", ".ffn."))


def recompute(dit: DiT) -> DiT:
    """From now on its blocks compute their activations a second time instead of keeping them."""
    for block in dit.blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    return dit


def course_of(options: SizedOptions, windows: Windows, seed: int) -> Course:
    precision = "bf16" if options.bf16 else "no"
    return Course(
        steps=options.steps, optimiser=partial(optimiser_of, options), rate=partial(_rate, options.warmup),
        decay=options.ema or None, seed=seed, precision=precision, accumulate=options.accumulate,
        shard=(lambda dit: shard(dit, dit.blocks, precision)) if options.shard else None,
        save_minutes=options.save_minutes,
        names=lambda step: ", ".join(_names(windows, options, seed, step)),
    )  # fmt: skip


def optimiser_of(options: SizedOptions, dit: nn.Module) -> Optimiser:
    if options.optimiser == "muon":
        return MuonAdamW(dit, options.lr)
    return AdamW(dit, options.lr, betas=options.betas, weight_decay=options.weight_decay)


def _rate(warmup: int, step: int, share: float) -> float:
    return min(1.0, (step + 1) / warmup) if warmup else 1.0


def loss_on(windows: Windows, texts: Mapping[str, Tensor], options: SizedOptions, seed: int) -> Any:
    def loss_of(model: nn.Module, step: int) -> dict[str, Tensor]:
        batch = draw_batch(windows, texts, options.batch, options.objective, step_rng(seed, 11, step))
        return flow_loss(model, batch, options.objective)

    return loss_of


def draw_batch(
    windows: Windows, texts: Mapping[str, Tensor], batch: int, options: ObjectiveOptions, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Random pairs as `flow_loss` takes them. `texts`: caption -> features (L, D)."""
    rows: dict[str, list] = {name: [] for name in ("target", "source", "speech", "text", "mouth", "sigma", "tau")}
    for _ in range(batch):
        sigma, tau, target, source, heard, read = _drawn(windows, options, rng)
        made, shown = windows.read(target), windows.read(source)
        rows["target"].append(made["latent"])
        rows["source"].append(shown["latent"])
        rows["speech"].append(made["speech"] * heard)
        rows["text"].append(texts[windows.rows[target]["caption"]].numpy() * read)
        rows["mouth"].append(made["mouth"])
        rows["sigma"].append(sigma)
        rows["tau"].append(tau)
    return {name: torch.as_tensor(np.stack(value)).float() for name, value in rows.items()}


def _drawn(
    windows: Windows, options: ObjectiveOptions, rng: np.random.Generator
) -> tuple[float, float, int, int, bool, bool]:
    sigma, pseudo = draw_level(options, rng)
    tau = draw_start(sigma, options, rng)
    target, source = windows.pair(pseudo, rng)
    kept = rng.random() >= options.joint_dropout
    heard, read = rng.random(2) >= (options.speech_dropout, options.text_dropout)
    return sigma, tau, target, source, bool(kept and heard), bool(kept and read)


def _names(windows: Windows, options: SizedOptions, seed: int, step: int) -> list[str]:
    """The windows of this process's batch of a step."""
    rng = step_rng(seed, 11, step)
    drawn = [_drawn(windows, options.objective, rng) for _ in range(options.batch)]
    return [f"{windows.rows[one[2]]['id']} from {windows.rows[one[3]]['id']}" for one in drawn]


@torch.no_grad()
def encode_texts(encoder: Any, captions: list[str]) -> dict[str, Tensor]:
    return {caption: encoder.encode([caption])[0].float().cpu() for caption in captions}


def _pairs(objective: ObjectiveOptions) -> tuple[bool, bool]:
    """Are pseudo-pairs drawn, are arbitrary ones?"""
    often, at_all = objective.arbitrary_share, objective.pair_threshold > 0
    return objective.pair_threshold < 1 or often < 1, at_all and often > 0


def _report(options: SizedOptions, texts: dict[str, Tensor], work: Path, seed: int) -> Any:
    """Prints the loss on the people of the test, where there are any."""
    try:
        unseen = Windows(options.data, "test")
        unseen.check(*_pairs(options.objective))
    except InputError:
        return None
    missing = next(iter(texts.values()))

    def report(model: nn.Module, step: int) -> None:
        known = {caption: texts.get(caption, torch.zeros_like(missing)) for caption in unseen.captions}
        rng = np.random.default_rng(seed + 1)
        half = torch.autocast(device_of(model).type, torch.bfloat16, enabled=options.bf16)
        with torch.no_grad(), torch.random.fork_rng(), half:
            torch.manual_seed(seed)
            batches = [draw_batch(unseen, known, options.batch, options.objective, rng) for _ in range(UNSEEN_BATCHES)]
            losses = [float(flow_loss(model, batch, options.objective)["loss"]) for batch in batches]
        if PartialState().is_main_process:
            log_unseen(work, "omnisync", step, {"loss": float(np.mean(losses))})

    return report


def _check_encoders(encoding: Encoding, networks: Mapping[str, Any], options: SizedOptions) -> None:
    for part, path in (("vae", options.vae), ("whisper", options.whisper)):
        found, wanted = digest_of(networks[part]), getattr(encoding, part)
        if found != wanted:
            raise InputError(
                f"{options.data} was encoded with another {part} ({wanted[:12]}) than {path} ({found[:12]}); give that "
                "one, or prepare the windows again"
            )


def _write(options: SizedOptions, encoding: Encoding, work: Path, networks: dict[str, Any]) -> Path:
    dit = networks["dit"]
    state = PartialState()
    if options.shard and state.num_processes > 1:
        tensors = full_state(dit)
        dit = DiT(dit.config)
        if state.is_main_process:
            dit.load_state_dict(tensors)
    path = work / (LORA if options.lora_rank else BUNDLE)
    if not state.is_main_process:
        return path
    if options.lora_rank:
        about = {"base": Path(options.init).name, "rank": options.lora_rank, "steps": options.steps}
        if not is_bundle(Path(options.init)):
            pairs = original_pairs(low_rank(dit), dit.config.heads)
            return write_lora(work / HUMO_LORA, pairs, {name: str(value) for name, value in about.items()})
        about["base"] = read_bundle(options.init).digest
        write_adapter(path, low_rank(dit), {}, about, torch.float32)
        return path
    spec = VideoSpec(
        crop_size=encoding.crop_size, window_frames=encoding.frames, latent_channels=encoding.latent[0],
        overlap_frames=min(5, encoding.frames - 4),
    )  # fmt: skip
    described = {part: networks[part].config for part in ("whisper", "text")}
    described |= {"dit": asdict(dit.config), "vae": asdict(networks["vae"].config), "spec": asdict(spec)}
    if options.sampling:
        described["sampling"] = dict(options.sampling)
    write_bundle(path, {**networks, "dit": dit}, described)
    return path
