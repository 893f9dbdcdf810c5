"""Two sides taking turns: libqz, a peer, libqz, the next peer, and so on. What counts is the ratio of neighbours."""
import statistics
import time

REST = 0.01  # seconds between sides, so that threads of one that still spin leave the cores to the other
SPAN = 0.03  # seconds of products that are timed together


class Side:
    """One way to compute a product. run(times) computes `times` of them or a few more and returns how many it was."""

    name = ""
    error = float("nan")  # of the result against float64, relative

    def run(self, times):
        raise NotImplementedError

    def wake(self):
        pass

    def sleep(self):
        pass


def timed(side, times):
    """Seconds of one product of `side`, threads awake and caches warm but for the weights."""
    side.wake()
    side.run(1)
    start = time.perf_counter()
    done = side.run(times)
    spent = (time.perf_counter() - start) / done
    side.sleep()
    time.sleep(REST)
    return spent


def times_of(side):
    once = timed(side, 1)
    return max(1, round(SPAN / once))


def fastest(sides):
    """Of several ways of one peer, the fastest at this shape."""
    best = [(min(timed(side, times_of(side)) for _ in range(3)), side) for side in sides]
    return min(best, key=lambda pair: pair[0])[1]


def race(ours, peers, seconds, rounds=5):
    """{peer: (its median seconds, the median of its time over ours)}, and our median seconds. At least `rounds` pairs with each peer, more
    until `seconds` have passed."""
    times = {side: times_of(side) for side in [ours, *peers]}
    mine, theirs, ratios = [], {p: [] for p in peers}, {p: [] for p in peers}
    end = time.perf_counter() + seconds
    while len(mine) < rounds * max(1, len(peers)) or time.perf_counter() < end:
        for peer in peers or [None]:
            mine.append(timed(ours, times[ours]))
            if peer is None:
                continue
            theirs[peer].append(timed(peer, times[peer]))
            ratios[peer].append(theirs[peer][-1] / mine[-1])
    return statistics.median(mine), {p: (statistics.median(theirs[p]), statistics.median(ratios[p])) for p in peers}
