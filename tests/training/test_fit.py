"""Learning the published way: it goes on where it was stopped, and a loss that is no number harms nothing."""

import json

import pytest
import torch
from torch import nn

from omnisync_core.errors import InputError, OutputError
from omnisync_core.training.fit import Course, fit, step_rng
from omnisync_core.training.optimiser import AdamW, MuonAdamW


def fresh() -> nn.Module:
    """A network whose first layer is frozen."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
    model[0].requires_grad_(False)
    return model


def loss_of(model: nn.Module, step: int) -> dict[str, torch.Tensor]:
    x = torch.as_tensor(step_rng(0, step).normal(size=(16, 4))).float()
    error = model(x) - x[:, :2] - 0.1 * torch.randn(16, 2)
    return {"loss": error.square().mean()}


def fitted(name, work, model, loss, report=None, **course) -> nn.Module:
    lr = course.pop("lr")
    return fit(name, work, model, loss, Course(optimiser=lambda model: AdamW(model, lr), **course), report)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_it_learns_what_learns(tmp_path):
    model = fitted("a", tmp_path, fresh(), loss_of, steps=150, lr=3e-2)
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert [row["step"] for row in rows] == list(range(0, 150, 20))
    assert torch.equal(model[0].weight, fresh()[0].weight)
    assert not torch.equal(model[1].weight, fresh()[1].weight)


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path):
    whole = fitted("whole", tmp_path, fresh(), loss_of, steps=8, lr=1e-2)

    def stopping(model, step):
        if step == 5:
            raise KeyboardInterrupt
        return loss_of(model, step)

    seen = []
    with pytest.raises(KeyboardInterrupt):
        fitted("a", tmp_path, fresh(), stopping, steps=8, lr=1e-2, save_minutes=-1, report=lambda m, s: seen.append(s))
    torch.manual_seed(99)
    resumed = fitted("a", tmp_path, fresh(), loss_of, steps=8, lr=1e-2)
    assert torch.equal(weights(resumed), weights(whole))
    assert seen == [1, 2, 3, 4, 5]


def test_a_loss_that_is_no_number_keeps_the_weights_before_it(tmp_path):
    def broken(model, step):
        losses = loss_of(model, step)
        return {"loss": losses["loss"] * (float("nan") if step == 3 else 1)}

    with pytest.raises(InputError, match="the loss of step 3 is no number") as error:
        fitted("a", tmp_path, fresh(), broken, steps=8, lr=1e-2)
    assert "\n" not in str(error.value)
    whole = fitted("whole", tmp_path, fresh(), loss_of, steps=8, lr=1e-2)
    assert torch.equal(weights(fitted("a", tmp_path, fresh(), loss_of, steps=8, lr=1e-2)), weights(whole))


def test_a_full_disk_keeps_the_state_of_before(tmp_path):
    """Files may not grow beyond a block from the third step on: the system refuses the write as a full disk does."""
    resource = pytest.importorskip("resource")
    before, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(model, step):
        if step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, most))
        return loss_of(model, step)

    try:
        with pytest.raises(OutputError, match=r"cannot save a at step 4 .* is still in") as error:
            fitted("a", tmp_path, fresh(), filling, steps=8, lr=1e-2, save_minutes=-1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, most))
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".pt", ".part")] == ["a.pt"]
    assert torch.load(tmp_path / "a.pt", weights_only=True)["step"] == 3
    whole = fitted("whole", tmp_path, fresh(), loss_of, steps=8, lr=1e-2)
    assert torch.equal(weights(fitted("a", tmp_path, fresh(), loss_of, steps=8, lr=1e-2)), weights(whole))


def test_the_state_of_another_training_is_refused(tmp_path):
    fitted("a", tmp_path, fresh(), loss_of, steps=1, lr=1e-2)
    with pytest.raises(InputError, match="state of another training"):
        fitted("a", tmp_path, fresh().requires_grad_(True), loss_of, steps=2, lr=1e-2)


@pytest.mark.parametrize("content", [b"", b"no state", None])
def test_a_state_that_is_damaged_stays_and_is_named(tmp_path, content):
    fitted("a", tmp_path, fresh(), loss_of, steps=1, lr=1e-2)
    path = tmp_path / "a.pt"
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    left = path.read_bytes()
    with pytest.raises(InputError, match=r"a\.pt is damaged .* remove it to begin anew"):
        fitted("a", tmp_path, fresh(), loss_of, steps=2, lr=1e-2)
    assert path.read_bytes() == left


def test_the_state_of_another_size_or_optimiser_is_refused(tmp_path):
    fitted("a", tmp_path, fresh(), loss_of, steps=1, lr=1e-2)
    larger = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
    larger[0].requires_grad_(False)
    with pytest.raises(InputError, match="state of another training"):
        fitted("a", tmp_path, larger, loss_of, steps=2, lr=1e-2)
    course = Course(steps=2, optimiser=lambda model: MuonAdamW(model, 1e-2))
    with pytest.raises(InputError, match="state of another training"):
        fit("a", tmp_path, fresh(), loss_of, course)


def test_a_sharded_state_is_refused_by_one_process(tmp_path):
    fitted("a", tmp_path, fresh(), loss_of, steps=1, lr=1e-2)
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    torch.save(state | {"sharded": True}, tmp_path / "a.pt")
    with pytest.raises(InputError, match="is the state of a sharded training, this is a whole one"):
        fitted("a", tmp_path, fresh(), loss_of, steps=2, lr=1e-2)
