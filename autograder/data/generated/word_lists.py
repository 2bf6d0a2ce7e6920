"""Words that several generators share."""


def listed(words: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(words.split())


GIVEN_NAMES = listed("Anna Ben Clara David Emma Felix Grace Henry Ida Jack Karin Leo Maria Noah Olga Peter")
MONTHS = listed("January February March April May June July August September October November December")
WEEKDAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
