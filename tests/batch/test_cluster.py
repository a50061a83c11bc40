"""The Ray runner: the same rows and files as one process, and one line for what it cannot have."""

import sys
from types import SimpleNamespace

import pytest

pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")

from omnisync_core import cli
from omnisync_core.batch.cluster import Cluster, need_ray
from omnisync_core.errors import InputError
from omnisync_core.manifest import Row, write_manifest
from tests.batch.batches import FakeChoice, digests, run, write_rows
from tests.fake import write_sound, write_video


class NoEngineThere(FakeChoice):
    """Its files are on the driver's machine alone."""

    def load(self):
        raise InputError("no such file: model.safetensors")


@pytest.fixture(scope="module")
def ray():
    found = pytest.importorskip("ray", reason="more than one process needs Ray: pip install -r requirements-batch.txt")
    pytest.importorskip("ray.data")
    return found


@pytest.fixture(scope="module")
def cluster(ray):
    """A node that stays up between the tests; its address."""
    from ray.cluster_utils import Cluster as Node

    small = {"num_cpus": 2, "object_store_memory": 100_000_000, "include_dashboard": False}
    node = Node(initialize_head=True, head_node_args=small)
    yield node.address
    node.shutdown()


def test_a_cluster_makes_what_one_process_makes(cluster, tmp_path):
    rows = write_rows(tmp_path / "in", 4)
    (tmp_path / "in" / "v2.mkv").write_bytes(b"torn")
    one, states = run(rows, tmp_path / "one")
    many, again = run(rows, tmp_path / "many", runner=Cluster(cluster, workers=2))
    assert states == again == {"done": 3, "refused": 1}
    assert {name: (row.state, row.sha256) for name, row in one.items()} == {
        name: (row.state, row.sha256) for name, row in many.items()
    }
    assert digests(tmp_path / "one") == digests(tmp_path / "many")
    assert len(digests(tmp_path / "many")) == 3


def test_a_long_clip_is_shared_and_the_same(cluster, tmp_path):
    rows = write_rows(tmp_path / "in", 2)
    write_video(tmp_path / "in" / "film.mkv", 100, cuts=(23, 41, 60, 77))
    rows.append(Row(3, "film", tmp_path / "in" / "film.mkv", write_sound(tmp_path / "in" / "film.wav", 4.0)))
    _one, _ = run(rows, tmp_path / "one")
    _many, states = run(rows, tmp_path / "many", runner=Cluster(cluster, workers=2, split=1.0))
    assert states == {"done": 3}
    assert digests(tmp_path / "one") == digests(tmp_path / "many")


def test_a_host_without_the_model_costs_its_clips(cluster, tmp_path):
    rows = write_rows(tmp_path / "in", 2)
    table, states = run(rows, tmp_path / "out", NoEngineThere(), Cluster(cluster, workers=1))
    assert states == {"failed": 2}
    assert table["clip0"].reason == "no engine on this host: no such file: model.safetensors"


def test_a_cluster_that_has_less_is_told_in_one_line(cluster, tmp_path):
    rows = write_rows(tmp_path / "in", 1)
    with pytest.raises(InputError, match="--gpus asks for 9, the cluster has 0 GPUs"):
        run(rows, tmp_path / "out", runner=Cluster(cluster, gpus=9))
    with pytest.raises(InputError, match="--workers asks for 9, the cluster has 2 CPU cores"):
        run(rows, tmp_path / "out", runner=Cluster(cluster, workers=9))


@pytest.mark.parametrize(
    ("hosts", "asked", "workers", "cores"),
    [([2, 2], None, 2, 2), ([1, 1], 1, 1, 1), ([0, 8], 2, 2, 2), ([4, 4], 8, 8, 1), ([0, 1], None, 1, 1)],
)
def test_no_worker_is_larger_than_a_host(hosts, asked, workers, cores):
    nodes = [{"Alive": True, "Resources": {"CPU": float(host)}} for host in hosts]
    nodes.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})
    pool = Cluster(workers=asked)._pool(SimpleNamespace(nodes=lambda: nodes))
    assert pool == (workers, {"num_cpus": cores})


def test_no_cluster_at_the_address(ray, tmp_path):
    with pytest.raises(InputError, match=r"no Ray cluster at 127\.0\.0\.1:1 .*ray start --head"):
        run(write_rows(tmp_path / "in", 1), tmp_path / "out", runner=Cluster("127.0.0.1:1"))


def test_ray_client_is_refused(ray, tmp_path):
    with pytest.raises(InputError, match=r"ray://head:10001 is Ray Client, .* with --address auto"):
        run(write_rows(tmp_path / "in", 1), tmp_path / "out", runner=Cluster("ray://head:10001"))


@pytest.mark.parametrize(("found", "says"), [(None, "needs Ray: pip install"), ("2.54.1", "2.54.1 is too old")])
def test_without_a_ray_that_serves_one_line_says_so(monkeypatch, tmp_path, capsys, found, says):
    modules = dict.fromkeys(("ray", "ray.data", "ray.exceptions"))
    if found:
        parts = {"data": SimpleNamespace(), "exceptions": SimpleNamespace()}
        ray = SimpleNamespace(__version__=found, **parts)
        modules = {"ray": ray, "ray.data": parts["data"], "ray.exceptions": parts["exceptions"]}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(InputError, match=says):
        need_ray()
    write_manifest(tmp_path / "list.csv", write_rows(tmp_path / "in", 1))
    given = ["batch", str(tmp_path / "list.csv"), "--out", str(tmp_path / "out"), "--workers", "2"]
    assert cli.main(given) == 2
    assert says in capsys.readouterr().err
