"""Sentences from a small grammar, with the truth about senses and about agreement.

Two things can be asked that a table of counts does not answer. Which sense has an ambiguous noun? In *the doctor who
met these strangers forgets the organ* nothing near the noun tells. And does the verb agree with its subject? In *the
key to the doors near the wall is old* the nouns beside the verb are not its subject; Linzen et al. (2016) call those
of the other number attractors. Minimal pairs, one verb apart, are after Marvin and Linzen (2018).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from autograder.data.generated import lexicon
from autograder.data.generated.dice import Dice
from autograder.data.generated.lexicon import Noun, Verb, Words

WINDOW = 5
"""A cue is near if it is at most so many words away."""

FAR = 0.5
"""The share of ambiguous nouns that have no near cue in their clause."""

NOTHING_WITHIN = 4
"""In agreement pairs, the last so many words before the verb say nothing about which form is right."""


class Clause(NamedTuple):
    """The truth about a clause.

    Attributes:
        start, end: its words are ``words[start:end]``.
        domain: what it is about; all its cues belong to this.
        subject: position of the noun that the verb agrees with.
        verb: position of the verb.
        plural: whether subject and verb are plural.
        attractors: positions of the nouns between them that have the other number.
    """

    start: int
    end: int
    domain: str
    subject: int
    verb: int
    plural: bool
    attractors: tuple[int, ...]


class Ambiguous(NamedTuple):
    """The truth about an ambiguous noun.

    Attributes:
        position: where it stands.
        domain: its sense: the domain of its clause.
        distance: how many words away the nearest cue of its clause is.
    """

    position: int
    domain: str
    distance: int


class Sentence(NamedTuple):
    """A sentence of one or two clauses, each about a domain of its own.

    Attributes:
        words: its words, all in lower case, and the punctuation marks.
        clauses: the truth about them.
        ambiguous: the truth about its ambiguous nouns, at most one to a clause.
    """

    words: list[str]
    clauses: list[Clause]
    ambiguous: list[Ambiguous]


class SenseExample(NamedTuple):
    """Which sense has the noun at ``position``? ``label`` is the domain's number in ``lexicon.DOMAINS``.

    ``far`` says that no cue in its clause is within ``WINDOW`` words.
    """

    words: list[str]
    position: int
    label: int
    far: bool


class AgreementPair(NamedTuple):
    """Two sentences that differ in the number of the verb alone."""

    grammatical: list[str]
    ungrammatical: list[str]
    verb: int


def _mixed(domain: Words) -> Words:
    """Neutral words and those of a domain, these about twice as often."""
    neutral = lexicon.NEUTRAL
    return neutral._replace(
        people=neutral.people + domain.people * 6,
        things=neutral.things + domain.things * 6,
        verbs=neutral.verbs + domain.verbs * 6,
    )


MIXED = {name: _mixed(domain) for name, domain in lexicon.DOMAINS.items()}
ADJECTIVES = {
    noun: lexicon.NEUTRAL.adjectives + domain.adjectives * 2
    for domain in lexicon.DOMAINS.values()
    for noun in domain.things
}
"""Those that suit a thing of some domain; the neutral ones suit all nouns."""
ALL_PEOPLE = sum((domain.people for domain in lexicon.DOMAINS.values()), lexicon.NEUTRAL.people)
ALL_THINGS = sum((domain.things for domain in lexicon.DOMAINS.values()), lexicon.NEUTRAL.things)
LABELS = {name: label for label, name in enumerate(lexicon.DOMAINS)}


def sentences(count: int, generator: np.random.Generator) -> list[Sentence]:
    """Sentences to learn the language from.

    In half of the clauses stands an ambiguous noun; each noun and each of its senses is as likely as any other, and
    in a share ``FAR`` of the cases the cues of the clause are more than ``WINDOW`` words away. The numbers of all nouns
    are independent of each other.

    Args:
        count: number of sentences.
        generator: what they are made from.
    """
    dice = Dice(generator)
    return [_sentence(dice) for _ in range(count)]


def senses(count: int, generator: np.random.Generator) -> list[SenseExample]:
    """Ambiguous nouns in sentences, one of each sentence.

    Args:
        count: number of examples.
        generator: what they are made from.
    """
    dice = Dice(generator)
    examples: list[SenseExample] = []
    while len(examples) < count:
        sentence = _sentence(dice)
        if sentence.ambiguous:
            noun = dice.choice(sentence.ambiguous)
            examples.append(SenseExample(sentence.words, noun.position, LABELS[noun.domain], noun.distance > WINDOW))
    return examples


def agreement(count: int, generator: np.random.Generator) -> list[AgreementPair]:
    """Minimal pairs whose verb stands behind two other nouns, the first of which has not the number of the subject.

    Counting cannot tell the two sentences of a pair apart. The three nouns are chosen alike, the first two have
    different numbers, the third has either: so for every sentence there is an equally likely one in which subject and
    attractor have changed places, with the same words, and there the other verb is right. And the noun that is nearest
    to the verb has the number of the subject in half of the cases; the attractor is more than ``NOTHING_WITHIN`` words
    before the verb.

    Args:
        count: number of pairs.
        generator: what they are made from.
    """
    dice = Dice(generator)
    pairs = []
    for _ in range(count):
        writer = _Writer(dice)
        verb = writer.agreement()
        words = [*writer.words, "."]
        wrong = [*words[:verb], lexicon.OTHER_NUMBER[words[verb]], *words[verb + 1 :]]
        pairs.append(AgreementPair(words, wrong, verb))
    return pairs


def judgments(pairs: Sequence[AgreementPair], generator: np.random.Generator) -> list[tuple[list[str], int]]:
    """One sentence of every pair, with the label 1 if it is grammatical and 0 if not, as many of one as of the other.

    With an odd number of pairs there is one more that is not grammatical.
    """
    labels = generator.permutation(np.arange(len(pairs)) % 2)
    return [
        (pair.grammatical if label else pair.ungrammatical, label)
        for pair, label in zip(pairs, labels.tolist(), strict=True)
    ]


def _sentence(dice: Dice) -> Sentence:
    writer = _Writer(dice)
    if dice.chance(0.15):
        writer.words += [dice.choice(lexicon.TIMES), ","]
    writer.clause()
    if dice.chance(0.3):
        writer.words.append(dice.choice(lexicon.CONJUNCTIONS))
        writer.clause()
    writer.words.append(".")
    return Sentence(writer.words, writer.clauses, writer.ambiguous)


class _Writer:
    """Writes word after word, and keeps the truth about them."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.words: list[str] = []
        self.clauses: list[Clause] = []
        self.ambiguous: list[Ambiguous] = []

    def clause(self) -> None:
        """A clause with an ambiguous noun as object or as subject, or with none."""
        dice, start = self.dice, len(self.words)
        kind, noun = dice.below(6), dice.choice(lexicon.AMBIGUOUS)
        domain = dice.choice(lexicon.SENSES[noun.singular])
        plural, target = dice.chance(0.5), None
        if kind < 3:
            person = dice.chance(0.7)
            words = MIXED[domain]
            subject = self._subject(dice.choice(words.people if person else words.things), person, plural, words)
            verb = self._predicate(person, plural, words)
        elif kind < 5:
            subject, verb, target = self._with_object(noun, plural, domain, dice.chance(FAR))
        else:
            subject, verb = self._with_subject(noun, plural, domain, dice.chance(FAR))
            target = subject[0]
        place, between = subject
        attractors = tuple(position for position, other in between if other != plural)
        self.clauses.append(Clause(start, len(self.words), domain, place, verb, plural, attractors))
        if target is not None:
            cues = [at for at in range(start, len(self.words)) if self.words[at] in lexicon.DOMAIN_OF]
            self.ambiguous.append(Ambiguous(target, domain, min(abs(at - target) for at in cues)))

    def agreement(self) -> int:
        """Subject, attractor, another noun, verb; see :func:`agreement`. Returns the position of the verb."""
        dice = self.dice
        person, plural = dice.chance(0.5), dice.chance(0.5)
        subject, attractor, nearest = dice.several(ALL_PEOPLE if person else ALL_THINGS, 3)
        self._noun_phrase(subject, plural)
        self._modifier(person, attractor, person, not plural, lexicon.NEUTRAL.verbs)
        self.words.append(dice.choice(lexicon.PREPOSITIONS))
        self._noun_phrase(nearest, dice.chance(0.5), lexicon.NEUTRAL.adjectives)
        return self._predicate(person, plural, lexicon.NEUTRAL)

    def _with_object(
        self, noun: Noun, plural: bool, domain: str, far: bool
    ) -> tuple[tuple[int, list[tuple[int, bool]]], int, int]:
        """A person does something with an ambiguous thing. Far: that person alone tells the sense."""
        dice, cues = self.dice, lexicon.DOMAINS[domain]
        words = lexicon.NEUTRAL if far else MIXED[domain]
        cue = 3 if far else dice.below(3)
        person = dice.choice(cues.people if far else words.people)
        subject = self._subject(person, True, plural, words, at_least=int(far))
        verb = self._verb(dice.choice(cues.verbs if cue == 0 else words.verbs), plural)
        target = self._noun_phrase(noun, dice.chance(0.5), cues.adjectives if cue == 1 else ())
        if cue == 2:
            self._modifier(False, dice.choice(cues.things), False, dice.chance(0.5), words.verbs)
        elif dice.chance(0.2):
            self._modifier(False, dice.choice(words.things), False, dice.chance(0.5), words.verbs)
        return subject, verb, target

    def _with_subject(
        self, noun: Noun, plural: bool, domain: str, far: bool
    ) -> tuple[tuple[int, list[tuple[int, bool]]], int]:
        """An ambiguous thing is or does something. Far: the person to whom it does it alone tells the sense."""
        dice, cues = self.dice, lexicon.DOMAINS[domain]
        if far:
            subject = self._subject(noun, False, plural, lexicon.NEUTRAL, at_least=1)
            verb = self._verb(dice.choice(lexicon.MOVING), plural)
            self._noun_phrase(dice.choice(cues.people), dice.chance(0.5))
            return subject, verb
        words = MIXED[domain]
        if dice.chance(0.5):
            subject = self._subject(noun, False, plural, words, adjectives=cues.adjectives)
        else:
            subject = self._subject(noun, False, plural, cues._replace(verbs=words.verbs), at_least=1)
        return subject, self._predicate(False, plural, words)

    def _subject(
        self, noun: Noun, person: bool, plural: bool, words: Words, at_least: int = 0, adjectives: Sequence[str] = ()
    ) -> tuple[int, list[tuple[int, bool]]]:
        """A noun with up to two modifiers. Returns its position, and position and number of the nouns behind it."""
        dice = self.dice
        place = self._noun_phrase(noun, plural, adjectives)
        between = []
        for _ in range(max(at_least, dice.choice((0, 0, 1, 1, 2)))):
            other_person, other_plural = dice.chance(0.5), dice.chance(0.5)
            other = dice.choice(words.people if other_person else words.things)
            between.append((self._modifier(person, other, other_person, other_plural, words.verbs), other_plural))
        return place, between

    def _noun_phrase(self, noun: Noun, plural: bool, adjectives: Sequence[str] = ()) -> int:
        """Determiner and noun, between them one of the adjectives given, or perhaps one that suits.

        Returns the position of the noun.
        """
        dice = self.dice
        self.words.append("the" if dice.chance(0.5) else dice.choice(lexicon.DETERMINERS[plural]))
        if adjectives:
            self.words.append(dice.choice(adjectives))
        elif dice.chance(0.3):
            self.words.append(dice.choice(ADJECTIVES.get(noun, lexicon.NEUTRAL.adjectives)))
        self.words.append(noun[plural])
        return len(self.words) - 1

    def _modifier(self, person: bool, noun: Noun, noun_person: bool, plural: bool, verbs: Sequence[Verb]) -> int:
        """A phrase behind a noun, with another noun in it: *beside them*, *who met them* or *that they met*.

        Its verb is in the past, which shows no number. Returns the other noun's position.
        """
        dice, kind = self.dice, self.dice.below(4)
        if kind == 2 and (person or noun_person):
            acting = lexicon.MOVING if not person else lexicon.MEETING if noun_person else verbs
            self.words += [lexicon.PEOPLES_RELATIVE if person else lexicon.RELATIVE, dice.choice(acting).past]
            return self._noun_phrase(noun, plural)
        if kind == 3 and noun_person:
            self.words.append(lexicon.RELATIVE)
            place = self._noun_phrase(noun, plural)
            self.words.append(dice.choice(lexicon.MEETING if person else verbs).past)
            return place
        self.words.append(dice.choice(lexicon.PREPOSITIONS))
        return self._noun_phrase(noun, plural)

    def _predicate(self, person: bool, plural: bool, words: Words) -> int:
        """What the subject does or is. Returns the position of the verb."""
        dice = self.dice
        kind = dice.below(7)
        if kind < (2 if person else 4):
            self.words += [dice.choice(lexicon.BEING)[plural], dice.choice(lexicon.NEUTRAL.adjectives)]
            return len(self.words) - 2
        if not person or kind == 2:
            verb = self._verb(dice.choice(lexicon.MOVING), plural)
            self._noun_phrase(dice.choice(words.people), dice.chance(0.5))
        elif kind == 3:
            verb = self._verb(dice.choice(lexicon.WAITING), plural)
        elif kind == 4:
            verb = self._verb(dice.choice(lexicon.MEETING), plural)
            self._noun_phrase(dice.choice(words.people), dice.chance(0.5))
        else:
            verb = self._verb(dice.choice(words.verbs), plural)
            self._noun_phrase(dice.choice(words.things), dice.chance(0.5))
        return verb

    def _verb(self, forms: Sequence[str], plural: bool) -> int:
        """A verb in the present, perhaps with an adverb before it. Returns its position."""
        if self.dice.chance(0.15):
            self.words.append(self.dice.choice(lexicon.ADVERBS))
        self.words.append(forms[plural])
        return len(self.words) - 1
