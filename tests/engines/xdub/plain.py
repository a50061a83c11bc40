"""X-Dub's forward a second time, written plainly from its formulas: by token, in float64, without any module."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def velocity(weights, config, latents, timestep, ref_latents, context, audio_feats, motion_frames):
    w = {key: value.double() for key, value in weights.items()}
    frames, height, width = latents.shape[2], latents.shape[3] // 2, latents.shape[4] // 2
    area = height * width
    half = frames * area
    x = torch.cat([ref_latents, latents], 2).double()
    x = F.conv3d(x, w["patch_embedding.weight"], w["patch_embedding.bias"], stride=(1, 2, 2)).flatten(2).mT
    tau = torch.zeros(len(x), 2 * half, dtype=torch.float64)
    tau[:, half + motion_frames * area :] = timestep.double()[:, None]
    count = config.frequency_dim // 2
    angles = tau[..., None] * 10000 ** (-torch.arange(count, dtype=torch.float64) / count)
    e = linear(
        w, "time_embedding.2", F.silu(linear(w, "time_embedding.0", torch.cat([angles.cos(), angles.sin()], -1)))
    )
    m = linear(w, "time_projection.1", F.silu(e)).unflatten(-1, (6, -1))
    text = linear(w, "text_embedding.0", context.double())
    text = linear(w, "text_embedding.2", F.gelu(text, approximate="tanh"))
    sound = embedded(w, config, audio_feats.double())
    turns = torch.cat([rotations(config, frames, height, width, height, width),
                       rotations(config, frames, height, width, 0, 0)])  # fmt: skip
    for number in range(config.depth):
        b = {key.removeprefix(f"blocks.{number}."): value for key, value in w.items() if f"blocks.{number}." in key}
        s1, c1, g1, s2, c2, g2 = (b["modulation"] + m).unbind(2)
        x = x + g1 * attention(b, "self_attn", normal(x) * (1 + c1) + s1, None, config.heads, turns)
        z = x[:, half:]
        z = z + attention(b, "cross_attn", normal(z) * b["norm3.weight"] + b["norm3.bias"], text, config.heads)
        heard = normal(z) * b["norm4.weight"] + b["norm4.bias"]
        parts = [
            attention(b, "audio_attn", heard[:, t * area : (t + 1) * area], sound[:, t], config.heads)
            for t in range(frames)
        ]
        x = torch.cat([x[:, :half], z + torch.cat(parts, 1)], 1)
        x = x + g2 * linear(b, "ffn.2", F.gelu(linear(b, "ffn.0", normal(x) * (1 + c2) + s2), approximate="tanh"))
    s, c = (w["head.modulation"][:, None] + e[:, half:, None]).unbind(2)
    out = linear(w, "head.head", normal(x[:, half:]) * (1 + c) + s)
    out = out.reshape(len(x), frames, height, width, 2, 2, -1)
    return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(latents.shape)


def linear(w, name, x):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def normal(x, eps=1e-6):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + eps).sqrt()


def attention(w, name, x, context, heads, turns=None):
    context = x if context is None else context
    q, k = (linear(w, f"{name}.{part}", value) for part, value in (("q", x), ("k", context)))
    q, k = (
        value / (value.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.norm_{part}.weight"]
        for part, value in (("q", q), ("k", k))
    )
    if turns is not None:
        q, k = (turned(value.unflatten(-1, (heads, -1)), turns).flatten(-2) for value in (q, k))
    return linear(w, f"{name}.o", heads_of(q, k, linear(w, f"{name}.v", context), heads))


def heads_of(q, k, v, heads):
    q, k, v = (value.unflatten(-1, (heads, -1)).transpose(1, 2) for value in (q, k, v))
    return ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)


def rotations(config, frames, height, width, down, right):
    """Complex numbers (tokens, pairs) by which a head's neighbouring channels are turned."""
    head = config.width // config.heads
    side = 2 * (head // 6)
    angles = []
    for t in range(frames):
        for y in range(down, down + height):
            for x in range(right, right + width):
                row = [
                    place * 10000 ** (-2 * j / size)
                    for place, size in ((t, head - 2 * side), (y, side), (x, side))
                    for j in range(size // 2)
                ]
                angles.append(row)
    angles = torch.tensor(angles, dtype=torch.float64)
    return torch.polar(torch.ones_like(angles), angles)


def turned(x_BLHD, turns):
    pairs = torch.view_as_complex(x_BLHD.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns[:, None]).flatten(-2)


def embedded(w, config, audio):
    w = {key.removeprefix("audio_embedding."): value for key, value in w.items() if "audio_embedding." in key}
    count = audio.shape[2]
    x = linear(w, "proj_in", audio).flatten(0, 1)
    for number in range(config.audio_depth):
        a = {key.removeprefix(f"layers.{number}."): value for key, value in w.items() if f"layers.{number}." in key}
        y = normal(x, 1e-5) * a["norm1.weight"] + a["norm1.bias"] + a["pos_embed.pe"][:, :count]
        heard = heads_of(*(linear(a, f"attn.to_{part}", y) for part in "qkv"), config.audio_heads)
        x = x + linear(a, "attn.to_out.0", heard)
        y = linear(a, "ff.net.0.proj", normal(x, 1e-5) * a["norm2.weight"] + a["norm2.bias"])
        value, gate = y.chunk(2, -1)
        x = x + linear(a, "ff.net.2", value * F.gelu(gate))
    return linear(w, "proj_out", x).unflatten(0, audio.shape[:2])
