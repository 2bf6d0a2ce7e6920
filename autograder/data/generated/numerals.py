"""Numbers as English writes them in words, to be written in digits: *two thousand and forty-one* is 2041.

A translation that can be learned completely in seconds and still is one: words change their places' worth (*hundred*
says that two digits follow), one word stands for two digits (*seventeen*), and the zeros of 2041 stand nowhere in what
is read.
"""

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")

WORDS = (*ONES, *TENS, "hundred", "thousand", "and")
"""Every word that :func:`numerals` may use."""


def numerals(number: int) -> list[str]:
    """The words of a number, British fashion, with *and* before the last two digits.

    Args:
        number: 0 ≤ number < 1,000,000.

    Raises:
        ValueError: if it is not.
    """
    if not 0 <= number < 1_000_000:
        raise ValueError(f"{number} is not between 0 and 999,999")
    if number < 20:
        return [ONES[number]]
    if number < 100:
        tens, ones = divmod(number, 10)
        return [TENS[tens - 2], *([ONES[ones]] if ones else [])]
    size, word = (1_000, "thousand") if number >= 1_000 else (100, "hundred")
    many, rest = divmod(number, size)
    link = ["and"] if 0 < rest < 100 else []
    return [*numerals(many), word, *link, *(numerals(rest) if rest else [])]
