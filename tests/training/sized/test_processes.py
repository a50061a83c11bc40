"""Two processes learn what one does, whole or sharded, and one goes on from their state."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from omnisync_core.checkpoint import read_bundle
from omnisync_core.training.sized.run import train_sized
from tests.training.sized import small

pytest.importorskip("pyarrow")
CLOSE = 1e-5
"""Largest difference of a weight after four steps at 1e-3: sums of gradients in another order."""
ONE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.sized import small
from accelerate import PartialState
from omnisync_core.training.sized.run import train_sized
PartialState(cpu=True)
folder, work, shard = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "shard"
train_sized(small.table(folder, batch=1, steps=int(sys.argv[4]), shard=shard, ema=0.5), work, 7)
"""


def in_two(folder: Path, work: Path, how: str, steps: int = 4) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    work.mkdir(exist_ok=True)
    running = []
    for rank in range(2):
        own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port,
               "MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": 1}  # fmt: skip
        environment = {**os.environ, **{key: str(value) for key, value in own.items()}}
        command = [sys.executable, "-c", ONE, str(folder), str(work), how, str(steps)]
        root = Path(__file__).resolve().parents[3]
        running.append(subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.PIPE, text=True))
    errors = [process.communicate(timeout=500)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors


def weights(work: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return torch.load(work / "omnisync.pt", weights_only=True)[name]


@pytest.mark.parametrize("how", ["whole", "shard"])
def test_two_processes_are_one(tmp_path, how):
    table = small.table(tmp_path, batch=1, steps=4, ema=0.5)
    (tmp_path / "one").mkdir()
    train_sized(table | {"accumulate": 2}, tmp_path / "one", 7)
    in_two(tmp_path, tmp_path / "two", how)
    for name in ("model", "average"):
        one, two = weights(tmp_path / "one", name), weights(tmp_path / "two", name)
        assert one.keys() == two.keys()
        assert max(float((one[key] - two[key]).abs().max()) for key in one) < CLOSE
    assert max(float((weights(tmp_path / "one")[key] - value).abs().max()) for key, value in one.items()) > 1e-4
    assert read_bundle(tmp_path / "two" / "omnisync.safetensors").config["dit"]["width"] == small.CONFIG["width"]


def test_sharded_it_goes_on_where_it_was(tmp_path):
    small.table(tmp_path)
    in_two(tmp_path, tmp_path / "whole", "shard")
    state = tmp_path / "parts"
    in_two(tmp_path, state, "shard", steps=2)
    in_two(tmp_path, state, "shard")
    one, two = weights(tmp_path / "whole"), weights(state)
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-7
