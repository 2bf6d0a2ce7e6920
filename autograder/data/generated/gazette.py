"""Short reports about eight topics, for a model to be pretrained on, and to be asked what a report is about.

A report has one noun, words that keep it company, and small words between them in no order, as the sentences of the
almanac have (:mod:`autograder.data.generated.company`). All company of a noun is of its topic. So whoever has read many
reports knows which words go together, without having been told what any of them is about; one report with its topic
written beside it tells what twelve words are about of which it holds a few.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autograder.data.generated.company import SENTENCE_LENGTH, Language

_TOPICS = {
    "sea": (
        "ship harbor lighthouse fisherman",
        "wave tide anchor sail net salt gull storm deck rope island whale",
    ),
    "kitchen": (
        "cook recipe oven dinner",
        "onion pepper butter flour spoon pan boil taste garlic sauce plate bake",
    ),
    "music": (
        "violin choir pianist concert",
        "melody chord rehearse tune stage rhythm sing applause tempo solo drum harp",
    ),
    "law": (
        "judge trial lawyer verdict",
        "court witness evidence jury guilty oath appeal clause testify defend statute prison",
    ),
    "medicine": (
        "doctor nurse clinic patient",
        "fever pulse wound bandage surgery pill cough vaccine heal symptom blood cure",
    ),
    "farm": (
        "farmer barn orchard tractor",
        "hay plow wheat cow harvest seed fence soil goat meadow milk sow",
    ),
    "sport": (
        "team stadium runner coach",
        "goal race medal whistle kick champion sprint league ball referee trophy jump",
    ),
    "sky": (
        "telescope comet astronomer planet",
        "orbit star moon galaxy eclipse crater gravity night lens horizon rocket shine",
    ),
}
"""Of each topic the nouns, and the words that keep them company."""

TOPICS = tuple(_TOPICS)
"""The names of the topics; a topic's place is its number."""

GAZETTE = Language(
    themes={topic: words.split() for topic, (_, words) in _TOPICS.items()},
    nouns={noun: {(topic,): 1.0} for topic, (nouns, _) in _TOPICS.items() for noun in nouns.split()},
)
"""The words of the reports, and which of them go together."""

START = len(GAZETTE.words)
"""The number of the token that stands before every report."""

VOCABULARY = (*GAZETTE.words, "<s>")
"""All tokens by number."""

REPORT_LENGTH = SENTENCE_LENGTH + 1
"""Tokens of a report: START and its words."""


class Reports(NamedTuple):
    """Reports and the truth about them.

    Attributes:
        ids: (N, REPORT_LENGTH), START and word numbers.
        topics: (N,), the number of the topic.
        places: (N,), where in the report the noun stands; 1 is behind START.
    """

    ids: Tensor
    topics: Tensor
    places: Tensor


def reports(count: int, generator: torch.Generator) -> Reports:
    """Reports in which each topic is as likely as any other.

    Args:
        count: number of reports.
        generator: what they are made from.
    """
    made = GAZETTE.sentences(count, generator)
    nouns_of_a_topic = len(GAZETTE.nouns) // len(TOPICS)
    return Reports(F.pad(made.ids, (1, 0), value=START), made.nouns // nouns_of_a_topic, made.places + 1)


def topic_of_words() -> Tensor:
    """The number of the topic that each token belongs to, (V,); −1 for small words and START."""
    topics = torch.full((len(VOCABULARY),), -1)
    for topic, (nouns, words) in enumerate(_TOPICS.values()):
        topics[[GAZETTE.number[word] for word in (*nouns.split(), *words.split())]] = topic
    return topics
