"""A training at the smallest size: windows in, a bundle that the engine loads out; stopped, broken, refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from omnisync_core.checkpoint import read_bundle
from omnisync_core.engines.omnisync import load_engine
from omnisync_core.errors import CheckpointError, InputError
from omnisync_core.models.dit import DiT
from omnisync_core.models.humo import convert
from omnisync_core.training.lora import add_lora
from omnisync_core.training.objective import PAPER
from omnisync_core.training.sized import run
from omnisync_core.training.sized.options import SizedOptions, read_options
from omnisync_core.training.sized.start import begin
from omnisync_core.training.sized.windows import Windows, write_windows
from tests.models.test_humo import TINY
from tests.training.sized import small

pytest.importorskip("pyarrow")


def trained(tmp_path, work: str, **more) -> Path:
    (tmp_path / work).mkdir(exist_ok=True)
    return run.train_sized(small.table(tmp_path, **more), tmp_path / work, 5)


def dit_of(path: Path) -> dict[str, torch.Tensor]:
    return read_bundle(path).tensors["dit"]


def test_from_public_weights_to_a_bundle(tmp_path, capsys):
    sized = small.weights(run.describe("humo", small.CONFIG, (2, 16), 8))
    torch.save(sized, tmp_path / "humo.pt")
    path = trained(tmp_path, "a", init=str(tmp_path / "humo.pt"), sampling={"steps": 2, "tau": 0.9})
    said = capsys.readouterr().out
    assert "(HuMo 1.7B); fresh: speech_projection.inner, the 16" in said
    assert "step 3, unseen: loss" in said
    bundle = read_bundle(path)
    assert bundle.config["dit"]["text_first"]
    assert bundle.config["spec"]["window_frames"] == 9
    before = convert(sized, TINY)
    del before["speech_projection.inner.weight"]
    changed = [key for key in before if not torch.equal(bundle.tensors["dit"][key], before[key].half())]
    assert len(changed) > 0.8 * len(before), "all of it learns"
    engine = load_engine(path, device="cpu")
    assert engine.sampling.steps == 2
    assert engine.spec.crop_size == 32


def test_stopped_it_goes_on_to_the_bit(tmp_path, monkeypatch):
    whole = dit_of(trained(tmp_path, "whole", ema=0.9, bf16=True))

    def stopping(*given):
        if len(stopping.seen) == 2:
            raise KeyboardInterrupt
        stopping.seen.append(given)
        return plain(*given)

    plain, stopping.seen = run.flow_loss, []
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(run, "flow_loss", stopping)
        patched.setattr(run, "_report", lambda *_: None)
        trained(tmp_path, "b", ema=0.9, bf16=True, save_minutes=-1.0)
    torch.manual_seed(99)
    resumed = dit_of(trained(tmp_path, "b", ema=0.9, bf16=True))
    assert all(torch.equal(resumed[key], value) for key, value in whole.items())


def test_recomputing_changes_nothing(tmp_path):
    one, other = (dit_of(trained(tmp_path, str(kept), recompute=kept)) for kept in (True, False))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_window_that_is_broken_is_named(tmp_path):
    folder = small.write_set(tmp_path / "windows")
    broken = [small.rows("eve")[0], small.rows("eve")[1]]
    broken[0].latent[:] = float("nan")
    write_windows(folder / "train_2.parquet", broken)
    with pytest.raises(InputError, match=r"the loss of step \d+ is no number .*eve@.*weights before it are in") as got:
        trained(tmp_path, "a", steps=60, batch=1)
    assert "\n" not in str(got.value)
    state = torch.load(tmp_path / "a" / "omnisync.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    assert json.loads((tmp_path / "a" / "omnisync.jsonl").read_text().splitlines()[0])["step"] == 0


def test_a_lora_is_the_bundle_s_alone(tmp_path):
    """What peft learned is what the engine adds; another bundle refuses it in one line."""
    pytest.importorskip("peft")
    from tests import tiny

    start = small.write_parts(tmp_path)
    more = {"init": str(start), "lora_rank": 2, "dit": {}, "lr": 0.05, "objective": {"pair_threshold": 1.0}}
    path = trained(tmp_path, "b", **more)
    with safe_open(path, framework="pt") as file:
        keys = set(file.keys())
    assert "diffusion_model.blocks.0.speech_attention.q.lora_A.weight" in keys
    assert "diffusion_model.blocks.1.ffn.2.lora_B.weight" in keys
    assert not any("patch" in key for key in keys)

    learned = peft_of(start, tmp_path / "b" / "omnisync.pt")
    engine, plain = (load_engine(start, adapter=one, device="cpu", dtype="float32") for one in (path, None))
    given = torch.randn(1, 16, 3, 4, 4), torch.tensor([0.5]), torch.randn(1, 16, 3, 4, 4)
    given = (*given, torch.randn(1, 9, 2, 16), torch.randn(1, 4, 8))
    with torch.no_grad():
        one, other, without = (dit(*given) for dit in (learned, engine.dit, plain.dit))
    assert (one - other).abs().max() < 1e-5 < 1e-4 < (one - without).abs().max()

    run.write_bundle(tmp_path / "other.safetensors", tiny.networks(seed=4), tiny.CONFIG, torch.float32)
    with pytest.raises(CheckpointError, match=r"was learned with the model .* give that model") as error:
        load_engine(tmp_path / "other.safetensors", adapter=path, device="cpu")
    assert "\n" not in str(error.value)
    torch.save({}, tmp_path / "humo.pt")
    for init in (str(tmp_path / "humo.pt"), ""):
        with pytest.raises(InputError, match="a LoRA is learned over a bundle"):
            trained(tmp_path, "d", **more | {"init": init})
    with pytest.raises(InputError, match=r"omnisync\.init: no such model file: absent\.pt"):
        trained(tmp_path, "d", **more | {"init": "absent.pt"})


def test_what_a_lora_leaves_is_held_as_it_is_multiplied(tmp_path, monkeypatch):
    """In half of the memory, it learns the same to the bit; people of the test are shown the same network."""
    pytest.importorskip("peft")
    more = {"init": str(small.write_parts(tmp_path)), "lora_rank": 2, "dit": {}, "lr": 0.05, "bf16": True}
    networks, learned = [], []

    def watched(*given, **how):
        dit, taken = begin(*given, **how)
        networks.append(dit)
        return dit, taken

    monkeypatch.setattr(run, "begin", watched)
    learned.append(trained(tmp_path, "half", **more))
    monkeypatch.setattr(run, "halve_frozen", lambda network: None)
    learned.append(trained(tmp_path, "full", **more))
    for dit, kind in zip(networks, (torch.bfloat16, torch.float32), strict=True):
        assert dit.blocks[0].self_attention.q.base_layer.weight.dtype == dit.head.out.weight.dtype == kind
        assert dit.blocks[0].self_attention.q.lora_A.default.weight.dtype == torch.float32
        assert dit.patch_embedding.weight.dtype == torch.float32
    tensors = [load_file(path) for path in learned]
    assert all(torch.equal(value, tensors[1][key]) for key, value in tensors[0].items())
    unseen = [(tmp_path / name / "omnisync_unseen.jsonl").read_text() for name in ("half", "full")]
    assert unseen[0] == unseen[1]


def test_a_lora_over_humo_has_humos_own_keys(tmp_path):
    """HuMo's file with what its LoRA adds computes what peft learned; half of HuMo, or other windows, are refused."""
    pytest.importorskip("peft")
    config = run.describe("humo", small.CONFIG, (10, 16), 8)
    weights = small.weights(config)
    torch.save(weights, tmp_path / "humo.pt")
    data = str(small.write_humo_set(tmp_path / "heard"))
    more = {"init": str(tmp_path / "humo.pt"), "lora_rank": 2, "lr": 0.05, "objective": {"pair_threshold": 1.0}}
    path = trained(tmp_path, "h", data=data, **more)
    assert path.name == "humo_lora.safetensors"
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        assert file.metadata()["base"] == "humo.pt"
    assert {key.removeprefix("diffusion_model.").split(".lora_")[0] + ".weight" for key in tensors} < weights.keys()
    for key in [key for key in tensors if "lora_A" in key]:
        outer = tensors[key.replace("lora_A", "lora_B")]
        weights[key.removeprefix("diffusion_model.").replace("lora_A.", "")] += outer @ tensors[key]
    there, learned, plain = (DiT(config).requires_grad_(False) for _ in range(3))
    there.load_state_dict(convert(weights, config))
    for dit in (learned, plain):
        dit.load_state_dict(convert(small.weights(config), config))
    add_lora(learned, run.lora_layers(learned), 2)
    learned.load_state_dict(torch.load(tmp_path / "h" / "omnisync.pt", weights_only=True)["model"], strict=False)
    latents = torch.randn(1, 16, 3, 4, 4)
    given = latents, torch.tensor([0.5]), torch.zeros_like(latents), torch.randn(1, 3, 4, 10, 16), torch.randn(1, 4, 8)
    one, other, without = (dit(*given) for dit in (there, learned, plain))
    assert (one - other).abs().max() < 1e-5 * one.abs().max() < 1e-4 < (one - without).abs().max()

    torch.save(small.wan(config), tmp_path / "wan.pt")
    for words, change in (
        (r"over all of HuMo 1\.7B; .*Wan 2\.1 1\.3B\) leaves fresh", {"init": str(tmp_path / "wan.pt")}),
        ("prepare windows without --hears humo", {"lora_rank": 0}),
        ("over HuMo 1.7B, which needs windows of `prepare --hears humo`", {"data": str(tmp_path / "windows")}),
    ):
        with pytest.raises(InputError, match=words) as error:
            trained(tmp_path, "i", **{"data": data, **more, **change})
        assert "\n" not in str(error.value)


def peft_of(start: Path, state: Path) -> torch.nn.Module:
    """The bundle's transformer with peft's layers as the training left them."""
    dit = load_engine(start, device="cpu", dtype="float32").dit
    add_lora(dit, run.lora_layers(dit), 2)
    dit.load_state_dict(torch.load(state, weights_only=True)["model"], strict=False)
    return dit


def test_another_vae_is_refused(tmp_path):
    from tests import tiny

    table = small.table(tmp_path)
    other = tmp_path / "other.safetensors"
    run.write_bundle(other, tiny.networks(seed=4), tiny.CONFIG, torch.float32)
    for part in ("vae", "whisper"):
        with pytest.raises(InputError, match=f"was encoded with another {part}"):
            run.train_sized(table | {part: str(other)}, tmp_path, 0)


def test_the_papers_objective():
    """Noise is uniform; pseudo-pairs above 0.85, arbitrary ones below; the loss is the velocity's."""
    import numpy as np

    rng = np.random.default_rng(0)
    drawn = np.array([run.draw_level(PAPER, rng) for _ in range(20000)])
    assert np.abs(np.histogram(drawn[:, 0], 10, (0, 1))[0] / 20000 - 0.1).max() < 0.01
    assert ((drawn[:, 0] > 0.85) == drawn[:, 1].astype(bool)).all()
    assert {run.draw_start(0.3, PAPER, rng) for _ in range(50)} == {1.0}

    class Zero(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config, self.unused = TINY, torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, sigma, source, speech, text):
            self.x = x
            return torch.zeros_like(x)

    model = Zero()
    target = torch.randn(2, 16, 2, 4, 4)
    sigma = torch.tensor([0.25, 0.75])
    batch = {"target": target, "source": torch.randn_like(target), "sigma": sigma, "tau": torch.ones(2),
             "speech": torch.zeros(1), "text": torch.zeros(1), "mouth": torch.full((2, 5, 3), 0.5)}  # fmt: skip
    loss = run.flow_loss(model, batch, PAPER)["loss"]
    level = sigma.reshape(-1, 1, 1, 1, 1)
    eps = (model.x - (1 - level) * target) / level
    torch.testing.assert_close(loss, (eps - target).square().mean())


def test_defaults_are_the_papers():
    options = read_options({"data": "d", "vae": "v", "whisper": "w", "text": "t", "steps": 80000})
    assert (options.lr, options.weight_decay, options.betas) == (1e-5, 0.01, (0.9, 0.999))
    assert options.objective == PAPER
    assert options.objective.pair_threshold == 0.85
    adam = run.optimiser_of(options, torch.nn.Linear(2, 2)).parts[0]
    assert isinstance(adam, torch.optim.AdamW)
    assert adam.defaults["betas"] == (0.9, 0.999)


def test_the_shipped_configuration_is_complete():
    import tomllib

    config = tomllib.loads((Path(run.__file__).parents[3] / "configs" / "base.toml").read_text())
    options = read_options(config["omnisync"])
    assert isinstance(options, SizedOptions)
    assert options.objective == PAPER
    assert options.steps == 80000


@pytest.mark.parametrize("name", ["personal_lora", "humo_lora"])
def test_the_shipped_loras_are_complete(name):
    import tomllib

    config = tomllib.loads((Path(run.__file__).parents[3] / "configs" / f"{name}.toml").read_text())
    options = read_options(config["omnisync"])
    assert options.lora_rank == 16
    assert options.objective.pair_threshold == 1.0


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"rate": 1}, r"unknown \['rate'\]"), ({"batch": 0}, "batch must be 1 or more"),
     ({"optimiser": "sgd"}, "adamw, muon"), ({"optimiser": "muon", "shard": True}, "Muon needs whole matrices"),
     ({"lora_rank": 4}, "a LoRA is learned over a bundle"),
     ({"lora_rank": 4, "init": "x", "shard": True}, "too small to be spread over processes"),
     ({"objective": {"like": "theirs"}}, "paper, ours"),
     ({"ema": 1.0}, "from 0 to below 1"), ({"steps": "50"}, "steps must be a whole number, got '50'"),
     ({"batch": 1.5}, "batch must be a whole number"), ({"lr": float("nan")}, "lr must be a finite number"),
     ({"lr": -1}, "lr must be a number above 0"), ({"betas": [0.9]}, "betas must be a list of 2 numbers"),
     ({"betas": [0.9, 1]}, "betas must be from 0 to below 1"), ({"shard": "yes"}, "shard must be true or false"),
     ({"objective": "paper"}, "objective must be a table"), ({"weight_decay": -1}, "weight_decay must be a number"),
     ({"objective": {"tau_least": "0.9"}}, "objective.tau_least must be a finite number")],
)  # fmt: skip
def test_a_wrong_table_is_one_line(more, reason):
    with pytest.raises(InputError, match=reason) as error:
        read_options({"data": "d", "vae": "v", "whisper": "w", "text": "t", "steps": 1, **more})
    assert "\n" not in str(error.value)


def test_which_windows_a_batch_is_made_of(tmp_path):
    windows = Windows(small.write_set(tmp_path / "windows"), "train")
    options = read_options({**small.table(tmp_path)})
    names = run._names(windows, options, 5, 1)
    assert len(names) == 2
    assert all(" from " in name for name in names)
