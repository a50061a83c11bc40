"""Weights by rule, so that numbers made elsewhere with the same rule can be compared; and an ONNX file by hand."""

import zlib

import numpy as np
import torch


def by_rule(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """A tensor a key, random by the key's name; norms near 1, so that nothing fades or explodes."""
    tensors = {}
    for key, shape in shapes.items():
        rng = np.random.default_rng(zlib.crc32(key.encode()))
        if key.endswith("num_batches_tracked"):
            values = np.zeros(shape, np.int64)
        elif key.endswith("running_var"):
            values = rng.uniform(0.5, 1.5, shape)
        elif key.endswith("weight") and len(shape) > 1:
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        else:
            values = rng.normal(1.0 if key.endswith("weight") else 0.0, 0.1, shape)
        tensors[key] = torch.from_numpy(np.asarray(values)).to(
            torch.int64 if key.endswith("tracked") else torch.float32
        )
    return tensors


def mean_colours(shape: tuple[int, ...]) -> bytes:
    """An ONNX model (onnx.proto's fields by number) that averages (1, 3, H, W) over H and W."""
    axes = _field(1, "axes") + _field(8, 2) + _field(8, 3) + _field(20, 7)
    keep = _field(1, "keepdims") + _field(3, 0) + _field(20, 2)
    node = _field(1, "x") + _field(2, "y") + _field(4, "ReduceMean") + _field(5, axes) + _field(5, keep)
    graph = _field(1, node) + _field(2, "mean") + _field(11, _value("x", shape)) + _field(12, _value("y", shape[:2]))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
