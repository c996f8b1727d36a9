import random
import tracemalloc

from twlcli.images.discover.compact_set import CompactSet


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
