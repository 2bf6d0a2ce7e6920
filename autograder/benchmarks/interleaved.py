"""Two ways to do the same work, timed in turns."""

import gc
import random
import time
from collections.abc import Callable
from statistics import median

Work = Callable[[], object]


def interleaved(ours: Work, theirs: Work, rounds: int, seconds: float = 0.4) -> dict[str, dict[str, float]]:
    """Time both in turns, so that whatever else the machine does meets both alike.

    In a round both work alternately until each has had its seconds, and who goes first changes every time. One call of
    each before the first round is not counted.

    Args:
        ours, theirs: do the work once; what they return is thrown away.
        rounds: how many pairs of times to take.
        seconds: that a round lasts for each of the two, at least.

    Returns:
        ``our_seconds`` and ``their_seconds`` for one piece of work, with their median, min and max over the rounds, and
        ``ratio``, theirs divided by ours within each round (above 1 ours is faster), with the ``lower_bound`` of its
        median besides.

    Raises:
        ValueError: if there is no round.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; it must be at least 1")
    ours()
    theirs()
    pairs = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            pairs.append(_round(ours, theirs, seconds))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    our_times, their_times = zip(*pairs, strict=True)
    ratios = [their_time / our_time for our_time, their_time in pairs]
    return {
        "our_seconds": _spread(our_times),
        "their_seconds": _spread(their_times),
        "ratio": {**_spread(ratios), "lower_bound": lower_bound(ratios)},
    }


def _round(ours: Work, theirs: Work, seconds: float) -> tuple[float, float]:
    """Seconds that one piece of work takes each of the two, on average over an even number of turns."""
    our_time = their_time = 0.0
    turns = 0
    while turns % 2 or min(our_time, their_time) < seconds:
        if turns % 2:
            their_time += _seconds(theirs)
            our_time += _seconds(ours)
        else:
            our_time += _seconds(ours)
            their_time += _seconds(theirs)
        turns += 1
    return our_time / turns, their_time / turns


def demand_same_work(what: str, difference: float, allowed: float = 1e-4) -> None:
    """Refuse to time two sides that do not do the same.

    Raises:
        RuntimeError: if their results differ by more than float32 explains.
    """
    if not difference <= allowed:
        raise RuntimeError(f"{what}: the results differ by {difference:.1e}, so their times say nothing.")


def lower_bound(ratios: list[float], resamples: int = 2000) -> float:
    """Where the 95 % interval of the median begins, by bootstrap (Efron & Tibshirani 1993, §13.3)."""
    generator = random.Random(0)
    medians = sorted(median(generator.choices(ratios, k=len(ratios))) for _ in range(resamples))
    return medians[int(0.025 * resamples)]


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spread(values: list[float] | tuple[float, ...]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}
