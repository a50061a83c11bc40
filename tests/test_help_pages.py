"""Help pages in every language of the nodes' words."""

from scripts import help_pages


def test_the_translated_pages_are_those_of_today_s_words():
    """After a change of words: `python -m scripts.help_pages`."""
    made = help_pages.pages()
    there = {(path.parent.name, path.stem) for path in help_pages.DOCS.glob("*/*.md")}
    assert there == set(made)
    for (node, language), page in made.items():
        assert (help_pages.DOCS / node / f"{language}.md").read_text(encoding="utf-8") == page, (node, language)


def test_every_language_has_every_node():
    nodes = {path.stem for path in help_pages.DOCS.glob("*.md")}
    assert {node for node, language in help_pages.pages() if language == "zh"} == nodes
    assert {node for node, language in help_pages.pages() if language == "ja"} == nodes
