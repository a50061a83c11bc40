"""A stage of the training: it learns, it can be stopped anywhere, and its rates and averages are as promised."""

import json
import time

import numpy as np
import pytest
import torch
from torch import nn

from omnisync_core.training.optimiser import Average, MuonAdamW, schedule
from omnisync_core.training.stage import run_stage, step_rng

TRUTH = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


class Stopped(Exception):
    pass


def fresh() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Linear(16, 3))


def loss_of(model, step):
    """A regression on noisy samples that are drawn by the step."""
    x = torch.as_tensor(step_rng(0, step).normal(size=(32, 6)).astype(np.float32))
    error = model(x) - (x @ torch.as_tensor(TRUTH) + 0.01 * torch.randn(32, 3))
    return {"loss": error.square().mean(), "largest": error.abs().max().detach()}


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def logged(work, name="a") -> list[dict]:
    return [json.loads(line) for line in (work / f"{name}.jsonl").read_text().splitlines()]


def test_it_learns(tmp_path):
    model = run_stage("a", tmp_path, fresh(), loss_of, steps=250, lr=1e-2, decay=0.9)
    rows = logged(tmp_path)
    assert [row["step"] for row in rows] == list(range(0, 250, 20))
    assert {"loss", "largest", "gradient"} <= rows[0].keys()
    assert loss_of(model, 999)["loss"] < 0.1 * rows[0]["loss"]


def test_a_stopped_stage_goes_on_as_if_it_had_not_been(tmp_path):
    whole = run_stage("whole", tmp_path, fresh(), loss_of, steps=9, lr=1e-2)

    def stopping(model, step):
        if step == 4:
            raise Stopped
        return loss_of(model, step)

    with pytest.raises(Stopped):
        run_stage("a", tmp_path, fresh(), stopping, steps=9, lr=1e-2, save_minutes=-1.0)
    torch.manual_seed(77)
    resumed = run_stage("a", tmp_path, fresh(), loss_of, steps=9, lr=1e-2)
    assert torch.equal(weights(resumed), weights(whole))


def test_what_was_drawn_before_does_not_matter(tmp_path):
    results = []
    for name in ("a", "b"):
        torch.manual_seed(len(results))
        results.append(weights(run_stage(name, tmp_path, fresh(), loss_of, steps=3, lr=1e-2)))
    assert torch.equal(*results)


def test_another_seed_is_another_noise(tmp_path):
    results = [weights(run_stage(str(s), tmp_path, fresh(), loss_of, steps=3, lr=1e-2, seed=s)) for s in (0, 1)]
    assert not torch.equal(*results)


def test_a_finished_stage_is_read_not_repeated(tmp_path):
    first = run_stage("a", tmp_path, fresh(), loss_of, steps=4, lr=1e-2)

    def never(model, step):
        raise AssertionError

    again = run_stage("a", tmp_path, nn.Sequential(*fresh()), never, steps=4, lr=1e-2)
    assert torch.equal(weights(first), weights(again))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_the_clock_may_end_it_early(tmp_path):
    began = time.time()
    run_stage("a", tmp_path, fresh(), loss_of, steps=10**6, lr=1e-2, until=began + 0.5)
    assert time.time() - began < 30
    assert torch.load(tmp_path / "a.pt", weights_only=True)["step"] == 10**6


def test_sheets_are_drawn_from_the_average(tmp_path):
    seen = []
    model = run_stage(
        "a", tmp_path, fresh(), loss_of, steps=3, lr=1e-2, save_minutes=-1.0,
        sheet=lambda average, step: seen.append((average, step)),
    )  # fmt: skip
    assert [step for _, step in seen] == [1, 2, 3, 3]
    assert all(average is model for average, _ in seen)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_draws_by_step():
    assert step_rng(1, 2).random() == step_rng(1, 2).random()
    assert len({step_rng(seed, step).random() for seed in range(3) for step in range(3)}) == 9


def test_schedule_by_hand():
    assert schedule(0, 0.0) == pytest.approx(0.01)
    assert schedule(49, 0.1) == pytest.approx(0.5)
    assert schedule(500, 0.2) == 1
    assert schedule(500, 0.25) == 1
    assert schedule(500, 0.625) == pytest.approx(0.5)
    assert schedule(500, 1.0) == 0
    rates = [schedule(step, step / 1000) for step in range(1000)]
    assert max(rates) == 1
    assert all(np.diff(rates[250:]) < 1e-9)


def test_matrices_inside_go_to_muon_and_the_rest_to_adam():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.middle, self.outer = nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.time_projection, self.head = nn.Linear(4, 8), nn.Linear(4, 2)
            self.modulation = nn.Parameter(torch.zeros(1, 2, 4))

    net = Net()
    adam, muon = MuonAdamW(net, 1e-3).parts
    assert [p is net.middle.weight for p in muon.param_groups[0]["params"]] == [True]
    usual, slow = adam.param_groups
    assert len(usual["params"]) == 7
    assert {id(p) for p in slow["params"]} == {id(p) for p in (net.modulation, *net.time_projection.parameters())}
    assert slow["lr"] < 0.1 * usual["lr"]
    frozen = nn.Linear(2, 2).requires_grad_(False)
    assert len(MuonAdamW(nn.Sequential(nn.LayerNorm(2), frozen), 1e-3).parameters) == 2


def test_a_step_of_the_optimiser():
    net = nn.Sequential(nn.LayerNorm(4))
    optimiser = MuonAdamW(net, 0.1)
    net(torch.randn(3, 4)).sum().mul(1e3).backward()
    before = weights(net).clone()
    size = optimiser.step(0.5)
    assert size > 1, "the gradient's norm before it is clipped"
    # Adam's first step is the rate, whatever the gradient; the decay takes a hundredth of it.
    moved = (weights(net) - before).abs()
    assert moved[moved > 1e-6].numpy() == pytest.approx(0.05, rel=2e-2)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average = Average(model, decay=0.5)
    for value, expected in ((1.0, 9 / 11), (2.0, None)):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
        if expected is not None:
            # The first memory is short: 2 / 11.
            assert average.module.weight.item() == pytest.approx(expected)
    assert average.module.weight.item() == pytest.approx(9 / 11 + (1 - 3 / 12) * (2 - 9 / 11))
    assert average.count == 2
