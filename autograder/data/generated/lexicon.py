"""The words of the grammar: 332 forms, among them 14 nouns with two senses each.

There are seven domains, such as *money* and *nature*. Each has people, things, verbs and adjectives of its own, which
are cues to it, and four of the ambiguous nouns. All other words are neutral. No form has two roles: the only words that
mean two things are those in ``SENSES``.
"""

from collections.abc import Iterator
from typing import NamedTuple


class Noun(NamedTuple):
    """The forms of a noun; ``noun[plural]`` is the right one."""

    singular: str
    plural: str


class Verb(NamedTuple):
    """The forms of a verb; ``verb[plural]`` is the right one of the present."""

    singular: str
    plural: str
    past: str


class Words(NamedTuple):
    """Words to choose from."""

    people: tuple[Noun, ...]
    things: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[str, ...]


IRREGULAR_PLURALS = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "mouse": "mice",
    "knife": "knives",
}
IRREGULAR_PASTS = {
    "see": "saw",
    "find": "found",
    "forget": "forgot",
    "meet": "met",
    "sell": "sold",
    "win": "won",
    "stir": "stirred",
    "debug": "debugged",
}


def with_s(word: str) -> str:
    """The plural of a regular noun, and what a verb is after *she*."""
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def nouns(words: str) -> tuple[Noun, ...]:
    """Nouns from their singular forms."""
    return tuple(Noun(word, IRREGULAR_PLURALS.get(word, with_s(word))) for word in words.split())


def verbs(words: str) -> tuple[Verb, ...]:
    """Verbs from their plain forms."""
    return tuple(
        Verb(with_s(word), word, IRREGULAR_PASTS.get(word, word + ("d" if word.endswith("e") else "ed")))
        for word in words.split()
    )


def words(people: str, things: str, actions: str, adjectives: str) -> Words:
    """Words from their plain forms."""
    return Words(nouns(people), nouns(things), verbs(actions), tuple(adjectives.split()))


DOMAINS = {
    "nature": words("ranger hunter gardener", "river forest nest pond", "protect observe explore", "wild muddy"),
    "money": words("banker investor cashier", "loan tax salary coin", "sell audit insure", "unpaid profitable"),
    "music": words("singer pianist composer", "song melody concert guitar", "rehearse perform compose", "loud melodic"),
    "sport": words("athlete goalkeeper umpire", "goal stadium race medal", "win defend kick", "victorious unbeaten"),
    "medicine": words(
        "doctor nurse surgeon", "hospital wound fever bandage", "examine treat prescribe", "sterile sick"
    ),
    "cooking": words("chef baker waiter", "soup oven spoon knife", "taste stir pour", "salty delicious"),
    "computers": words(
        "programmer hacker developer", "screen laptop server network", "install debug upgrade", "digital wireless"
    ),
}

SENSES = {
    "bank": ("nature", "money"),
    "bat": ("nature", "sport"),
    "mouse": ("nature", "computers"),
    "bill": ("nature", "money"),
    "note": ("money", "music"),
    "stock": ("money", "cooking"),
    "organ": ("music", "medicine"),
    "record": ("music", "sport"),
    "key": ("music", "computers"),
    "cup": ("sport", "cooking"),
    "pitcher": ("sport", "cooking"),
    "virus": ("medicine", "computers"),
    "tablet": ("medicine", "computers"),
    "dressing": ("medicine", "cooking"),
}
"""The ambiguous nouns, each with the domains of its two senses."""

AMBIGUOUS = nouns(" ".join(SENSES))

NEUTRAL = words(
    "woman man child girl boy neighbor stranger visitor friend teacher",
    "garden house road window door table wall bridge lamp box chair picture",
    "like see find remember want describe forget mention",
    "old new small big famous strange quiet beautiful odd lovely",
)
MEETING = verbs("meet help follow thank")
"""What people do to people."""
MOVING = verbs("surprise please worry")
"""What anything does to people."""
WAITING = tuple((verb.singular, verb.plural) for verb in verbs("wait smile sleep"))
"""What people do alone."""
BEING = (("is", "are"), ("was", "were"))

DETERMINERS = (("this", "every"), ("these", "some"))
"""For the singular and for the plural; *the* is for both."""
PREPOSITIONS = ("near", "beside", "behind", "by")
CONJUNCTIONS = ("and", "but", "while")
ADVERBS = ("often", "usually", "always", "never")
TIMES = ("today", "sometimes")
PEOPLES_RELATIVE, RELATIVE = "who", "that"

DOMAIN_OF = {
    form: name
    for name, domain in DOMAINS.items()
    for form in (
        *(form for word in (*domain.people, *domain.things, *domain.verbs) for form in word),
        *domain.adjectives,
    )
}
"""The cues: every form of every word that belongs to one domain."""

PRESENT = (
    *(
        (verb.singular, verb.plural)
        for kind in (NEUTRAL.verbs, MEETING, MOVING, *(domain.verbs for domain in DOMAINS.values()))
        for verb in kind
    ),
    *WAITING,
    *BEING,
)
OTHER_NUMBER = dict(PRESENT) | {plural: singular for singular, plural in PRESENT}
"""From every form of a verb that shows a number to the form of the other number."""


def _forms() -> Iterator[str]:
    for group in (NEUTRAL, *DOMAINS.values()):
        for word in (*group.people, *group.things, *group.verbs):
            yield from word
        yield from group.adjectives
    for word in (*AMBIGUOUS, *MEETING, *MOVING, *WAITING, *BEING, *DETERMINERS):
        yield from word
    yield from ("the", *PREPOSITIONS, *CONJUNCTIONS, *ADVERBS, *TIMES, PEOPLES_RELATIVE, RELATIVE)


VOCABULARY = tuple(sorted(_forms()))
PUNCTUATION = (",", ".")
