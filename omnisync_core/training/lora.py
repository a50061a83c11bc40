"""LoRA (Hu et al., arXiv 2106.09685) through peft on any network of the core, written under the host's keys.

The host adds B A to a matrix; *LoraLoaderModelOnly* takes the file for a MODEL of the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError
from ..files import replacing

PREFIX = "diffusion_model."
"""Before a layer's name, as the host knows it."""


def linear_layers(network: nn.Module, parts: Iterable[str] = ("",)) -> list[str]:
    """Names of linear layers that hold one of `parts`."""
    found = (name for name, module in network.named_modules() if isinstance(module, nn.Linear))
    return [name for name in found if any(part in f"{name}." for part in parts)]


def add_lora(network: nn.Module, layers: list[str], rank: int, alpha: float | None = None) -> nn.Module:
    """Give layers low-rank additions, which alone learn from now on and add nothing yet; alpha None: the rank.

    The network is changed in place. InputError: no layers, a rank below 1, peft is not installed.
    """
    if rank < 1 or not layers:
        raise InputError(f"LoRA needs layers and a rank of 1 or more, got {len(layers)} layers and rank {rank}")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError("LoRA needs peft: pip install peft") from None
    network.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=rank if alpha is None else alpha, target_modules=layers, lora_dropout=0.0)
    return inject_adapter_in_model(config, network)


def low_rank(network: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> A (rank, inputs) and B (outputs, rank), float32 on the CPU; B A is what is added."""
    from peft.tuners.lora import LoraLayer

    found = {}
    for name, layer in network.named_modules():
        if isinstance(layer, LoraLayer):
            (adapter,) = layer.lora_A
            inner, outer = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight * layer.scaling[adapter]
            found[name] = (inner.detach().float().cpu().contiguous(), outer.detach().float().cpu().contiguous())
    return found


def write_lora(
    path: str | Path, pairs: Mapping[str, tuple[Tensor, Tensor]], metadata: dict[str, str] | None = None
) -> Path:
    """What `low_rank` gives, by the names that the host knows: the file, whole or not at all."""
    tensors = {
        f"{PREFIX}{layer}.lora_{half}.weight": value
        for layer, pair in pairs.items()
        for half, value in zip("AB", pair, strict=True)
    }
    with replacing(path) as part:
        save_file(tensors, part, metadata)
    return Path(path)
