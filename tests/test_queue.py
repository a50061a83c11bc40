"""`queue` against a small server that speaks as ComfyUI does."""

import asyncio
import json
import threading
from contextlib import contextmanager

import pytest

web = pytest.importorskip("aiohttp.web")

from omnisync_core import cli  # noqa: E402
from omnisync_core.errors import InputError  # noqa: E402
from omnisync_core.queue import read_setting, read_workflow  # noqa: E402

JOB = "0b5c9a52-0000-4000-8000-000000000000"
PROMPT = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": "there.mp4"}},
    "2": {
        "class_type": "Sync",
        "inputs": {"video": ["1", 0], "seed": 1, "strength": 1.5, "resume": False, "text": "a"},
    },
    "3": {"class_type": "SaveVideo", "inputs": {"video": ["2", 0], "filename_prefix": "a"}},
}
MADE = {"filename": "a_1.mp4", "subfolder": "video", "type": "output"}
HAPPY = (
    ("status", {"status": {}}),
    ("progress", {"prompt_id": "another", "node": "2", "value": 9, "max": 9}),
    ("progress", {"prompt_id": JOB, "node": "2", "value": 1, "max": 4}),
    ("progress", {"prompt_id": JOB, "node": "2", "value": 4, "max": 4}),
    ("executed", {"prompt_id": JOB, "node": "3", "output": {"images": [MADE], "animated": [True]}}),
    ("executed", {"prompt_id": JOB, "node": "4", "output": {"text": ["the report"]}}),
    ("execution_success", {"prompt_id": JOB}),
)


class Server:
    """Answers as set up; remembers what it was asked."""

    def __init__(self, events=HAPPY, refusal=None, hang=False, upload_status=200):
        self.events, self.refusal, self.hang, self.upload_status = events, refusal, hang, upload_status
        self.prompts, self.uploads, self.cancelled = [], [], []
        self.queued = {"queue_running": [[0, JOB, {}, {}, []]], "queue_pending": []}
        self.done = {}
        self.posted, self.all_said = asyncio.Event(), threading.Event()

    def app(self):
        app = web.Application(client_max_size=1 << 30)
        app.add_routes([
            web.get("/ws", self.follow), web.post("/prompt", self.post), web.post("/upload/image", self.upload),
            web.get("/view", self.view), web.get("/object_info/{kind}", self.info),
            web.post("/interrupt", self.cancel), web.post("/queue", self.cancel),
            web.get("/queue", self.waiting), web.get("/history/{job}", self.history),
        ])  # fmt: skip
        return app

    async def follow(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.posted.wait()
        await socket.send_bytes(b"a preview")
        for kind, data in self.events:
            await socket.send_json({"type": kind, "data": data})
        self.all_said.set()
        if self.hang:
            await asyncio.sleep(30)
        await socket.close()
        return socket

    async def post(self, request):
        self.prompts.append((await request.json())["prompt"])
        self.posted.set()
        if self.refusal:
            return web.json_response(self.refusal, status=200 if "prompt_id" in self.refusal else 400)
        return web.json_response({"prompt_id": JOB, "number": 1, "node_errors": {}})

    async def upload(self, request):
        if self.upload_status != 200:
            return web.Response(status=self.upload_status)
        form = await request.post()
        self.uploads.append((form["image"].filename, form["image"].file.read()))
        return web.json_response({"name": "clip (1).mp4", "subfolder": "", "type": "input"})

    async def info(self, request):
        kind = request.match_info["kind"]
        file = ["COMBO", {"options": ["there.mp4"], "video_upload": True}]
        inputs = {"file": file} if kind == "LoadVideo" else {"seed": ["INT", {"min": 0}], "text": ["STRING", {}]}
        return web.json_response({kind: {"input": {"required": inputs}}})

    async def view(self, request):
        assert dict(request.query) == MADE
        return web.Response(body=b"frames")

    async def waiting(self, request):
        return web.json_response(self.queued)

    async def history(self, request):
        return web.json_response(self.done)

    async def cancel(self, request):
        self.cancelled.append((request.path, await request.json()))
        return web.Response()


@contextmanager
def serving(server):
    """The server's address while it runs in a thread."""
    ready, known = threading.Event(), {}

    async def serve():
        runner = web.AppRunner(server.app(), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        known.update(port=runner.addresses[0][1], loop=asyncio.get_running_loop(), stop=asyncio.Event())
        ready.set()
        await known["stop"].wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(30)
    yield f"http://127.0.0.1:{known['port']}"
    known["loop"].call_soon_threadsafe(known["stop"].set)
    thread.join(30)


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(PROMPT))
    return path


def queue(server, workflow, *more):
    with serving(server) as host:
        return cli.main(["queue", str(workflow), "--host", host, *more])


def test_a_job_from_file_to_file(workflow, tmp_path, capsys):
    server, clip = Server(), tmp_path / "clip.mp4"
    clip.write_bytes(b"a clip")
    changes = [f"1.file={clip}", "2.seed=7", "2.strength=2", "2.resume=True", "2.text=1=2"]
    more = [word for change in changes for word in ("--set", change)]
    assert queue(server, workflow, *more, "--out", str(tmp_path / "new" / "folder")) == 0
    out, err = capsys.readouterr()
    made = tmp_path / "new" / "folder" / "a_1.mp4"
    assert out.splitlines() == ["the report", str(made)]
    assert made.read_bytes() == b"frames"
    assert "Sync: 100%" in err
    assert "4/4" in err
    assert server.uploads == [("clip.mp4", b"a clip")]
    given = server.prompts[0]
    assert given["1"]["inputs"] == {"file": "clip (1).mp4"}
    assert given["2"]["inputs"] == {"video": ["1", 0], "seed": 7, "strength": 2, "resume": True, "text": "1=2"}


def test_nothing_is_written_over(workflow, tmp_path):
    for _ in range(3):
        assert queue(Server(), workflow, "--out", str(tmp_path / "out")) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a_1.mp4", "a_1 (2).mp4", "a_1 (3).mp4"}


def test_a_file_of_the_server_is_not_uploaded(workflow, tmp_path):
    server = Server()
    assert queue(server, workflow, "--set", "1.file=there.mp4", "--out", str(tmp_path)) == 0
    assert not server.uploads
    assert server.prompts[0]["1"]["inputs"]["file"] == "there.mp4"


def error(name, message, details):
    return {"type": "t", "message": message, "details": details, "extra_info": {"input_name": name}}


REFUSAL = {
    "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation", "details": ""},
    "node_errors": {
        "2": {
            "errors": [
                error("seed", "Value -1 smaller than min of 0", "seed"),
                error("text", "Required input is missing", ""),
            ],
            "class_type": "Sync",
        }
    },
}
NO_OUTPUT = {
    "error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": ""},
    "node_errors": {},
}


@pytest.mark.parametrize(
    ("server", "more", "message"),
    [
        (
            Server(refusal=REFUSAL),
            [],
            "the server refused the workflow: 2.seed (Sync): Value -1 smaller than min of 0: seed; "
            "2.text (Sync): Required input is missing",
        ),
        (Server(refusal=NO_OUTPUT), [], "the server refused the workflow: Prompt has no outputs"),
        (
            Server(events=[("execution_interrupted", {"prompt_id": JOB, "node_id": "2"})]),
            [],
            "the job was cancelled on the server",
        ),
        (
            Server(events=[("execution_error", {
                "prompt_id": JOB, "node_id": "2", "node_type": "Sync", "exception_message": "no mouth\n",
            })]),
            [],
            "the job failed in node 2 (Sync): no mouth",
        ),
        (Server(events=HAPPY[:3]), [], "went away before the job was done"),
        (Server(), ["--set", "1.file=gone.mp4"], "--set 1.file: no file 'gone.mp4' here, nor in"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line(server, more, message, workflow, tmp_path, capsys):
    assert queue(server, workflow, *more, "--out", str(tmp_path)) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, lines
    assert message in lines[0], lines


def test_too_large_a_file(workflow, tmp_path, capsys):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    assert queue(Server(upload_status=413), workflow, "--set", f"1.file={clip}") == 2
    assert "larger than the server takes" in capsys.readouterr().err


def test_a_workflow_of_which_a_part_is_wrong_is_not_run(workflow, capsys):
    server = Server(refusal={"prompt_id": JOB, "node_errors": REFUSAL["node_errors"]})
    assert queue(server, workflow) == 2
    assert "the server refused the workflow: 2.seed (Sync): Value -1" in capsys.readouterr().err
    assert server.cancelled == [("/queue", {"delete": [JOB]}), ("/interrupt", {"prompt_id": JOB})]


def test_an_interrupt_cancels_the_job(workflow, monkeypatch):
    server = Server(events=HAPPY[:3], hang=True)
    from omnisync_core import queue as module

    shown = module.Bars.show

    def interrupted(bars, *progress):
        shown(bars, *progress)
        raise asyncio.CancelledError

    monkeypatch.setattr(module.Bars, "show", interrupted)
    with pytest.raises(asyncio.CancelledError):
        queue(server, workflow)
    assert server.cancelled == [("/queue", {"delete": [JOB]}), ("/interrupt", {"prompt_id": JOB})]


def test_a_job_that_is_deleted_while_it_waits(workflow, tmp_path, capsys):
    server = Server(events=HAPPY[:1], hang=True)
    server.queued = {"queue_running": [[0, "another", {}, {}, []]], "queue_pending": []}
    assert queue(server, workflow, "--out", str(tmp_path)) == 2
    assert "error: the job was taken out of the server's queue before it ran" in capsys.readouterr().err


@pytest.mark.parametrize("found", ["pending", "done"])
def test_a_job_that_waits_or_is_done_is_followed(workflow, tmp_path, found):
    server = Server()
    server.queued = {"queue_running": [], "queue_pending": [[1, JOB, {}, {}, []]] if found == "pending" else []}
    server.done = {JOB: {}} if found == "done" else {}
    assert queue(server, workflow, "--out", str(tmp_path)) == 0


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "a/", "..\\", "a\nb"])
def test_a_file_without_a_name_is_refused(workflow, tmp_path, capsys, name):
    class Odd(Server):
        async def view(self, request):
            return web.Response(body=b"frames")

    made = {**MADE, "filename": name}
    server = Odd(events=[("executed", {"prompt_id": JOB, "node": "3", "output": {"images": [made]}}), HAPPY[-1]])
    (tmp_path / "out").mkdir()
    status = queue(server, workflow, "--out", str(tmp_path / "out"))
    inside = [path.name for path in (tmp_path / "out").iterdir()]
    beside = {path.name for path in tmp_path.iterdir()} - {"out", "job.json"}
    assert not beside
    if name == "a/":
        assert status == 0
        assert inside == ["a"]
    else:
        assert status == 2
        assert not inside
        assert "which no file here can have" in capsys.readouterr().err


def test_no_server(workflow, capsys):
    with serving(Server()) as host:
        pass
    assert cli.main(["queue", str(workflow), "--host", host]) == 2
    assert capsys.readouterr().err.startswith(f"error: no ComfyUI at {host} (")
    assert cli.main(["queue", str(workflow), "--host", "http://:nowhere"]) == 2
    assert "--host must be an address" in capsys.readouterr().err


def test_another_kind_of_server(workflow, capsys):
    class Other(Server):
        async def post(self, request):
            self.posted.set()
            return web.Response(text="<html>")

    assert queue(Other(), workflow) == 2
    assert "is this a ComfyUI server?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed=1", "needs node.input=value"),
        ("2.seed", "needs node.input=value"),
        ("9.seed=1", "the workflow has no node '9'; it has 1 (LoadVideo), 2 (Sync), 3 (SaveVideo)"),
        ("2.sed=1", "Sync has no input 'sed'; it has video, seed, strength, resume, text"),
        ("2.video=a", "this input comes from node 1"),
        ("2.seed=many", "must be a number (in the workflow it is 1), got 'many'"),
        ("2.resume=1", "must be true or false"),
        ("2.seed=true", "must be a number"),
    ],
)
def test_a_wrong_setting(setting, message):
    with pytest.raises(InputError) as caught:
        read_setting(PROMPT, setting)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the workflow"),
        ("{", "is not JSON"),
        ('{"nodes": [], "links": []}', "export it in API form"),
        ('{"1": {"inputs": {}}}', "no workflow in API form"),
        ("[]", "no workflow in API form"),
        ("{}", "no workflow in API form"),
    ],
)
def test_a_wrong_workflow(text, message, tmp_path):
    path = tmp_path / "w.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_workflow(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_body_of_a_post_is_read_too(tmp_path):
    path = tmp_path / "w.json"
    path.write_text(json.dumps({"prompt": PROMPT}))
    assert read_workflow(path) == PROMPT
