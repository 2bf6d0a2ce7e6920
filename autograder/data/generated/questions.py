"""Questions whose answer is a span of a context, as in Rajpurkar et al. (2016).

A context tells the same four things of several people, so that it has one span of the right kind for each of them, and
the question decides which it is. No name, trade, town, thing or day comes twice in a context: the answer stands there
once.
"""

import re
from typing import NamedTuple

import numpy as np

from autograder.data.generated.dice import Dice
from autograder.data.generated.word_lists import GIVEN_NAMES, WEEKDAYS, listed

TRADES = listed("nurse baker pilot painter farmer lawyer teacher sailor dentist tailor")
TOWNS = listed("Rome Cairo Lima Oslo Paris Kyoto Boston Delhi Vienna Dublin")
THINGS = listed("lamp clock chair guitar mirror carpet bicycle kettle camera coat")
COLORS = listed("red blue green black white yellow")

STATEMENTS = (
    "{name}, a {trade} from {town}, bought a {thing} on {day}.",
    "On {day} {name}, who is a {trade} from {town}, bought a {thing}.",
    "A {thing} was bought on {day} by {name}, a {trade} from {town}.",
    "{name} is from {town}, works as a {trade} and bought a {thing} on {day}.",
)

QUESTIONS = (
    ("name", "thing", "Who bought the {thing}?"),
    ("name", "town", "Who is from {town}?"),
    ("name", "trade", "Who is a {trade}?"),
    ("name", "day", "Who bought something on {day}?"),
    ("thing", "name", "What did {name} buy?"),
    ("thing", "trade", "What did the {trade} buy?"),
    ("thing", "day", "What was bought on {day}?"),
    ("town", "name", "Where is {name} from?"),
    ("town", "thing", "Where is the buyer of the {thing} from?"),
    ("trade", "name", "What does {name} do for a living?"),
    ("trade", "town", "What does the person from {town} do for a living?"),
    ("day", "name", "When did {name} buy something?"),
    ("day", "thing", "When was the {thing} bought?"),
)
"""What is asked for, by what it is asked, and how."""


class Question(NamedTuple):
    """A context, a question and where the answer stands.

    Attributes:
        context, question, answer: as text; ``answer`` is ``context[start:end]``.
        start, end: of the answer, counted in characters.
        tokens: of the context: words and punctuation marks.
        first, last: the answer is ``tokens[first:last + 1]``.
    """

    context: str
    question: str
    answer: str
    start: int
    end: int
    tokens: list[str]
    first: int
    last: int


def questions(count: int, generator: np.random.Generator, people: int = 4) -> list[Question]:
    """Questions, each with a context of its own; whom it asks about is as likely to come first as last.

    Args:
        count: number of questions.
        generator: what they are made from.
        people: statements in a context, at most 7.
    """
    dice = Dice(generator)
    return [_question(dice, people) for _ in range(count)]


def _question(dice: Dice, people: int) -> Question:
    facts: dict[str, list[str]] = {
        "name": dice.several(GIVEN_NAMES, people),
        "trade": dice.several(TRADES, people),
        "town": dice.several(TOWNS, people),
        "thing": [f"{dice.choice(COLORS)} {thing}" for thing in dice.several(THINGS, people)],
        "day": dice.several(WEEKDAYS, people),
    }
    told = [{kind: values[person] for kind, values in facts.items()} for person in range(people)]
    context = " ".join(dice.choice(STATEMENTS).format(**fact) for fact in told)
    kind, _, question = dice.choice(QUESTIONS)
    asked = dice.choice(told)
    answer = asked[kind]
    start = context.index(answer)
    end = start + len(answer)
    spans = [match.span() for match in re.finditer(r"\w+|[^\w\s]", context)]
    return Question(
        context,
        question.format(**asked),
        answer,
        start,
        end,
        [context[begin:stop] for begin, stop in spans],
        next(number for number, span in enumerate(spans) if span[0] == start),
        next(number for number, span in enumerate(spans) if span[1] == end),
    )
