"""Speaker adapters: what a bundle's model learned of one person, a small file over the bundle it was learned with.

Keys: `diffusion_model.<layer>.lora_A.weight` (rank, inputs) and `.lora_B.weight` (outputs, rank) are added to the
transformer's matrices as B A, under the names that the host's own LoRA loader knows; `vae.decoder.<name>.diff` is added
to the autoencoder's decoder. The metadata holds `omnisync.adapter` (JSON: `base`, the digest of the bundle) and
`omnisync.digest`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .checkpoint import tensor_digest
from .errors import CheckpointError
from .files import replacing

TRANSFORMER, DECODER = "diffusion_model.", "vae.decoder."
INNER, OUTER, DIFFERENCE = ".lora_A.weight", ".lora_B.weight", ".diff"


@dataclass(frozen=True)
class Adapter:
    """Tensors by key, as in the file."""

    path: Path
    base: str
    """Digest of the bundle that it was learned with."""
    digest: str
    about: dict
    """What the file says of itself: minutes, steps, figures."""
    tensors: dict[str, Tensor]

    def transformer(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer name -> (A, B)."""
        layers = [key[len(TRANSFORMER) : -len(INNER)] for key in self.tensors if key.endswith(INNER)]
        pairs = {layer: [self.tensors[f"{TRANSFORMER}{layer}{end}"] for end in (INNER, OUTER)] for layer in layers}
        return {layer: (inner.float(), outer.float()) for layer, (inner, outer) in pairs.items()}

    def decoder(self) -> dict[str, Tensor]:
        """Parameter name of the decoder -> what is added to it."""
        return {
            key[len(DECODER) : -len(DIFFERENCE)]: value.float()
            for key, value in self.tensors.items()
            if key.startswith(DECODER)
        }


def read_adapter(path: str | PathLike) -> Adapter:
    """Read and verify an adapter. CheckpointError: no such file, damaged, something else."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no such adapter: {path}; make one with `adapt`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, UnicodeError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({error}); copy it again") from None
    try:
        about = json.loads(metadata["omnisync.adapter"])
        base = str(about["base"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise CheckpointError(f"{path} is no speaker adapter: make one with `adapt`") from None
    found = tensor_digest(tensors)
    if found != metadata.get("omnisync.digest"):
        raise CheckpointError(f"{path} was changed or damaged: its digest is another; copy it again")
    _check_keys(path, tensors)
    return Adapter(path, base, found, about, tensors)


def write_adapter(
    path: str | Path,
    transformer: Mapping[str, tuple[Tensor, Tensor]],
    decoder: Mapping[str, Tensor],
    about: Mapping[str, object],
    dtype: torch.dtype = torch.float16,
) -> str:
    """Write layer -> (A, B) and parameter -> difference beside the path and move it there; returns the digest."""
    tensors = {f"{DECODER}{name}{DIFFERENCE}": value for name, value in decoder.items()}
    for layer, pair in transformer.items():
        tensors |= {f"{TRANSFORMER}{layer}{end}": value for end, value in zip((INNER, OUTER), pair, strict=True)}
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in tensors.items()}
    digest = tensor_digest(tensors)
    with replacing(path) as part:
        save_file(tensors, part, {"omnisync.adapter": json.dumps(dict(about)), "omnisync.digest": digest})
    return digest


@torch.no_grad()
def apply_adapter(adapter: Adapter, networks: Mapping[str, nn.Module], base: str) -> None:
    """Add what was learned to the networks of the bundle with digest `base`. CheckpointError: it is another's."""
    check_base(adapter, base)
    dit, decoder = networks["dit"], networks["vae"].decoder
    check_fits(adapter, dit, decoder)
    for layer, (inner, outer) in adapter.transformer().items():
        weight = dit.get_submodule(layer).weight
        weight.copy_(weight.float() + (outer @ inner).to(weight.device))
    for name, difference in adapter.decoder().items():
        parameter = decoder.get_parameter(name)
        parameter.add_(difference.to(parameter))


def check_base(adapter: Adapter, base: str) -> None:
    """CheckpointError unless the adapter was learned with the bundle of digest `base`."""
    if adapter.base != base:
        raise CheckpointError(
            f"{adapter.path} was learned with the model {adapter.base[:12]}, this is {base[:12]}; "
            "give that model, or learn it again with this one"
        )


def check_fits(adapter: Adapter, dit: nn.Module, decoder: nn.Module) -> None:
    """CheckpointError unless transformer and decoder have every matrix and parameter of the adapter, of its shape."""
    linear = {name: module.weight.shape for name, module in dit.named_modules() if isinstance(module, nn.Linear)}
    given = {name: (len(outer), inner.shape[1]) for name, (inner, outer) in adapter.transformer().items()}
    parameters = {name: value.shape for name, value in decoder.named_parameters()}
    differences = {name: tuple(value.shape) for name, value in adapter.decoder().items()}
    for has, wanted in ((linear, given), (parameters, differences)):
        for name, shape in wanted.items():
            if name not in has or tuple(has[name]) != shape:
                found = f"has {tuple(has[name])}" if name in has else "does not have it"
                raise CheckpointError(
                    f"{adapter.path}: {name} is of shape {shape}, the model {found}; run `adapt` again"
                )


def _check_keys(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """CheckpointError unless every key is one of an adapter's, halves come in pairs, and all are finite numbers."""
    for key, value in tensors.items():
        layer = key.removesuffix(INNER).removesuffix(OUTER)
        is_half = key.startswith(TRANSFORMER) and layer != key
        is_whole = is_half and {layer + INNER, layer + OUTER} <= tensors.keys() and value.ndim == 2
        if is_whole:
            is_whole = len(tensors[layer + INNER]) == tensors[layer + OUTER].shape[1]
        if not (is_whole or (key.startswith(DECODER) and key.endswith(DIFFERENCE))):
            raise CheckpointError(f"{path} holds {key[:200]!r}, which no speaker adapter does")
        if not value.is_floating_point() or not torch.isfinite(value).all():
            raise CheckpointError(f"{path}: {key[:200]} holds NaN or no numbers; run `adapt` again")
