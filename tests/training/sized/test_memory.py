"""What a training is said to need is what it takes: memory on this machine's CPU, within a tenth."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from omnisync_core.checkpoint import read_bundle
from omnisync_core.cli import main
from omnisync_core.models.dit import DiT, DiTConfig
from omnisync_core.training.sized.memory import Tracker, need, step_seconds
from omnisync_core.training.sized.options import SizedOptions
from omnisync_core.training.sized.windows import Encoding
from tests.training.sized import small

DIT = {"width": 384, "depth": 4, "heads": 6, "ffn_width": 1536, "speech_width": 384}
ENCODING = Encoding("", "", (16, 5, 24, 24), (17, 4, 128), (17, 3), 192)
HEARD = replace(ENCODING, speech=(5, 4, 4, 128))
"""Speech by latent frame, as a LoRA over HuMo has it."""
LORA = {"lora_rank": 8, "init": "humo.pt"}
OPTIONS = {"data": "", "vae": "", "whisper": "", "text": "", "steps": 1, "size": "humo", "batch": 2}
MEASURED = """
import json, threading, time, sys
import torch
from tests.training.sized.test_memory import DIT, ENCODING, HEARD, OPTIONS
from omnisync_core.training.sized import memory
from omnisync_core.training.sized.options import SizedOptions
from omnisync_core.training.sized.start import describe
torch.set_num_threads(1)
options, cpu = SizedOptions(**{**OPTIONS, **json.loads(sys.argv[1])}, dit=DIT), torch.device("cpu")
encoding = HEARD if options.lora_rank else ENCODING

def resident():
    # without what is mapped from files: the code of libraries, which comes as it is first run
    _, pages, of_files, *_ = map(int, open("/proc/self/statm").read().split())
    return (pages - of_files) * 4096

def train(dit):
    config = describe("humo", dit, (4, 128), 64)
    network = memory._network(options, config, cpu)
    optimiser, batch = memory.optimiser_of(options, network), memory._batch(options, encoding, config, cpu)
    for _ in range(2):
        memory._step(options, network, optimiser, batch)

train({**DIT, "depth": 1})  # what libraries keep for such shapes
before, largest, done = resident(), [0], []

def watch():
    while not done:
        largest[0] = max(largest[0], resident())
        time.sleep(0.002)

watcher = threading.Thread(target=watch)
watcher.start()
train(DIT)
done.append(True)
watcher.join()
print(json.dumps(largest[0] - before))
"""


def test_parts_by_hand():
    found = need(SizedOptions(**OPTIONS, dit=DIT, ema=0.9), ENCODING, 64)
    weights = found.parameters * 4e6
    assert found.parts["weights"] == pytest.approx(weights, rel=0.02)
    assert found.parts["average"] == pytest.approx(weights, rel=0.02)
    assert found.parts["optimiser"] == pytest.approx(2 * weights, rel=0.1)
    kept = need(SizedOptions(**OPTIONS, dit=DIT, recompute=False), ENCODING, 64)
    plain = need(SizedOptions(**OPTIONS, dit=DIT), ENCODING, 64)
    assert kept.total > plain.total + 1e8, "what is not computed again is kept"
    halves = need(SizedOptions(**OPTIONS, dit=DIT, shard=True), ENCODING, 64, processes=2)
    assert halves.parts["weights"] == plain.parts["weights"] / 2
    assert "M parameters; in every process" in str(plain)
    assert "activations" in str(plain)


def test_parts_of_a_lora_by_hand():
    """What is frozen is there at what it is multiplied in; gradients and moments are the adapters' alone."""
    pytest.importorskip("peft")
    whole = need(SizedOptions(**OPTIONS, dit=DIT), ENCODING, 64)
    half, full = (need(SizedOptions(**OPTIONS, **LORA, dit=DIT, bf16=bf16), HEARD, 64) for bf16 in (True, False))
    width, hears = DIT["width"], DIT["speech_width"]
    layers = 10 * (width, width) + 2 * (hears, width) + 2 * (width, DIT["ffn_width"])
    numbers = DIT["depth"] * LORA["lora_rank"] * sum(layers)
    assert half.learning == numbers / 1e6
    assert half.parameters == pytest.approx(whole.parameters + half.learning)
    assert half.parts["adapters"] == 4 * numbers
    assert half.parts["gradients"] <= 4 * numbers, "the peak may come before all are there"
    assert half.parts["optimiser"] == pytest.approx(8 * numbers, rel=0.001)
    assert full.parts["weights"] == pytest.approx(whole.parts["weights"])
    assert half.parts["weights"] == pytest.approx(full.parts["weights"] / 2, rel=0.03), "but what is no linear layer"
    assert f"{half.parameters:.0f} M parameters, of which {numbers / 1e6:.1f} M learn" in str(half)


def test_the_command_reckons_a_lora_in_its_bundle_s_size(tmp_path, capsys):
    """Whatever `size` is by default; a bundle that is not there is named."""
    pytest.importorskip("peft")
    pytest.importorskip("pyarrow")
    table = {**small.table(tmp_path), "init": str(small.write_parts(tmp_path)), "lora_rank": 2}
    del table["dit"], table["size"]
    path = tmp_path / "lora.toml"

    def dry(init: str) -> int:
        rows = [f"{name} = {json.dumps(value)}" for name, value in (table | {"init": init}).items()]
        path.write_text("\n".join([f'out = "{tmp_path}"', "seed = 0", "[omnisync]", *rows]), encoding="utf-8")
        return main(["train", str(path), "--dry-run"])

    assert dry(table["init"]) == 0
    said = capsys.readouterr().out.splitlines()
    config = DiTConfig(**read_bundle(table["init"]).config["dit"])
    numbers = sum(value.numel() for value in DiT(config, device="meta").parameters()) / 1e6
    assert said[0].startswith(f"{numbers:.0f} M parameters, of which 0.0 M learn")
    assert [row.split()[0] for row in said[1:]] == [
        "weights", "adapters", "gradients", "optimiser", "average", "activations", "sum", "a"
    ]  # fmt: skip
    assert dry("absent.pt") == 2
    assert "omnisync.init: no such model file: absent.pt" in capsys.readouterr().err


def test_the_peak_is_that_of_what_lives_at_once():
    kept, learning = torch.zeros(1000), torch.zeros(500, requires_grad=True)
    with Tracker({"weights": [kept]}, [learning]) as tracker:
        large = kept.repeat(4)
        del large
        (learning * 2).repeat(3).sum().backward()
        assert tracker.living == {"weights": 4000, "activations": 0, "gradients": 2000}
        assert tracker.peak == {"weights": 4000, "activations": 16000}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    "more",
    [{}, {"recompute": False, "bf16": False, "batch": 1}, LORA, {**LORA, "recompute": False, "bf16": False}],
    ids=["usual", "plain", "lora", "plain_lora"],
)
def test_what_is_said_is_what_is_taken(more):
    if more.get("lora_rank") and not importlib.util.find_spec("peft"):
        pytest.skip("needs peft")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", MEASURED, json.dumps(more)]
    ran = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    taken = json.loads(ran.stdout.splitlines()[-1])
    said = need(SizedOptions(**{**OPTIONS, **more}, dit=DIT), HEARD if "lora_rank" in more else ENCODING, 64)
    print(f"said {said.total / 1e9:.3f} GB, taken {taken / 1e9:.3f} GB")
    assert said.total == pytest.approx(taken, rel=0.1)


def test_a_step_is_timed():
    assert 0 < step_seconds(SizedOptions(**OPTIONS, dit={**DIT, "width": 48, "ffn_width": 64}), ENCODING, 64) < 300
