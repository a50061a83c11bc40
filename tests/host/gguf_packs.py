"""ComfyUI-GGUF, real and as a stand-in: how each is loaded into the host, and how files for it are written.

The real one is a checkout of the user's: `COMFYUI_GGUF_PATH`, else the host's `custom_nodes/ComfyUI-GGUF`.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
HOST = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")
REAL = Path(os.environ.get("COMFYUI_GGUF_PATH") or HOST / "custom_nodes" / "ComfyUI-GGUF")


def as_quantised(key: str, tensor: torch.Tensor) -> torch.Tensor:
    """In the shape that llama.cpp's quantiser writes: tables of positions lose their leading 1."""
    return tensor[0] if key.endswith(".pe") else tensor


class StandIn:
    kinds = ("rows of bytes",)
    some = 2_200_000
    """Bytes of which the host takes some of the test's weights onto a device, and not all."""

    def load(self, host) -> None:
        host.load_pack(HERE / "gguf_stand_in.py")

    def write(self, path: Path, state: dict, kind: str = "rows of bytes", arch: str = "wan") -> dict:
        """Returns what the file holds, unpacked, by name and in the true shapes."""
        parts = importlib.util.spec_from_file_location("gguf_stand_in", HERE / "gguf_stand_in.py")
        ours = importlib.util.module_from_spec(parts)
        parts.loader.exec_module(ours)
        held, true = {}, {}
        for key, value in state.items():
            shape = tuple(as_quantised(key, value).shape)
            held[key] = (ours.pack_rows(value) if value.ndim > 1 else value, shape)
            true[key] = ours.dequantize_tensor(ours.packed(*held[key]), torch.float32).as_subclass(torch.Tensor)
            true[key] = true[key].reshape(value.shape)
        torch.save({"arch": arch, "tensors": held}, path)
        return true


class Real:
    kinds = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_K")
    some = 3_200_000

    @staticmethod
    def is_there() -> bool:
        return REAL.is_dir() and importlib.util.find_spec("gguf") is not None

    def load(self, host) -> None:
        if not self.is_there():
            pytest.skip(
                "GGUF IS TESTED WITH A STAND-IN ONLY: name a checkout of ComfyUI-GGUF in COMFYUI_GGUF_PATH, and give "
                "the host's python the package gguf"
            )
        host.load_pack(REAL)

    def write(self, path: Path, state: dict, kind: str = "Q8_0", arch: str = "wan") -> dict:
        """Returns what the file holds, unpacked by the package `gguf`, by name and in the true shapes."""
        import gguf

        writer, true = gguf.GGUFWriter(path=None, arch=arch), {}
        for key, value in state.items():
            data, quantised = self._packed(as_quantised(key, value).numpy(), kind)
            writer.add_tensor(key, data, raw_dtype=quantised)
            unpacked = gguf.quants.dequantize(data, quantised)
            true[key] = torch.from_numpy(np.ascontiguousarray(unpacked, np.float32)).reshape(value.shape)
        _write(writer, path)
        return true

    def _packed(self, values: np.ndarray, kind: str):
        """Of the wanted kind where the size allows it, as quantisers do; vectors and patches stay float32."""
        import gguf

        types = gguf.GGMLQuantizationType
        wanted = types[kind] if values.ndim == 2 else types.F32
        block, size = gguf.GGML_QUANT_SIZES[wanted]
        if values.shape[-1] % block:
            wanted = types.F16
        if wanted == types.Q4_K:
            return _random_blocks(values.shape, block, size), wanted
        return gguf.quants.quantize(np.ascontiguousarray(values), wanted), wanted


def _random_blocks(shape: tuple, block: int, size: int) -> np.ndarray:
    """Q4_K cannot be written by `gguf`, only read: random bytes with a sane scale and minimum."""
    count = shape[0] * shape[1] // block
    raw = np.random.default_rng(count).integers(0, 256, (count, size), np.uint8)
    raw[:, :4] = np.array([2e-4, 1.5e-3], np.float16).view(np.uint8)
    return raw.reshape(shape[0], -1)


def put_back(raw: Path, left_out: Path, whole: Path) -> None:
    """What `tools/fix_5d_tensors.py` does; that of December 2025 stops with NumPy 2.4."""
    import gguf
    from safetensors.numpy import load_file

    writer = gguf.GGUFWriter(path=None, arch="wan")
    for tensor in gguf.GGUFReader(raw).tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    for key, data in load_file(left_out).items():
        writer.add_tensor(key, data, raw_dtype=gguf.GGMLQuantizationType.F32)
    _write(writer, whole)


def _write(writer, path: Path) -> None:
    writer.write_header_to_file(path=path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
