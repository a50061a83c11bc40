"""The pack in the host's own browser interface: a server and a real browser."""

import asyncio
import json

import pytest

from tests.bench.browser import Browser, find_browser
from tests.test_workflows import BROWSER, FOLDER, read, twin

START_SECONDS = 600
"""The interface's 900 files on a busy machine."""
READY = "window.app?.graph && window.LiteGraph?.registered_node_types?.OmniSyncMouthTrack"
EXPORTED = """(async (workflow) => {
  await app.loadGraphData(workflow);
  return (await app.graphToPrompt()).output;
})(%s)"""
FIRST_FRAME = """(async () => {
  const { addressOf, findSource } = await import("/extensions/omnisync/js/first_frame.js");
  return addressOf(findSource(app.graph.nodes.find((node) => node.type === "OmniSyncMouthTrack")));
})()"""

pytestmark = pytest.mark.skipif(find_browser() is None, reason="NO BROWSER: templates in it (apt install chromium)")


@pytest.fixture(scope="module")
def exported(server):
    """Template -> its API form as the browser exports it, and the address of the picture to click in *The parts*."""

    async def ask():
        async with Browser() as browser:
            page = await browser.open(server.url, READY, wait=START_SECONDS)
            prompts = {path.stem: await page.run(EXPORTED % json.dumps(read(path))) for path in BROWSER}
            await page.run(EXPORTED % json.dumps(read(next(FOLDER.glob("* The parts.json")))))
            return prompts, await page.run(FIRST_FRAME)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", BROWSER, ids=lambda path: path.stem)
def test_a_template_is_exported_as_its_api_form(exported, path):
    found, expected = exported[0][path.stem], read(twin(path))
    assert {key: (node["class_type"], plain(node["inputs"])) for key, node in found.items()} == {
        key: (node["class_type"], node["inputs"]) for key, node in expected.items()
    }


def plain(inputs):
    """Without what the browser says twice: `codec` beside `format.codec`."""
    nested = {name.partition(".")[2] for name in inputs}
    return {name: value for name, value in inputs.items() if name not in nested}


def test_the_first_frame_is_found_through_a_box_and_its_values(exported):
    """The box's `first_frame` sets a widget inside of it."""
    assert exported[1].endswith("/omnisync/first_frame?example=person")
