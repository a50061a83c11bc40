"""Where a training starts: from nothing, from a bundle, or from HuMo's or Wan's public weights.

HuMo 1.7B is Wan 2.1 1.3B with speech. What a file has is taken, tensor by tensor, or it is refused; what it cannot have
(the source's channels, Wan's speech, encoders of another width) starts fresh and changes nothing yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ...checkpoint import check_strictly, read_bundle
from ...configuration import TRANSFORMER, BadConfiguration
from ...errors import CheckpointError, InputError
from ...models.dit import BASE, MINI, DiT, DiTConfig
from ...models.humo import HUMO, convert
from ...models.layers import attend, attend_plainly
from ...models.published import read_content, tensors_of

SIZES = {"mini": MINI, "base": BASE, "humo": HUMO}
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.")
SPEECH = ("speech_projection.", ".speech_attention.", ".norm_speech.")


def describe(size: str, changes: Mapping[str, object], speech: tuple[int, int], text_dim: int) -> DiTConfig:
    """A size by name with changes; `speech` is (features a frame, their width), both of the encoders at hand."""
    if size not in SIZES:
        raise InputError(f"omnisync.size must be one of {', '.join(SIZES)}, got {size!r}")
    for name, value in changes.items():
        if name not in TRANSFORMER:
            raise InputError(f"[omnisync.dit] has no {name!r}; there are {', '.join(TRANSFORMER)}")
        try:
            TRANSFORMER[name].check(f"omnisync.dit.{name}", value)
        except BadConfiguration as error:
            raise InputError(str(error)) from None
    config = replace(SIZES[size], **changes)
    if config.width % config.heads or config.width // config.heads % 2:
        raise InputError(f"a width of {config.width} gives {config.heads} heads no even width")
    return replace(config, speech_tokens=speech[0], speech_dim=speech[1], text_dim=text_dim)


def bundled(path: str, speech: tuple[int, int], text_dim: int) -> DiTConfig:
    """A bundle's own sizes. InputError: windows or words of other encoders than it was trained with."""
    config = DiTConfig(**read_bundle(path).config["dit"])
    own, given = (config.speech_tokens, config.speech_dim, config.text_dim), (*speech, text_dim)
    if own != given:
        raise InputError(
            f"{path} hears {own[0]} x {own[1]} numbers a frame and reads {own[2]}, windows and text encoder have "
            f"{given[0]} x {given[1]} and {given[2]}; prepare with the bundle's own --whisper and --tokens {own[0]}"
        )
    return config


def fresh(config: DiTConfig) -> DiT:
    """A transformer whose velocity is 0 (with `residual_std`: that leaves every source as it is).

    Its gates start at 1 at every noise level and its branches small. With gates near 0 both have to grow, each as the
    other does, and the residual stream soon drowns what the speech adds to it.
    """
    dit = DiT(config, attention=attend if torch.cuda.is_available() else attend_plainly)
    for zero in (dit.head.out, dit.time_projection[-1]):
        nn.init.zeros_(zero.weight)
        nn.init.zeros_(zero.bias)
    with torch.no_grad():
        for block in dit.blocks:
            block.modulation[:, block.GATES] = 1
            for last in (block.self_attention.o, block.ffn[-1]):
                last.weight.mul_((2 * config.depth) ** -0.5)
    return dit


def begin(config: DiTConfig, init: str, seed: int, whole: bool = False) -> tuple[DiT, str]:
    """The transformer, and one line of what was taken. CheckpointError: a file that does not fit.

    whole: nothing of a public file may start fresh. InputError where something would.
    """
    torch.manual_seed(seed)
    dit = fresh(config)
    if not init:
        return dit, f"a transformer of {count(dit):.0f} M parameters from nothing"
    if is_bundle(Path(init)):
        check_strictly(dit, read_bundle(init).tensors["dit"], f"{init} (dit)")
        dit.load_state_dict(read_bundle(init).tensors["dit"])
        return dit, f"all {count(dit):.0f} M parameters from the bundle {init}"
    return dit, take(dit, published(init), init, whole)


def take(dit: DiT, tensors: Mapping[str, Tensor], name: str, whole: bool = False) -> str:
    """Public weights into a transformer; one line of what was taken (see `begin`)."""
    config = dit.config
    hears = any(key.startswith("audio_proj.") for key in tensors)
    kind = "HuMo 1.7B" if hears else "Wan 2.1 1.3B"
    if config.norm != "layer" or not config.text_first or config.residual_std is not None:
        raise InputError(f'{name}: {kind} has LayerNorm and text first; set omnisync.size = "humo" to start from it')
    given, wanted = convert(tensors, config), dit.state_dict()
    for width in ("speech_projection.inner.weight", "text_embedding.0.weight"):
        if width in given and given[width].shape != wanted[width].shape and len(given[width]) == len(wanted[width]):
            given = {key: value for key, value in given.items() if not key.startswith(width.rpartition(".")[0])}
    apart = {key for key in wanted if key not in given and _may_be_fresh(key, hears)}
    fresh_ones = sorted({_module(key) for key in apart})
    if whole and apart:
        raise InputError(
            f"a LoRA is learned over all of HuMo 1.7B; {name} ({kind}) leaves fresh {', '.join(fresh_ones)}: "
            "give HuMo's file, windows of Whisper large-v3 (--hears humo) and UMT5-xxl"
        )
    check_strictly_but(dit, given, apart, f"{name} ({kind})")
    with torch.no_grad():
        for block in () if hears else dit.blocks:
            nn.init.zeros_(block.speech_attention.o.weight)
            nn.init.zeros_(block.speech_attention.o.bias)
    dit.load_state_dict(given, strict=False)
    source = f"the {config.source_channels} source channels of patch_embedding (at 0)"
    modules = ", ".join([*fresh_ones, source])
    taken = sum(wanted[key].numel() for key in given) / 1e6
    return f"{len(given)} of {len(wanted)} tensors ({taken:.0f} M numbers) from {name} ({kind}); fresh: {modules}"


def check_strictly_but(module: nn.Module, tensors: Mapping[str, Tensor], apart: set[str], name: str) -> None:
    """CheckpointError unless `tensors` are what `module` holds, but those of `apart`."""
    own = {key: value for key, value in module.state_dict().items() if key in apart}
    check_strictly(module, {**tensors, **own}, name)


def published(path: str) -> dict[str, Tensor]:
    """A public transformer's tensors without the prefix under which some files keep them."""
    tensors = tensors_of(read_content(Path(path)), "state_dict", path)
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key[len(prefix) :]: value for key, value in tensors.items()}
    if "patch_embedding.weight" not in tensors:
        raise CheckpointError(f"{path} is no transformer of HuMo 1.7B or Wan 2.1 1.3B: it has no patch_embedding")
    return tensors


def count(module: nn.Module) -> float:
    """Millions of parameters."""
    return sum(value.numel() for value in module.parameters()) / 1e6


def is_bundle(path: Path) -> bool:
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return "omnisync.config" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _may_be_fresh(key: str, hears: bool) -> bool:
    if key.startswith(("speech_projection.inner.", "text_embedding.0.")):
        return True
    return not hears and any(part in f".{key}" or key.startswith(part) for part in SPEECH)


def _module(key: str) -> str:
    parts = key.split(".")
    return ".".join(("blocks.*", parts[2])) if parts[0] == "blocks" else ".".join(parts[:-1][:2])
