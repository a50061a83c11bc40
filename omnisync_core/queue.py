"""Run an API workflow on a ComfyUI server: post it, follow it, fetch what it made. The only place that uses a network.

Routes as in ComfyUI 0.33 `server.py`: /object_info, /upload/image, /ws, /prompt, /view, /interrupt, /queue.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, JobError, OutputError
from .files import replacing
from .job.bars import Bars

PATIENCE_SECONDS = 15
"""To connect, and for an answer that needs no work."""
UPLOADS = ("video_upload", "audio_upload", "image_upload")
"""What the host's schema says of an input that takes a file of its input folder."""


class ServerGone(JobError):
    """A server is out of reach, or went away before a job was done: another may do it."""


def queue(
    workflow: Path, host: str, settings: Sequence[str], out: Path, say: Callable[[str], None] = print
) -> list[Path]:
    """Run a workflow (API form) on the server at `host`; returns the files that it made, now in folder `out`.

    settings: `node.input=value`. A local file for an input that takes files is uploaded. InputError: the workflow or a
    setting is wrong. JobError: the server is out of reach, refuses, fails or cancels the job. An interrupt cancels it.
    """
    prompt = read_workflow(workflow)
    changes = [read_setting(prompt, text) for text in settings]
    return asyncio.run(_run(address_of(host), prompt, changes, out, say))


def address_of(host: str) -> str:
    """A server's address as it is used below."""
    return (host if "://" in host else f"http://{host}").rstrip("/")


def read_workflow(path: Path) -> dict[str, dict]:
    """The nodes of a workflow in API form, by id."""
    try:
        prompt = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the workflow {path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); give a workflow in API form") from None
    if isinstance(prompt, dict) and isinstance(prompt.get("nodes"), list):
        raise InputError(f"{path} is a workflow of the browser; export it in API form (Workflow > Export (API))")
    if isinstance(prompt, dict) and set(prompt) == {"prompt"}:
        prompt = prompt["prompt"]
    right = isinstance(prompt, dict) and prompt and all(_is_node(node) for node in prompt.values())
    if not right:
        raise InputError(f"{path} is no workflow in API form: expected nodes with class_type and inputs by their ids")
    return prompt


def _is_node(node: object) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


@dataclass(frozen=True)
class Setting:
    """A new value of one input of one node."""

    node: str
    input: str
    value: object


def read_setting(prompt: dict[str, dict], text: str) -> Setting:
    """`node.input=value` as a setting of this workflow; a value is read as the kind that it replaces."""
    key, equals, value = text.partition("=")
    node, dot, name = key.partition(".")
    if not (equals and dot and node and name):
        raise InputError(f"--set needs node.input=value, e.g. 3.seed=7, got {text!r}")
    if node not in prompt:
        nodes = ", ".join(f"{key} ({node['class_type']})" for key, node in prompt.items())
        raise InputError(f"--set {key}: the workflow has no node {node!r}; it has {nodes}")
    inputs = prompt[node]["inputs"]
    if name not in inputs:
        raise InputError(f"--set {key}: {prompt[node]['class_type']} has no input {name!r}; it has {', '.join(inputs)}")
    old = inputs[name]
    if isinstance(old, list):
        raise InputError(f"--set {key}: this input comes from node {old[0]}; set an input of that node")
    return Setting(node, name, value if isinstance(old, str) else _read_value(key, value, old))


def _read_value(key: str, text: str, old: object) -> object:
    kind, word = ((bool,), "true or false") if isinstance(old, bool) else ((int, float), "a number")
    try:
        value = json.loads(text.lower() if kind == (bool,) else text)
    except ValueError:
        value = None
    if isinstance(old, (bool, int, float)) and type(value) not in kind:
        raise InputError(f"--set {key} must be {word} (in the workflow it is {json.dumps(old)}), got {text!r}")
    return value


async def _run(host: str, prompt: dict, changes: list[Setting], out: Path, say: Callable[[str], None]) -> list[Path]:
    async with open_session() as session:
        server = Server(host, session)
        with server.reached():
            outputs = await server.run(prompt, changes)
            for text in _texts(outputs):
                say(text)
            return [await server.fetch(item, out) for item in files_of(outputs)]


def open_session() -> Any:
    """What all requests go through. InputError without aiohttp."""
    try:
        import aiohttp
    except ImportError:
        raise InputError("queue needs the package aiohttp: pip install aiohttp") from None
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, connect=PATIENCE_SECONDS))


class Server:
    """A ComfyUI server, and this program as one client of it."""

    def __init__(self, host: str, session: Any, *, shows_bars: bool = True) -> None:
        self._host, self._session, self._shows_bars = host, session, shows_bars
        self._client = uuid.uuid4().hex

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Says in one line what keeps a request from its server. InputError: no address. ServerGone."""
        import aiohttp

        try:
            yield
        except aiohttp.InvalidURL:
            raise InputError(f"--host must be an address like http://127.0.0.1:8188, got {self._host!r}") from None
        except (TimeoutError, aiohttp.ClientError) as error:
            reason = str(error) or type(error).__name__
            raise ServerGone(
                f"no ComfyUI at {self._host} ({reason}); start it, or give its address with --host"
            ) from None

    async def run(self, prompt: dict, changes: Sequence[Setting]) -> dict:
        """Run a workflow with some inputs changed; returns the outputs of its nodes, by id."""
        prompt = {key: {**node, "inputs": dict(node["inputs"])} for key, node in prompt.items()}
        for change in changes:
            prompt[change.node]["inputs"][change.input] = await self.uploaded(prompt, change)
        return await self.work(prompt)

    async def waiting(self) -> int:
        """How many jobs run or wait there, of anybody."""
        async with self._session.get(f"{self._host}/queue") as response:
            queued = await _json(response)
        return sum(len(entries) for entries in queued.values() if isinstance(entries, list))

    async def uploaded(self, prompt: dict, change: Setting) -> object:
        """The value the server is given: a local file for an input that takes files is uploaded first."""
        known = await self._files_known(prompt[change.node]["class_type"], change.input)
        if known is None:
            return change.value
        path = Path(str(change.value)).expanduser()
        if path.is_file():
            return await self._upload(path)
        if change.value not in known:
            where = f"{change.node}.{change.input}"
            raise InputError(f"--set {where}: no file {change.value!r} here, nor in the server's input folder")
        return change.value

    async def _files_known(self, kind: str, name: str) -> list[str] | None:
        """The files of the server's that an input may name; None for an input that takes no files."""
        async with self._session.get(f"{self._host}/object_info/{kind}") as response:
            node = (await _json(response)).get(kind, {})
        for inputs in node.get("input", {}).values():
            form, options = [*inputs.get(name, ()), None, {}][:2] if isinstance(inputs, dict) else (None, {})
            if options and any(options.get(word) for word in UPLOADS):
                return form if isinstance(form, list) else options.get("options", [])
        return None

    async def _upload(self, path: Path) -> str:
        with path.open("rb") as file:
            data = {"image": file, "type": "input"}
            async with self._session.post(f"{self._host}/upload/image", data=data) as response:
                if response.status == 413:
                    raise JobError(f"{path} is larger than the server takes; start it with a larger --max-upload-size")
                if response.status != 200:
                    raise JobError(f"the server did not take {path}: HTTP {response.status}")
                stored = await _json(response)
        return "/".join(part for part in (stored.get("subfolder"), stored["name"]) if part)

    async def work(self, prompt: dict) -> dict:
        """Queue the prompt and follow it to its end; returns the outputs of its nodes, by id."""
        address = f"{self._host}/ws?clientId={self._client}"
        async with self._session.ws_connect(address, heartbeat=30, max_msg_size=0) as socket:
            job = await self._post(prompt)
            try:
                with Bars() as bars:
                    return await self._follow(socket, job, prompt, bars)
            except asyncio.CancelledError:
                await self._cancel(job)
                raise

    async def _post(self, prompt: dict) -> str:
        """The new job's id. The host would run a workflow without the parts that are wrong; here that is refused."""
        body = {"prompt": prompt, "client_id": self._client}
        async with self._session.post(f"{self._host}/prompt", json=body) as response:
            answer = await _json(response)
        if response.status != 200 or answer.get("node_errors"):
            await self._cancel(answer.get("prompt_id"))
            raise JobError(f"the server refused the workflow: {_refusal(prompt, answer)}")
        return answer["prompt_id"]

    async def _follow(self, socket: Any, job: str, prompt: dict, bars: Bars) -> dict:
        outputs = {}
        async for message in socket:
            if message.type.name != "TEXT":
                continue  # a preview picture
            event = message.json()
            kind, data = event.get("type"), event.get("data") or {}
            if kind == "status" and not await self._is_known(job):
                raise JobError("the job was taken out of the server's queue before it ran")
            if data.get("prompt_id") != job:
                continue
            if kind == "progress" and self._shows_bars:
                node = str(data.get("node"))
                bars.show(node, data["value"], data["max"], prompt.get(node, {}).get("class_type", node))
            elif kind == "executed" and data.get("output"):
                outputs[data["node"]] = data["output"]
            elif kind == "execution_success":
                return outputs
            elif kind == "execution_interrupted":
                raise JobError("the job was cancelled on the server")
            elif kind == "execution_error":
                node = f"node {data.get('node_id')} ({data.get('node_type')})"
                raise JobError(f"the job failed in {node}: {_line(data.get('exception_message'))}")
        raise ServerGone(f"{self._host} went away before the job was done; look at the server's own log")

    async def _is_known(self, job: str) -> bool:
        """Whether a job waits, runs or is done. The host tells nobody of one that is deleted while it waits."""
        async with self._session.get(f"{self._host}/queue") as response:
            queued = await response.json(content_type=None) if response.status == 200 else None
        if not isinstance(queued, dict):
            return True
        waiting = [entry for entries in queued.values() if isinstance(entries, list) for entry in entries]
        if any(isinstance(entry, list) and job in entry[:2] for entry in waiting):
            return True
        async with self._session.get(f"{self._host}/history/{job}") as response:
            done = await response.json(content_type=None) if response.status == 200 else None
        return not isinstance(done, dict) or job in done

    async def _cancel(self, job: str | None) -> None:
        """Take the job out of the queue, or stop it where it runs; the server may be gone already."""
        if job is None:
            return
        with suppress(Exception):
            await self._session.post(f"{self._host}/queue", json={"delete": [job]})
            await self._session.post(f"{self._host}/interrupt", json={"prompt_id": job})

    async def fetch(self, item: dict, out: Path) -> Path:
        """Save one file that the job made into folder `out`, under a name that is free there."""
        named = {key: str(item.get(key) or "") for key in ("filename", "subfolder", "type")}
        name = Path(named["filename"].replace("\\", "/")).name
        if name in ("", ".", "..") or not name.isprintable():
            raise JobError(f"the server made a file with the name {named['filename']!a}, which no file here can have")
        async with self._session.get(f"{self._host}/view", params=named) as response:
            if response.status != 200:
                raise JobError(f"the server does not give {named['filename']}: HTTP {response.status}")
            try:
                out.mkdir(parents=True, exist_ok=True)
                path = _free(out / name)
                with replacing(path) as part, part.open("wb") as file:
                    async for chunk in response.content.iter_chunked(1 << 20):
                        file.write(chunk)
            except OSError as error:
                raise OutputError(f"cannot write into {out}: {error.strerror or error}") from None
        return path


async def _json(response: Any) -> dict:
    """The answer as JSON; JobError where something else answers than ComfyUI."""
    try:
        answer = await response.json(content_type=None)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise JobError(f"{response.url} answered HTTP {response.status} without JSON; is this a ComfyUI server?")
    return answer


def _refusal(prompt: dict, answer: dict) -> str:
    """What is wrong with a workflow, per input; as of `validate_prompt` in the host's `execution.py`."""
    problems = []
    for node, wrong in (answer.get("node_errors") or {}).items():
        for error in wrong.get("errors", ()):
            name = (error.get("extra_info") or {}).get("input_name")
            where = f"{node}.{name}" if name else f"node {node}"
            kind = wrong.get("class_type") or prompt.get(node, {}).get("class_type")
            words = ": ".join(_line(error.get(key)) for key in ("message", "details") if error.get(key))
            problems.append(f"{where} ({kind}): {words}")
    error = answer.get("error")
    if not problems and isinstance(error, dict):
        problems = [": ".join(_line(error.get(key)) for key in ("message", "details") if error.get(key))]
    return "; ".join(problems) or _line(error or answer)


def _line(text: object) -> str:
    return " ".join(str(text).split())


def _texts(outputs: dict) -> list[str]:
    """What the nodes show as text."""
    return [str(text) for output in outputs.values() for text in output.get("text") or ()]


def files_of(outputs: dict) -> list[dict]:
    """Every kept file in the nodes' outputs: lists of {filename, subfolder, type} under names that differ by node."""
    lists = [value for output in outputs.values() for value in output.values() if isinstance(value, list)]
    items = [item for items in lists for item in items if isinstance(item, dict)]
    found = [item for item in items if isinstance(item.get("filename"), str)]
    kept = [item for item in found if item.get("type") == "output"] or found
    return list({(item["filename"], str(item.get("subfolder"))): item for item in kept}.values())


def _free(path: Path) -> Path:
    """`path`, or with a number where a file of that name is already there."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem} ({number})")
    return free
