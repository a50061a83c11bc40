import threading

import pytest

from omnisync_core.media import ahead


def test_all_items_come_in_order():
    assert list(ahead(iter(range(20)))) == list(range(20))
    assert list(ahead([])) == []


def test_none_is_an_item_like_others():
    assert list(ahead([None, 0, None])) == [None, 0, None]


def test_the_next_item_is_made_while_one_is_used():
    made = threading.Event()

    def items():
        yield 1
        made.set()
        yield 2

    for _ in ahead(items()):
        assert made.wait(5)


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("cut off")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(OSError, match="cut off"):
        next(found)


def test_no_more_than_one_is_asked_for_beforehand():
    asked = []
    found = ahead(asked.append(index) for index in range(10))
    next(found)
    found.close()
    assert len(asked) <= 2
