"""What a training is said to need is what it takes: memory on this machine's CPU, within a tenth."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from omnisync_core.errors import InputError
from omnisync_core.training.sized.memory import need, step_seconds
from omnisync_core.training.sized.options import SizedOptions
from omnisync_core.training.sized.windows import Encoding

DIT = {"width": 384, "depth": 4, "heads": 6, "ffn_width": 1536, "speech_width": 384}
ENCODING = Encoding("", "", (16, 5, 24, 24), (17, 4, 128), (17, 3), 192)
OPTIONS = {"data": "", "vae": "", "whisper": "", "text": "", "steps": 1, "size": "humo", "batch": 2}
MEASURED = """
import json, threading, time, sys
import torch
from tests.training.sized.test_memory import DIT, ENCODING, OPTIONS
from omnisync_core.training.sized import memory
from omnisync_core.training.sized.options import SizedOptions
torch.set_num_threads(1)
options, cpu = SizedOptions(**{**OPTIONS, **json.loads(sys.argv[1])}, dit=DIT), torch.device("cpu")

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

def train(dit):
    config = memory.describe("humo", dit, (4, 128), 64)
    network = memory._prepared(options, config, cpu)
    optimiser, batch = memory.optimiser_of(options, network), memory._batch(options, ENCODING, config, cpu)
    for _ in range(2):
        memory._step(options, network, optimiser, batch, None)

train({**DIT, "width": 48, "depth": 1, "ffn_width": 64, "speech_width": 48})  # what libraries take
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
    with pytest.raises(InputError, match="leave lora_rank out"):
        need(SizedOptions(**OPTIONS, dit=DIT, lora_rank=4, init="x"), ENCODING, 64)
    assert "M parameters; in every process" in str(plain)
    assert "activations" in str(plain)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("more", [{}, {"recompute": False, "bf16": False, "batch": 1}], ids=["usual", "plain"])
def test_what_is_said_is_what_is_taken(more):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", MEASURED, json.dumps(more)]
    ran = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=True)
    taken = json.loads(ran.stdout.splitlines()[-1])
    said = need(SizedOptions(**{**OPTIONS, **more}, dit=DIT), ENCODING, 64)
    print(f"said {said.total / 1e9:.3f} GB, taken {taken / 1e9:.3f} GB")
    assert said.total == pytest.approx(taken, rel=0.1)


def test_a_step_is_timed():
    assert 0 < step_seconds(SizedOptions(**OPTIONS, dit={**DIT, "width": 48, "ffn_width": 64}), ENCODING, 64) < 300
