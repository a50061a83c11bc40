"""A network's weights, gradients and optimiser spread over processes: torch's FSDP2 (`fully_shard`).

What is saved is gathered whole, by the names of the network's tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict as states
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

_WHOLE = states.StateDictOptions(full_state_dict=True, cpu_offload=True)
_LEARNED = states.StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)


def shard(network: nn.Module, blocks: Iterable[nn.Module], precision: str = "no") -> None:
    """Every block by itself, then what is left of the network. Several processes must run (`accelerate launch`)."""
    mesh = init_device_mesh("cuda" if torch.cuda.is_available() else "cpu", (torch.distributed.get_world_size(),))
    half = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    policy = half if precision == "bf16" else MixedPrecisionPolicy()
    for part in (*blocks, network):
        fully_shard(part, mesh=mesh, mp_policy=policy)


def full_state(network: nn.Module) -> dict[str, Tensor]:
    """All of a sharded network's tensors on the CPU of the first process; every process must ask."""
    return states.get_model_state_dict(network, options=_WHOLE)


def full_states(network: nn.Module, optimisers: Iterable[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    """The same of its optimisers', by the names of the network's tensors."""
    return [states.get_optimizer_state_dict(network, one, options=_WHOLE) for one in optimisers]


def load_full(network: nn.Module, tensors: Mapping[str, Tensor], sharded: bool) -> None:
    """Tensors of `full_state` (or of a whole network's `state_dict`) into a network; what they lack stays."""
    if sharded:
        states.set_model_state_dict(network, dict(tensors), options=_LEARNED)
    else:
        network.load_state_dict(tensors, strict=False)


def load_states(
    network: nn.Module, optimisers: Iterable[torch.optim.Optimizer], saved: Iterable[dict[str, Any]]
) -> None:
    """What `full_states` gave."""
    for one, state in zip(optimisers, saved, strict=True):
        states.set_optimizer_state_dict(network, one, state, options=_WHOLE)
