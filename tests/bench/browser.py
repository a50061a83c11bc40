"""A real browser over its debugging protocol; needs chromium alone."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 90
"""Seconds: a browser on a busy machine."""
KEYS = {"Enter": ("Enter", 13, "\r"), "ArrowRight": ("ArrowRight", 39, ""), "ArrowLeft": ("ArrowLeft", 37, "")}


def find_browser() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """`async with Browser() as browser: page = await browser.page(address)`; every page is a person of its own."""

    async def __aenter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="browser")
        self._process = subprocess.Popen(
            [find_browser(), "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={self._profile}",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server", "--mute-audio",
             "--disable-background-networking", "--autoplay-policy=no-user-gesture-required", "about:blank"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        address = await asyncio.wait_for(asyncio.to_thread(self._address), PATIENCE)
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(address, max_msg_size=0)
        self._numbers, self._answers = itertools.count(1), {}
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.cancel()
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._process.stderr.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _address(self) -> str:
        for line in self._process.stderr:
            if found := re.search(r"ws://\S+", line):
                return found[0]
        raise RuntimeError("the browser did not start")

    async def _listen(self) -> None:
        async for message in self._socket:
            answer = message.json()
            if answer.get("id") in self._answers:
                self._answers.pop(answer["id"]).set_result(answer)

    async def send(self, method: str, session: str | None = None, **values: Any) -> dict:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        call = {"id": number, "method": method, "params": values} | ({"sessionId": session} if session else {})
        future = self._answers[number]
        await self._socket.send_json(call)
        answer = await asyncio.wait_for(future, PATIENCE)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def page(self, path: Path, width: int = 1200, height: int = 900) -> Page:
        return await self.open(path.absolute().as_uri(), "typeof next === 'function'", width, height)

    async def open(self, address: str, ready: str, width: int = 1200, height: int = 900, wait: int = PATIENCE) -> Page:
        """A page once `ready` is true in it, `wait` seconds at most."""
        context = (await self.send("Target.createBrowserContext"))["browserContextId"]
        target = await self.send("Target.createTarget", url="about:blank", browserContextId=context)
        session = (await self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        page = Page(self, session, context, f"document.readyState === 'complete' && ({ready})")
        await self.send("Page.enable", session)
        await self.send("Emulation.setDeviceMetricsOverride", session, width=width, height=height,
                        deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        await self.send("Page.navigate", session, url=address)
        await page.until(page.ready, wait)
        return page


class Page:
    def __init__(self, browser: Browser, session: str, context: str, ready: str) -> None:
        self._browser, self._session, self._context, self.ready = browser, session, context, ready

    async def run(self, code: str) -> Any:
        answer = await self._browser.send("Runtime.evaluate", self._session, expression=code, returnByValue=True,
                                        awaitPromise=True, userGesture=True)  # fmt: skip
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    async def until(self, code: str, wait: int = PATIENCE) -> None:
        end = time.monotonic() + wait
        while time.monotonic() < end:
            try:
                if await self.run(code):
                    return
            except RuntimeError:  # between two documents
                pass
            await asyncio.sleep(0.05)
        raise TimeoutError(code)

    async def press(self, key: str) -> None:
        name, code, text = KEYS.get(key, (key, ord(key.upper()[0]), key))
        values = {"key": name, "windowsVirtualKeyCode": code, "text": text}
        await self._browser.send("Input.dispatchKeyEvent", self._session, type="keyDown", **values)
        await self._browser.send("Input.dispatchKeyEvent", self._session, type="keyUp", key=name)

    async def reload(self) -> None:
        await self._browser.send("Page.reload", self._session)
        await asyncio.sleep(0.3)
        await self.until(self.ready)

    async def save_into(self, folder: Path) -> None:
        await self._browser.send("Browser.setDownloadBehavior", behavior="allow", browserContextId=self._context,
                                 downloadPath=str(folder))  # fmt: skip
