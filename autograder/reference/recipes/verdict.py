"""What the ledger of claims says of an experiment, by one rule for all ten claims."""

from collections.abc import Iterable, Sequence

import numpy as np

SHOWS, PARTLY, NOT = "shows", "partly", "not at this size"


def paired(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """By how much one is larger than the other, seed by seed: the mean and its standard error.

    Raises:
        ValueError: if there are fewer than two pairs, or one without a partner.
    """
    if len(one) != len(other) or len(one) < 2:
        raise ValueError(f"{len(one)} and {len(other)} results: give two or more for each, from the same seeds")
    differences = np.subtract(one, other)
    return float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)


def verdict(effects: Iterable[tuple[float, float]]) -> str:
    """Whether a claim shows.

    Args:
        effects: for each condition that was tried the effect, positive if it is as claimed, and its standard error.

    Returns:
        "shows" if the effect is larger than twice its standard error under all conditions, "partly" if it is so under
        some, "not at this size" if under none.

    Raises:
        ValueError: if nothing was tried.
    """
    there = [mean > 2 * error for mean, error in effects]
    if not there:
        raise ValueError("no condition was tried, and so there is no verdict")
    return SHOWS if all(there) else PARTLY if any(there) else NOT
