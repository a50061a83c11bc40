"""Writes the nodes' help pages in Chinese and Japanese: `python -m scripts.help_pages`.

The words are those of `locales/`, the tables of files those of the English page; what a page says beyond stands in
`help_notes.json` beside this script. The host shows `web/docs/NODE/LANGUAGE.md`, else the English page.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS, LOCALES = ROOT / "web" / "docs", ROOT / "locales"
NOTES = Path(__file__).with_name("help_notes.json")
HEADS = {
    "zh": ("| 输入 | 名称 | 作用 |", "**输出**", "| 文件 | `models/` 下的文件夹 | 大小 | 来源(Hugging Face) |"),
    "ja": ("| 入力 | 名前 | 働き |", "**出力**", "| ファイル | `models/` のフォルダ | 大きさ | 入手先(Hugging Face) |"),
}
"""Heads of the table of inputs, of the outputs and of the table of files."""


def main() -> None:
    for (node, language), page in pages().items():
        path = DOCS / node / f"{language}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(page, encoding="utf-8")


def pages() -> dict[tuple[str, str], str]:
    """Every page by node and language."""
    notes, made = json.loads(NOTES.read_text(encoding="utf-8")), {}
    for language in HEADS:
        words = json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))
        for node, said in words.items():
            english = (DOCS / f"{node}.md").read_text(encoding="utf-8")
            made[node, language] = _page(said, _files(english), notes.get(node, {}).get(language, ""), language)
    return made


def _page(said: dict, files: list[str], note: str, language: str) -> str:
    inputs, outputs, files_head = HEADS[language]
    parts = [f"# {said['display_name']}", said["description"]]
    rows = [f"| `{key}` | {one['name']} | {_cell(one.get('tooltip', ''))} |" for key, one in said["inputs"].items()]
    if rows:
        parts.append("\n".join([inputs, "|---|---|---|", *rows]))
    if files:
        parts.append("\n".join([files_head, "|---|---|---|---|", *files]))
    results = [f"* {one['name']}: {one['tooltip']}" for one in said.get("outputs", {}).values()]
    if results:
        parts.append("\n".join([outputs, "", *results]))
    return "\n\n".join([*parts, *([note] if note else [])]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _files(english: str) -> list[str]:
    """Rows of a page's table of files, without what is said in words."""
    lines = english.splitlines()
    start = next((number for number, line in enumerate(lines) if line.startswith("| file |")), None)
    if start is None:
        return []
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.replace("| or `", "| `"))
    return rows


if __name__ == "__main__":
    main()
