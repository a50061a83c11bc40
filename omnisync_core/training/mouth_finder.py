"""Trains the mouth finder (`mouth/finder.py`) on collages of drawn heads (`python -m` this module).

Heads and backdrops are drawn once (`cutouts.py`); every picture is put together anew (`collage.py`). The weights are a
running mean, and the learning rate falls with the time spent: a run on a machine with other work ends as well.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import replacing
from ..mouth.finder import ASSET, CELL, SURE, USUAL, MouthFinder, _peaks, load_finder, save_finder
from .collage import collage, mirrored
from .cutouts import Pool, draw_pool, load_pool, save_pool

BATCH, FRESH, KEPT = 16, 7, 5000
"""Pictures a step, how many of them are new, and how many are kept to be seen again."""
Sample = tuple[np.ndarray, np.ndarray]
"""A picture and its truth."""
AVERAGED = 0.998
"""How much of the running mean of the weights a step keeps."""
TESTS = 240
"""Unseen pictures that a record is measured on."""
SAVED = 100
"""Steps between two records."""


@dataclass(frozen=True)
class Course:
    """hours: of the whole run, those of its earlier parts included."""

    hours: float
    rate: float = 3e-3
    seed: int = 0
    start: Path | None = None
    """Weights to begin with."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the finder of mouths on drawings.")
    parser.add_argument("--work", type=Path, required=True, help="folder of the pool and the record; taken up again")
    parser.add_argument("--heads", type=int, default=3600, help="drawn cut-outs")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=3e-3, help="the learning rate's peak")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights to begin with, where the folder holds no record")
    parser.add_argument("--out", type=Path, default=ASSET)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(chosen.seed)
    chosen.work.mkdir(parents=True, exist_ok=True)
    pools = []
    for split, heads in (("train", chosen.heads), ("test", max(3, chosen.heads // 15))):
        path = chosen.work / f"{split}.npz"
        if not path.is_file():
            save_pool(path, draw_pool(heads, chosen.seed + (split == "test"), split))
        pools.append(load_pool(path))
    course = Course(chosen.hours, chosen.rate, chosen.seed, chosen.start)
    train(pools[0], pools[1], course, chosen.work / "record.pt", chosen.out)


def train(pool: Pool, unseen: Pool, course: Course, record: Path, out: Path) -> None:
    """Goes on from `record` where it exists; writes it and the weights' running mean (`out`) on its way."""
    run = _Run(course, record)
    tests = [collage(unseen, np.random.default_rng([99, number])) for number in range(TESTS)]
    kept, seen = [], []
    while run.spent < course.hours:
        began = time.monotonic()
        kept += [collage(pool, run.rng) for _ in range(FRESH)]
        kept = kept[-KEPT:]
        chosen = [kept[at] for at in (*range(-FRESH, 0), *run.rng.integers(len(kept), size=BATCH - FRESH))]
        seen.append(run.step(*_batch(chosen, run.rng)))
        run.spent += (time.monotonic() - began) / 3600
        if run.steps % SAVED == 0 or run.spent >= course.hours:
            right, wrong = measured(run.mean, tests)
            print(f"{run.spent:.3f} h, step {run.steps}: {right:.1%} right, {wrong:.2f} wrong a picture; " +
                " ".join(f"{v:.4f}" for v in np.mean(seen, 0)), flush=True)  # fmt: skip
            seen = []
            run.save(record)
            save_finder(out, run.mean)


class _Run:
    """Network, its running mean, optimiser, hours spent."""

    def __init__(self, course: Course, record: Path) -> None:
        self.course, self.steps, self.spent = course, 0, 0.0
        self.finder = (
            (load_finder(course.start).float() if course.start else MouthFinder())
            .train()
            .to(memory_format=torch.channels_last)
        )
        self.mean = copy.deepcopy(self.finder).eval()
        self.optimiser = torch.optim.AdamW(self.finder.parameters(), lr=course.rate, weight_decay=0.02)
        if record.is_file():
            saved = torch.load(record, weights_only=True)
            self.finder.load_state_dict(saved["finder"])
            self.mean.load_state_dict(saved["mean"])
            self.optimiser.load_state_dict(saved["optimiser"])
            self.steps, self.spent = saved["steps"], saved["spent"]
        self.rng = np.random.default_rng([course.seed, 12, self.steps])

    def save(self, record: Path) -> None:
        state = {
            "finder": self.finder.state_dict(), "mean": self.mean.state_dict(),
            "optimiser": self.optimiser.state_dict(), "steps": self.steps, "spent": self.spent,
        }  # fmt: skip
        with replacing(record) as part:
            torch.save(state, part)

    def step(self, x_B3HW: Tensor, truth_B9hw: Tensor) -> list[float]:
        """The learning rate rises quickly and falls to nothing as a cosine of the time spent."""
        self.steps += 1
        done = min(1.0, self.spent / self.course.hours)
        for group in self.optimiser.param_groups:
            group["lr"] = self.course.rate * min(1, self.steps / 100) * (0.5 + 0.5 * math.cos(math.pi * done))
        with torch.autocast("cpu", torch.bfloat16):
            answer = self.finder(x_B3HW)
        loss, parts = _loss(answer.float(), truth_B9hw)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.finder.parameters(), 5.0)
        self.optimiser.step()
        kept = min(AVERAGED, self.steps / (self.steps + 20))
        with torch.no_grad():
            for mean, now in zip(self.mean.state_dict().values(), self.finder.state_dict().values(), strict=True):
                mean.lerp_(now, 1 - kept) if mean.is_floating_point() else mean.copy_(now)
        return parts


def _batch(chosen: Sequence[Sample], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    pictures, truths = zip(*(mirrored(*one) if rng.random() < 0.5 else one for one in chosen), strict=True)
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    x = x * torch.empty(len(x), 3, 1, 1).uniform_(0.9, 1.1) + torch.empty(len(x), 1, 1, 1).uniform_(-0.1, 0.1)
    return x.contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(truths))


def measured(finder: MouthFinder, tests: Sequence[Sample]) -> tuple[float, float]:
    """Share of the shown mouths found within half a width, and answers per picture that are no mouth."""
    right = wrong = shown = 0
    for picture, truth in tests:
        x = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            out = finder(x.contiguous(memory_format=torch.channels_last))[0].float().numpy()
        found = np.array([one[:3] for one in _peaks(out, SURE)]).reshape(-1, 3)
        mouths = np.array([_place(truth, *at) for at in np.argwhere(truth[0] > 0.999)]).reshape(-1, 3)
        far = np.hypot(*(found[:, None, :2] - mouths[None, :, :2]).transpose(2, 0, 1)) / mouths[:, 2]
        shown, right = shown + len(mouths), right + int((far < 0.5).any(0).sum())
        cells = np.clip(found[:, :2] // CELL, 0, truth.shape[1] - 1).astype(int)
        wrong += int(((far >= 0.5).all(1) & (truth[1, cells[:, 1], cells[:, 0]] > 0)).sum())
    return right / max(1, shown), wrong / len(tests)


def _place(truth: np.ndarray, row: int, column: int) -> tuple[float, float, float]:
    dx, dy, wide = truth[3:6, row, column]
    return (column + 0.5 + dx) * CELL, (row + 0.5 + dy) * CELL, USUAL * float(np.exp(wide))


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


if __name__ == "__main__":
    main()
