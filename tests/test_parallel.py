import sys
import threading
import time
from contextlib import closing
from types import FrameType

import pytest

from twlcli import parallel
from twlcli.parallel import in_threads


def squares(items, **options):
    return in_threads(lambda number: number * number, items, threads=3, name="test", **options)


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("ahead", [None, 1, 100])
def test_results_come_in_the_order_of_the_items(threads, ahead):
    def work(number):
        time.sleep(0.002 * (number % 3))
        return -number

    results = in_threads(work, range(20), threads=threads, name="test", ahead=ahead)
    assert list(results) == [-number for number in range(20)]


def test_unordered_results_do_not_wait_for_a_slow_one():
    go_on = threading.Event()
    results = in_threads(
        lambda number: number or go_on.wait(60),
        range(10),
        threads=2,
        name="test",
        ordered=False,
    )
    early = [next(results) for _ in range(9)]
    go_on.set()
    assert sorted(early) == list(range(1, 10))
    assert list(results) == [True]


def test_nothing_starts_no_thread():
    before = threading.active_count()
    assert list(squares([])) == []
    assert threading.active_count() == before


def test_no_more_threads_than_items_and_none_are_left():
    seen: set[str] = set()

    def work(_):
        seen.update(thread.name for thread in threading.enumerate())

    list(in_threads(work, range(2), threads=50, name="few"))
    assert 1 <= sum(name.startswith("few-") for name in seen) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("few-")]


def test_items_are_drawn_as_threads_come_free():
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield 5

    with closing(squares(endless(), ahead=4)) as results:
        for seen in range(1, 10):
            assert next(results) == 25
            assert len(drawn) <= seen + 4


def test_an_error_comes_in_its_place():
    def work(number):
        if number == 5:
            raise ValueError("five")
        return number

    got = []
    with pytest.raises(ValueError, match="five"):
        for each in in_threads(work, range(9), threads=2, name="test"):
            got.append(each)
    assert got == [0, 1, 2, 3, 4]


def test_ending_asks_what_is_in_work_again_and_again():
    asked = []
    release = threading.Event()

    def end():
        asked.append(1)
        if len(asked) == 3:
            release.set()

    def work(number):
        return number == 0 or release.wait(60)

    with closing(in_threads(work, range(9), threads=2, name="test", end=end)) as results:
        assert next(results) is True
    assert len(asked) >= 3


def test_looks_while_it_waits():
    looks = []
    release = threading.Event()

    def look():
        looks.append(1)
        if len(looks) == 2:
            release.set()

    results = in_threads(lambda _: release.wait(60), range(1), threads=1, name="test", look=look)
    assert list(results) == [True]


class _InterruptError(BaseException):
    pass


def test_an_interrupt_at_any_moment_ends_it():
    """Once at each instruction of its own that the waiting thread executes."""
    moment = 0
    while _is_interrupted(moment):
        moment += 1
    assert moment > 300


def _is_interrupted(moment: int) -> bool:
    """Whether it has so many instructions, and was ended by an exception at that one."""
    left = moment

    def trace(frame: FrameType, event: str, _: object):
        nonlocal left
        if frame.f_code.co_filename != parallel.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise _InterruptError
        return trace

    before = sys.gettrace()
    try:
        with closing(squares(range(4), ahead=2)) as results:
            sys.settrace(trace)
            assert list(results) == [0, 1, 4, 9]
    except _InterruptError:
        return True
    finally:
        sys.settrace(before)
    return False
