"""`queue --manifest`: every clip once, over servers that are busy, slow or gone."""

import asyncio
import json
import os
import signal
import threading
import uuid

import pytest

web = pytest.importorskip("aiohttp.web")
pytest.importorskip("pyarrow", reason="the table of a batch is Parquet: pip install pyarrow")

from omnisync_core import cli, queue_batch  # noqa: E402
from omnisync_core.batch.outcome import RESULTS, read_results  # noqa: E402
from omnisync_core.manifest import Row, write_manifest  # noqa: E402
from tests.fake import write_sound, write_video  # noqa: E402
from tests.test_queue import serving  # noqa: E402

PROMPT = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "there.mp4"}},
    "2": {"class_type": "LoadAudio", "inputs": {"audio": "there.wav"}},
    "3": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "a"}},
}


class Server:
    """A ComfyUI that gives back the video it was sent, one job after the other."""

    def __init__(self, dies_at=None, fails=(), busy=0, takes=0.05):
        self.dies_at, self.fails, self.busy, self.takes = dies_at, fails, busy, takes
        self.files, self.jobs, self.sockets, self.waiting = {}, {}, {}, 0

    def app(self):
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([
            web.get("/ws", self.follow), web.post("/prompt", self.post), web.post("/upload/image", self.upload),
            web.get("/view", self.view), web.get("/object_info/{kind}", self.info), web.get("/queue", self.queue),
            web.get("/history/{job}", self.queue), web.post("/queue", self.queue), web.post("/interrupt", self.queue),
        ])  # fmt: skip
        return app

    async def follow(self, request):
        socket = self.sockets[request.query["clientId"]] = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        return socket

    async def post(self, request):
        if self.dies_at is not None and len(self.jobs) >= self.dies_at:
            request.transport.close()
            return web.Response(status=500)
        body, job = await request.json(), uuid.uuid4().hex
        self.jobs[job] = body["prompt"]
        asyncio.get_running_loop().create_task(self.work(job, self.sockets[body["client_id"]]))
        return web.json_response({"prompt_id": job, "node_errors": {}})

    async def work(self, job, socket):
        self.waiting += 1
        await asyncio.sleep(self.takes)
        self.waiting -= 1
        name = self.jobs[job]["1"]["inputs"]["file"]
        if name in self.fails:
            await socket.send_json({"type": "execution_error", "data": {"prompt_id": job, "exception_message": "no"}})
            return
        made = {"filename": name, "subfolder": "", "type": "output"}
        data = {"prompt_id": job, "node": "3", "output": {"images": [made]}}
        await socket.send_json({"type": "executed", "data": data})
        await socket.send_json({"type": "execution_success", "data": {"prompt_id": job}})

    async def upload(self, request):
        form = await request.post()
        self.files[form["image"].filename] = form["image"].file.read()
        return web.json_response({"name": form["image"].filename, "subfolder": "", "type": "input"})

    async def info(self, request):
        kind = request.match_info["kind"]
        name, word = ("file", "video_upload") if kind == "LoadVideo" else ("audio", "audio_upload")
        return web.json_response({kind: {"input": {"required": {name: ["COMBO", {word: True, "options": []}]}}}})

    async def view(self, request):
        return web.Response(body=self.files[request.query["filename"]])

    async def queue(self, request):
        if "job" in request.match_info:
            return web.json_response({request.match_info["job"]: {}})
        return web.json_response({"queue_running": [], "queue_pending": [[]] * (self.waiting + self.busy)})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command on servers; the rows of its table by id."""
    monkeypatch.setattr(queue_batch, "PAUSE_SECONDS", 0.05)
    rows = [
        Row(n + 1, f"clip{n}", write_video(tmp_path / f"v{n}.mkv", 3), write_sound(tmp_path / f"a{n}.wav", 0.2))
        for n in range(6)
    ]
    write_manifest(tmp_path / "list.csv", rows)
    (tmp_path / "job.json").write_text(json.dumps(PROMPT))

    def command(*servers, status=0, more=("--set", "1.file={video}", "--set", "2.audio={audio}")):
        hosts = [word for address in servers for word in ("--host", address)]
        given = ["queue", str(tmp_path / "job.json"), "--manifest", str(tmp_path / "list.csv"), *hosts, *more]
        assert cli.main([*given, "--out", str(tmp_path / "out")]) == status
        table = tmp_path / "out" / RESULTS
        return {row.id: row for row in read_results(table)} if table.exists() else {}

    return command


def whole(tmp_path, rows):
    names = {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".parquet"} - {".omnisync"}
    return names == {f"clip{n}.mkv" for n in range(6)} and all(
        (tmp_path / "out" / f"clip{n}.mkv").read_bytes() == (tmp_path / f"v{n}.mkv").read_bytes()
        and rows[f"clip{n}"].state == "done"
        for n in range(6)
    )


def test_clips_are_shared_among_servers_and_done_once(run, tmp_path):
    one, two = Server(), Server()
    with serving(one) as first, serving(two) as second:
        assert whole(tmp_path, run(first, second))
        assert len(one.jobs) + len(two.jobs) == 6
        assert one.jobs
        assert two.jobs
        run(first, second)
    assert len(one.jobs) + len(two.jobs) == 6


def test_a_server_that_dies_is_done_without(run, tmp_path):
    dying, living = Server(dies_at=1), Server()
    with serving(dying) as first, serving(living) as second:
        assert whole(tmp_path, run(first, second, "http://127.0.0.1:9"))
    assert len(dying.jobs) <= 1


def test_a_server_busy_with_others_jobs_is_left_alone(run, tmp_path):
    busy, free = Server(busy=5), Server()
    with serving(busy) as first, serving(free) as second:
        assert whole(tmp_path, run(first, second))
    assert not busy.jobs


def test_a_clip_that_fails_is_a_row_and_the_next_run_tries_it_again(run, tmp_path):
    server = Server(fails=("v2.mkv",))
    (tmp_path / "a4.wav").unlink()
    with serving(server) as host:
        rows = run(host)
        assert {row.state for row in rows.values()} == {"done", "failed", "refused"}
        assert rows["clip2"].state == "failed"
        assert "the job failed in node" in rows["clip2"].reason
        assert "there is no audio file" in rows["clip4"].reason
        server.fails = ()
        write_sound(tmp_path / "a4.wav", 0.2)
        assert whole(tmp_path, run(host))
        assert len(server.jobs) == 7


def test_where_no_server_is_left_the_run_ends_in_one_line(run, capsys, monkeypatch):
    monkeypatch.setattr(queue_batch, "PATIENCE_SECONDS", 1.0)
    assert run("http://127.0.0.1:9", "http://127.0.0.1:10", status=2) == {}
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith("error: no server answers any more")
    assert err.endswith("the same command goes on")


def test_stopped_it_says_how_to_go_on(run, tmp_path, capsys):
    server, before = Server(takes=1.0), signal.signal(signal.SIGINT, signal.default_int_handler)
    stop = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    with serving(server) as host:
        try:
            stop.start()
            run(host, status=130)
        finally:
            stop.cancel()
            signal.signal(signal.SIGINT, before)
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(
            f"stopped; what is finished is kept in {tmp_path / 'out'}. Go on with: python -m omnisync"
        )
        server.takes = 0.05
        assert whole(tmp_path, run(host))


@pytest.mark.parametrize(
    ("more", "says"),
    [((), "--manifest needs --set with a column"), (("--set", "1.file={truth2}"), "no file '{truth2}' here")],
)
def test_bad_settings(run, capsys, more, says):
    with serving(Server()) as host:
        rows = run(host, status=2, more=more)
    assert says in (rows["clip0"].reason if rows else capsys.readouterr().err)
