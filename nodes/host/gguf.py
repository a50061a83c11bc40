"""GGUF files, by the node pack ComfyUI-GGUF (city96) that the user has in the host: its reader, layers and patcher.

A tensor of its reader is packed bytes that tell their true shape. Its Linear unpacks them at every call, and adds the
LoRAs that its patcher has left there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import nodes

from ...omnisync_core.errors import CheckpointError

NODE = "UnetLoaderGGUF"
"""By which the pack is found."""
REMEDY = "or load the safetensors file with weight_dtype fp8_e4m3fn"


@dataclass(frozen=True)
class GGUFPack:
    """What is used of the pack."""

    operations: type
    patcher: type
    reader: Callable[[str], dict[str, Tensor]]
    unpacker: Callable[[Tensor, torch.dtype], Tensor]

    def read(self, path: str, tables: tuple[str, ...]) -> dict[str, Tensor]:
        """Packed matrices, and all else unpacked in float32. CheckpointError: the pack cannot read the file.

        tables: ends of the names of tensors (1, rows, width), from which llama.cpp's quantiser drops the leading 1.
        """
        try:
            tensors = self.reader(path)
            return {key: self._as_used(value, key.endswith(tables)) for key, value in tensors.items()}
        except Exception as error:  # a reader of others, which tells damage by whatever it stumbles over
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(
                f"{path} is damaged or nothing that the installed ComfyUI-GGUF reads ({reason}); make it with that "
                f"pack's tools, whose architecture field for this model is wan, {REMEDY}"
            ) from None

    def _as_used(self, value: Tensor, is_table: bool) -> Tensor:
        shape = tuple(value.shape)
        if len(shape) == 2 and not is_table:
            return value
        plain = self.unpacker(value, torch.float32).as_subclass(Tensor).reshape(shape)
        return plain[None] if is_table and len(shape) == 2 else plain


def installed_pack(path: str) -> GGUFPack:
    """The pack that the host has loaded, for a file. CheckpointError: there is none, or one without these parts."""
    node = nodes.NODE_CLASS_MAPPINGS.get(NODE)
    if node is None:
        raise CheckpointError(
            f"{path} is a GGUF file, which the node pack ComfyUI-GGUF (city96) reads: install it and its Python "
            f"package gguf and restart, {REMEDY}"
        )
    module = sys.modules.get(node.__module__)
    reader = getattr(module, "gguf_sd_loader", None)
    parts = {name: getattr(module, name, None) for name in ("GGMLOps", "GGUFModelPatcher", "gguf_sd_loader")}
    parts["dequantize_tensor"] = getattr(reader, "__globals__", {}).get("dequantize_tensor")
    missing = [name for name, part in parts.items() if part is None]
    if missing:
        raise CheckpointError(
            f"{path} needs ComfyUI-GGUF by city96; the pack that gave the host {NODE} has no {', '.join(missing)}: "
            f"install or update it, {REMEDY}"
        )
    return GGUFPack(*parts.values())
