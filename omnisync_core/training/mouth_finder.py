"""Trains the mouth finder (`mouth/finder.py`) on collages: drawn characters and lit solids pasted on clutter.

Cut-outs are drawn once (`pool`); every training picture is put together anew: any backdrop or none, several heads or
none, hands, stripes and letters, turned, scaled, cut off, recoloured, blurred, noisy, compressed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..mouth.finder import ASSET, CELL, USUAL, MouthFinder, load_finder, save_finder
from ..synth.backdrops import BACKDROP_SIZE, Backdrop, random_backdrop
from ..synth.film import Film
from ..synth.scene import Scene
from ..synth.solids import Cutout, solid_heads

SIDE = 128
BATCH, FRESH, KEPT = 24, 7, 6000
"""Pictures a step, how many of them are new, and how many are kept to be seen again."""
LEAST, MOST = 7.0, 70.0
"""Widths of the mouths, pixels of the network's picture."""
EMPTY = 0.14
"""Share of pictures without any head."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Cut-outs (K, S, S, 4) with their mouths (K, 4), eyes (K, 2) and shares (K,), and backdrops (B, ...)."""

    rgba: np.ndarray
    mouth: np.ndarray
    eyes: np.ndarray
    share: np.ndarray
    backdrops: np.ndarray


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the finder of mouths on drawings.")
    parser.add_argument("--pool", type=Path, required=True, help="an .npz of cut-outs; drawn first where it is missing")
    parser.add_argument("--heads", type=int, default=2400, help="cut-outs of either kind")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=3e-3, help="the learning rate's peak")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--out", type=Path, default=ASSET)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    if not chosen.pool.is_file():
        save_pool(chosen.pool, draw_pool(chosen.heads, chosen.seed))
    finder = load_finder(chosen.start) if chosen.start else MouthFinder()
    train(finder, load_pool(chosen.pool), chosen.steps, chosen.rate, chosen.seed, chosen.out)


def draw_pool(heads: int, seed: int) -> Pool:
    """Cut-outs of `heads` drawn characters of the training families and as many solids."""
    rng = np.random.default_rng([seed, 11])
    cutouts: list[Cutout] = []
    for number in range(heads // 3):
        cutouts += solid_heads(np.random.default_rng([seed, number]), 3)
    cutouts += [drawn_head(10**7 + seed * 10**5 + number, rng) for number in range(heads)]
    backdrops = np.stack([random_backdrop(rng).picture[..., :3] for _ in range(200)])
    return Pool(
        np.stack([one.rgba_HW4 for one in cutouts]), np.array([one.mouth for one in cutouts], np.float32),
        np.array([one.eyes for one in cutouts], np.float32), np.array([one.share for one in cutouts], np.float32),
        backdrops,
    )  # fmt: skip


def drawn_head(seed: int, rng: np.random.Generator, size: int = 208) -> Cutout:
    """A drawn character at a random moment; its mask is what a black and a white backdrop agree on."""
    scene = Scene.random(seed, "train")
    at = np.array([rng.uniform(0, 3)])
    mouth = np.clip([[rng.choice([0, rng.random()]), *rng.random(4)]], 0, 1)
    view = np.array([[0.5, 0.58, 1.16]])
    scene = replace(scene, occluder=None, film=Film())
    black, white = (
        replace(scene, background=Backdrop(np.full((BACKDROP_SIZE, BACKDROP_SIZE, 4), level, np.uint8), ()))
        .render(mouth, at, size=size, view=view)[0].astype(np.float32)
        for level in (0, 255)
    )  # fmt: skip
    mask = np.clip(255 - (white - black).mean(-1), 0, 255)
    color = np.clip(black * 255 / np.maximum(mask, 1)[..., None], 0, 255)
    place = scene._places(at)["head"]
    style = scene.character.mouth
    points = np.array([[0, style.center_y], [0, scene.character.eye_y]], np.float64)
    center, eyes = ((place.apply(points, style.depth)[0] - view[0, :2]) / view[0, 2] + 0.5) * size
    roll = float(scene.pose.tilt + scene.pose.roll.at(at)[0])
    width = float(scene.mouth_width * (1 + scene.pose.grow.at(at)[0]) / view[0, 2] * size)
    return Cutout(np.dstack([color, mask]).astype(np.uint8), (*center.tolist(), width, roll), tuple(eyes.tolist()), 1.0)


def save_pool(path: Path, pool: Pool) -> None:
    np.savez(path, **vars(pool))


def load_pool(path: Path) -> Pool:
    with np.load(path) as data:
        return Pool(**{name: data[name] for name in data.files})


def train(finder: MouthFinder, pool: Pool, steps: int, rate: float, seed: int, out: Path) -> None:
    """The learning rate rises quickly and falls to nothing as a cosine. Saves to `out` on its way."""
    rng = np.random.default_rng([seed, 12])
    finder = finder.float().train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(finder.parameters(), lr=rate, weight_decay=0.02)
    seen, kept = [], []
    for step in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1, step / 40) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        kept += [collage(pool, rng) for _ in range(FRESH)]
        kept = kept[-KEPT:]
        chosen = [kept[at] for at in (*range(-FRESH, 0), *rng.integers(len(kept), size=BATCH - FRESH))]
        pictures, truths = zip(*(mirrored(*one) if rng.random() < 0.5 else one for one in chosen), strict=True)
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
        x = x * torch.empty(BATCH, 3, 1, 1).uniform_(0.9, 1.1) + torch.empty(BATCH, 1, 1, 1).uniform_(-0.1, 0.1)
        with torch.autocast("cpu", torch.bfloat16):
            answer = finder(x.contiguous(memory_format=torch.channels_last))
        loss, parts = _loss(answer.float(), torch.from_numpy(np.stack(truths)))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(finder.parameters(), 5.0)
        optimiser.step()
        seen.append(parts)
        if step % 25 == 0 or step == steps:
            print(f"step {step}: " + " ".join(f"{v:.4f}" for v in np.mean(seen, 0)), flush=True)
            seen = []
            save_finder(out, finder)


TRUTH = 9
"""Channels of the truth: heat, weight of the heat, weight of the rest, then as the network's but the heat."""


def _loss(out_B7hw: Tensor, truth_B9hw: Tensor) -> tuple[Tensor, list[float]]:
    """Focal loss of the heat (Zhou et al. 2019, Objects as Points, eq. 1); plain differences where a mouth is."""
    heat, weight, here = truth_B9hw[:, 0], truth_B9hw[:, 1], truth_B9hw[:, 2]
    logit = out_B7hw[:, 0]
    p = torch.sigmoid(logit)
    hit = (heat > 0.999).float()
    found = hit * (1 - p).square() * F.logsigmoid(logit)
    wrong = (1 - hit) * weight * (1 - heat) ** 4 * p.square() * F.logsigmoid(-logit)
    focal = -(found + wrong).sum() / hit.sum().clamp(min=1)
    off = (F.smooth_l1_loss(out_B7hw[:, 1:], truth_B9hw[:, 3:], beta=0.1, reduction="none") * here[:, None]).sum(
        (0, 2, 3)
    ) / here.sum().clamp(min=1)
    loss = focal + (off * torch.tensor([1.0, 1.0, 2.0, 1.0, 0.5, 0.5])).sum()
    return loss, [focal.item(), *off.tolist()]


def collage(pool: Pool, rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A uint8 picture and its truth (TRUTH, side / CELL, side / CELL)."""
    canvas = _backdrop(pool, rng, side)
    for _ in range(rng.integers(0, 5)):
        _clutter(canvas, rng)
    mouths: list[np.ndarray] = []
    heads = 0 if rng.random() < EMPTY else int(rng.choice([1, 2, 3, 5], p=[0.55, 0.22, 0.13, 0.1]))
    for _ in range(heads):
        _paste(canvas, pool, rng, mouths)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.25, 0.15]))):
        covered = _hand(canvas, rng) if rng.random() < 0.6 else _clutter(canvas, rng)
        mouths = [_hidden(mouth, covered) for mouth in mouths]
    return _spoiled(canvas, rng), _truth(mouths, side)


def mirrored(picture: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left and right changed places."""
    signs = np.ones((TRUTH, 1, 1), np.float32)
    signs[[3, 6, 7]] = -1
    return np.ascontiguousarray(picture[:, ::-1]), np.ascontiguousarray(truth[..., ::-1] * signs)


def _backdrop(pool, rng, side) -> np.ndarray:
    kind = rng.random()
    if kind < 0.4:
        picture = pool.backdrops[rng.integers(len(pool.backdrops))]
        part = int(rng.uniform(60, BACKDROP_SIZE))
        x, y = rng.integers(0, BACKDROP_SIZE - part + 1, 2)
        canvas = cv2.resize(picture[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_LINEAR)
        return canvas.copy()
    color = rng.uniform(0, 255, 3)
    if kind < 0.55:
        other, turn = rng.uniform(0, 255, 3), rng.uniform(-1, 1, 2)
        ramp = np.add.outer(np.linspace(-1, 1, side) * turn[0], np.linspace(-1, 1, side) * turn[1])
        ramp = 1 / (1 + np.exp(-rng.uniform(1, 6) * ramp))
        return np.clip(color + (other - color) * ramp[..., None], 0, 255).astype(np.uint8)
    canvas = np.broadcast_to(color.astype(np.float32), (side, side, 3)).copy()
    cells, strength = 2, rng.uniform(10, 70)
    fall, tinted = rng.uniform(0.4, 0.95), rng.uniform(0, 0.6) ** 2
    while cells < side:
        noise = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        noise = noise * tinted + 1.5 * noise.mean(-1, keepdims=True)
        canvas += strength * cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
        cells, strength = cells * 2, strength * fall
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _clutter(canvas, rng) -> np.ndarray:
    """Draws something that is no face; returns its mask."""
    side = len(canvas)
    mask = np.zeros((side, side), np.uint8)
    kind = rng.integers(6)
    middle, reach = rng.uniform(0, side, 2), np.exp(rng.uniform(np.log(6), np.log(0.5 * side)))
    if kind == 0:
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        points = middle + reach * rng.uniform(0.4, 1, (len(angle), 1)) * np.column_stack([np.cos(angle), np.sin(angle)])
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, cv2.LINE_AA)
    elif kind == 1:
        axes = (int(reach), int(reach * rng.uniform(0.15, 1)) + 1)
        cv2.ellipse(mask, middle.astype(int).tolist(), axes, rng.uniform(0, 180), 0, 360, 255,
            -1 if rng.random() < 0.7 else int(rng.integers(1, 5)), cv2.LINE_AA)  # fmt: skip
    elif kind == 2:
        for k in range(int(rng.integers(2, 9))):
            y = middle + np.array([0, k * reach * 0.25])
            turn = np.array([np.cos(kind), 0.2 * np.sin(3 * k)]) * reach
            cv2.line(
                mask, (y - turn).astype(int).tolist(), (y + turn).astype(int).tolist(), 255, int(rng.integers(1, 5))
            )
    elif kind == 3:
        text = "".join(rng.choice(list("AEHKMNORSTWXabdeghknorsu0123456789"), int(rng.integers(1, 7))))
        cv2.putText(mask, text, middle.astype(int).tolist(), int(rng.integers(0, 7)), rng.uniform(0.3, 1.6), 255,
            int(rng.integers(1, 4)), cv2.LINE_AA)  # fmt: skip
    elif kind == 4:
        points = middle + np.cumsum(rng.normal(0, 0.3 * reach, (7, 2)), 0)
        cv2.polylines(mask, [points.astype(np.int32)], False, 255, int(rng.integers(1, 7)), cv2.LINE_AA)
    else:
        for _ in range(int(rng.integers(3, 30))):
            at = (middle + rng.normal(0, reach, 2)).astype(int).tolist()
            cv2.ellipse(
                mask, at, (int(rng.integers(1, 7)), int(rng.integers(1, 5))), rng.uniform(0, 180), 0, 360, 255, -1
            )
    color = rng.uniform(0, 255, 3)
    if rng.random() < 0.5:
        waves = rng.normal(0, 25) * np.sin(np.linspace(0, rng.uniform(5, 60), side))
        color = np.broadcast_to((color + waves[:, None])[:, None], canvas.shape)
    _lay(canvas, color, mask, rng.uniform(0.4, 1))
    return mask


def _hand(canvas, rng) -> np.ndarray:
    """An arm and fingers in a skin's colour, shaded across; returns its mask."""
    side = len(canvas)
    skin = np.array([220, 170, 140]) * rng.uniform(0.3, 1.1) * (1 + rng.normal(0, 0.08, 3))
    total = np.zeros((side, side), np.uint8)
    at, length = rng.uniform(0, side, 2), np.exp(rng.uniform(np.log(12), np.log(70)))
    turn = rng.uniform(0, 2 * np.pi)
    spread, thick = rng.uniform(0.1, 0.4), length * rng.uniform(0.1, 0.16)
    for finger in [*range(int(rng.integers(2, 6))), -1]:
        mask = np.zeros((side, side), np.uint8)
        angle = turn + (finger - 1.5) * spread if finger >= 0 else turn + np.pi
        root = at + thick * 1.3 * (finger - 1.5) * np.array([-np.sin(turn), np.cos(turn)]) * (finger >= 0)
        tip = root + length * rng.uniform(0.6, 1) * np.array([np.cos(angle), np.sin(angle)]) * (
            1 if finger >= 0 else 2.5
        )
        width = max(1, int(2 * thick if finger >= 0 else 5 * thick))
        cv2.line(mask, root.astype(int).tolist(), tip.astype(int).tolist(), 255, width, cv2.LINE_AA)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, width / 4)).astype(np.float32)[..., None] / 255
        _lay(canvas, skin.astype(np.float32) * (0.45 + 0.6 * soft) * np.float32(rng.uniform(0.9, 1.05)), mask)
        total = np.maximum(total, mask)
    return total


def _paste(canvas, pool, rng, mouths) -> None:
    """Pastes a cut-out and appends its mouth (x, y, width, roll, eyes x, eyes y, shown); hides those it covers."""
    side, one = len(canvas), int(rng.integers(len(pool.rgba)))
    x, y, width, roll = pool.mouth[one]
    wanted = np.exp(rng.uniform(np.log(LEAST), np.log(MOST)))
    wanted = wanted if rng.random() < 0.3 else np.exp(rng.uniform(np.log(LEAST), np.log(40)))
    scale, angle = wanted / width, rng.normal(0, 0.15) if rng.random() < 0.85 else rng.uniform(-1.2, 1.2)
    flip = -1 if rng.random() < 0.5 else 1
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    stretch = np.diag(np.exp(rng.normal(0, 0.08, 2)) * (flip, 1))
    matrix = np.array([[c, -s], [s, c]]) @ stretch
    place = rng.uniform(-0.05, 1.05, 2) * side
    shift = place - matrix @ (x, y)
    full = np.column_stack([matrix, shift])
    image = pool.rgba[one]
    if scale < 0.7:
        less = max(1, round(image.shape[0] * scale * 1.4)) / image.shape[0]
        image = cv2.resize(image, None, fx=less, fy=less, interpolation=cv2.INTER_AREA)
        full = np.column_stack([matrix / less, shift])
    reach = np.abs(full[:, :2]).sum(1) * len(image) / 2
    middle = full @ (len(image) / 2, len(image) / 2, 1)
    x0, y0 = np.clip(middle - reach - 1, 0, side - 1).astype(int)
    x1, y1 = np.clip(middle + reach + 2, 1, side).astype(int)
    part = canvas[y0:y1, x0:x1]
    moved = cv2.warpAffine(image, full - [[0, 0, x0], [0, 0, y0]], (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    _lay(part, _recolored(moved[..., :3], rng), moved[..., 3])
    hidden = np.zeros((side, side), np.uint8)
    hidden[y0:y1, x0:x1] = moved[..., 3]
    mouths[:] = [_hidden(mouth, hidden) for mouth in mouths]
    eyes = matrix @ pool.eyes[one] + shift
    inside = (place > 0.15 * wanted).all() and (place < side - 0.15 * wanted).all()
    shown = pool.share[one] > 0.3 and inside
    mouths.append(np.array([*place, wanted, flip * roll + angle, *eyes, float(shown)]))


def _recolored(color, rng):
    """The cut-out's own light: gain, tint, side light, stronger or weaker contrast, sometimes gray."""
    height, width = color.shape[:2]
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.07, 3))
    color = color * np.float32(gain)
    if rng.random() < 0.5:
        turn = rng.normal(0, 0.5, 2).astype(np.float32)
        color *= np.exp(np.linspace(-1, 1, height, dtype=np.float32) * turn[0])[:, None, None]
        color *= np.exp(np.linspace(-1, 1, width, dtype=np.float32) * turn[1])[:, None]
    if rng.random() < 0.4:
        share = np.float32(rng.uniform(0, 1.5))
        color = cv2.transform(color, share * np.eye(3, dtype=np.float32) + (1 - share) / 3)
    if rng.random() < 0.4:
        grain = _GRAIN[: (height + 1) // 2, : (width + 1) // 2]
        color += rng.uniform(0, 14) * cv2.resize(grain, (width, height))[..., None]
    return color


_GRAIN = np.random.default_rng(5).normal(0, 1, (SIDE, SIDE)).astype(np.float32)


def _hidden(mouth, mask):
    """The mouth, marked as not shown where the mask lies over its middle."""
    x, y, width = mouth[:3]
    half = max(1, int(0.35 * width))
    part = mask[max(0, int(y) - half // 2) : int(y) + half // 2 + 1, max(0, int(x) - half) : int(x) + half + 1]
    covered = part.size and (part > 127).mean() > 0.45
    return np.array([*mouth[:6], 0.0 if covered else mouth[6]])


def _lay(canvas, color, mask, alpha: float = 1.0) -> None:
    """Blends a colour or a picture into the canvas where the mask (uint8) says."""
    x0, y0, across, down = cv2.boundingRect(mask)
    here = np.s_[y0 : y0 + down, x0 : x0 + across]
    if not across:
        return
    share = mask[here].astype(np.float32)[..., None] * np.float32(alpha / 255)
    color = np.asarray(color, np.float32)
    color = np.clip(color[here] if color.ndim == 3 else color, 0, 255)
    part = canvas[here].astype(np.float32)
    part += (color - part) * share
    canvas[here] = part.astype(np.uint8)


def _spoiled(canvas, rng) -> np.ndarray:
    """What cameras and codecs do."""
    side = len(canvas)
    levels = np.arange(256, dtype=np.float32)
    if rng.random() < 0.6:
        levels = 255 * (levels / 255) ** np.exp(rng.normal(0, 0.3))
        levels = (levels - 128) * rng.uniform(0.5, 1.3) + 128 + rng.uniform(-30, 30)
    x = cv2.LUT(canvas, np.clip(levels, 0, 255).astype(np.uint8))
    if rng.random() < 0.15:
        x = cv2.cvtColor(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    kind = rng.random()
    if kind < 0.4:
        x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.3, 1.4))
    elif kind < 0.5:
        x = cv2.blur(x, (int(rng.integers(1, 7)), int(rng.integers(1, 3))))
    elif kind < 0.6:
        small = int(rng.uniform(0.4, 0.9) * side)
        x = cv2.resize(cv2.resize(x, (small, small), interpolation=cv2.INTER_AREA), (side, side))
    if rng.random() < 0.6:
        at = int(rng.integers(len(_NOISE) - x.size))
        noise = _NOISE[at : at + x.size].reshape(x.shape)
        x = np.clip(x + np.float32(rng.uniform(0, 10)) * noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        _, data = cv2.imencode(".jpg", x, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 90))])
        x = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return x


_NOISE = np.random.default_rng(6).normal(0, 1, 12 * SIDE * SIDE).astype(np.float32)


def _truth(mouths, side) -> np.ndarray:
    cells = side // CELL
    truth = np.zeros((TRUTH, cells, cells), np.float32)
    truth[1] = 1
    grid = (np.arange(cells) + 0.5) * CELL
    for x, y, width, roll, ex, ey, shown in mouths:
        near = np.exp(-((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2) / (2 * max(0.13 * width, 0.45 * CELL) ** 2))
        if not shown:
            # A mouth that is mostly hidden or cut off: neither answer is wrong.
            truth[1] = np.where(near > 0.1, 0, truth[1])
            continue
        truth[0] = np.maximum(truth[0], near)
        column, row = int(np.clip(x / CELL, 0, cells - 1)), int(np.clip(y / CELL, 0, cells - 1))
        truth[0, row, column] = 1
        # Neighbouring cells learn the same mouth: the peak may lie beside the true cell.
        for r in range(max(0, row - 1), min(cells, row + 2)):
            for c in range(max(0, column - 1), min(cells, column + 2)):
                values = (x / CELL - c - 0.5, y / CELL - r - 0.5, np.log(width / USUAL), roll)
                truth[2:, r, c] = (1.0, *values, (ex - x) / width, (ey - y) / width)
    return truth


if __name__ == "__main__":
    main()
