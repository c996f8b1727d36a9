import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from twlcli.images.discover import compact as module
from twlcli.images.discover.compact import CompactSet, SortedNames

NAMES = st.text(st.characters(exclude_characters="\0/"), min_size=1)


def test_seen_agrees_with_a_set():
    dice = random.Random(0)
    seen, expected = CompactSet(), set()
    for _ in range(30_000):
        thing = (dice.choice("ab"), dice.randrange(8_000))
        assert seen.adds(thing) == (thing not in expected)
        expected.add(thing)
        assert len(seen) == len(expected)


def test_seen_takes_a_third_of_the_memory_of_a_set():
    def peak(make) -> int:
        tracemalloc.start()
        kept = make()
        result = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == 20_000
        return result

    def ours() -> CompactSet:
        seen = CompactSet()
        assert all(seen.adds(f"{number}.jpg") for number in range(20_000))
        return seen

    assert peak(ours) < peak(lambda: {hash(f"{number}.jpg") for number in range(20_000)}) / 3


def sorted_names(names: list[str]) -> list[str]:
    taken = SortedNames()
    for name in names:
        taken.add(name)
    return list(taken)


@given(st.lists(NAMES | st.sampled_from(["caf\udce9.jpg", "\ufb01", "\U0001f600", "a\nb"])))
def test_names_come_in_the_order_of_sorted(names):
    run, module._RUN = module._RUN, 3
    try:
        assert sorted_names(names) == sorted(names)
    finally:
        module._RUN = run


def test_many_names_take_little_more_than_their_characters():
    def name(number: int) -> str:
        return f"IMG_{number:07}.jpg"

    order = random.Random(0).sample(range(50_000), 50_000)
    assert sorted_names(list(map(name, order))) == list(map(name, sorted(order)))
    tracemalloc.start()
    taken = SortedNames()
    for number in order:
        taken.add(name(number))
    assert sum(1 for _ in taken) == 50_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000 * 16 + 1_000_000
