"""What stopped jobs left in the host's output folder: listed, removed, and never while they run."""

import json

import numpy as np
import pytest


@pytest.fixture
def stopped(host):
    """Two jobs with a finished window each; the second is at work."""
    state, jobs = host.output / "omnisync_unfinished", host.module("omnisync_core.job.store").Store
    stores = [jobs.open(state / "none", {"seed": seed}, resume=True, state=state) for seed in (1, 2)]
    for store in stores:
        store.write("window_00000", edited=np.zeros((4, 8, 8, 3), np.uint8))
    stores[0].close()
    yield stores
    for store in stores:
        store.remove()
    state.rmdir()


def cleaned(host, **inputs):
    host.forget()
    node = {"class_type": "OmniSyncCleanUnfinished", "inputs": {"remove": False, "older_than_days": 0.0, **inputs}}
    return host.run({"clean": node})["clean"][0].splitlines()


def test_jobs_are_listed_and_removed(host, stopped):
    kept, running = (store.folder for store in stopped)
    lines = cleaned(host)
    assert len(lines) == 3
    assert "nothing was removed" in lines[-1]
    assert any(line.startswith(f"{kept.name}: 1 windows, ") and line.endswith(", kept") for line in lines)
    assert any(line.startswith(running.name) and line.endswith(", running") for line in lines)
    assert "kept" in " ".join(cleaned(host, remove=True, older_than_days=1.0))
    assert kept.is_dir()
    lines = cleaned(host, remove=True)
    assert any(line.startswith(kept.name) and line.endswith(", removed") for line in lines)
    assert "freed" in lines[-1]
    assert running.is_dir()
    assert not kept.exists()
    stopped[1].close()
    cleaned(host, remove=True)
    assert not running.exists()
    assert cleaned(host) == ["no unfinished jobs"]


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("dit", "width", 10**12),
        ("dit", "heads", 0),
        ("whisper", "attn_implementation", "kernels-community/flash-attn"),
        ("text", "_attn_implementation", "kernels-community/flash-attn"),
        ("text", "tokenizer", "{"),
        ("dit", "depth", 100),
    ],
)
def test_bundles_are_not_trusted(host, tmp_path, part, key, value):
    from safetensors.torch import load_file, save_file

    bundled = host.module("nodes.host.folders").BUNDLED
    reader = host.module("omnisync_core.checkpoint")
    config = json.loads(json.dumps(reader.read_bundle(bundled).config))
    config[part][key] = value
    path, tensors = tmp_path / "other.safetensors", load_file(bundled)
    metadata = {"omnisync.config": json.dumps(config), "omnisync.digest": reader.tensor_digest(tensors)}
    save_file(tensors, path, metadata)
    models = host.module("nodes.host.models")
    for load in (models.load_bundle, models.load_transformer, host.module("nodes.host.vae").load_vae_patcher):
        if load is not models.load_bundle and (part, key) != ("dit", "width"):
            continue
        with pytest.raises(reader.CheckpointError) as caught:
            load(str(path))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500
