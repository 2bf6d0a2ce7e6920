"""Pieces of words: byte-pair encoding, and what all subword tokenizers of the course share.

A vocabulary of whole words never has them all. Byte-pair encoding starts from single characters and makes a new piece
of the pair of pieces that stands side by side most often, again and again (Sennrich et al. 2016, §3.2). Proven equal to
the library ``tokenizers``, merge by merge, by ``tests/test_reference_subwords.py``. Its two relatives have files of
their own: ``byte_level_bpe.py`` and ``wordpiece.py``.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import pairwise

import regex

from autograder.reference.subword_tokenizer import SubwordTokenizer

WORDS = r"\w+|[^\w\s]+"
"""A word is a run of letters, marks, digits and low lines, or of other signs; white space is left out."""


@dataclass(frozen=True)
class Merge:
    """One step of training: the pair that became a new piece, and how often it stood in the text."""

    left: str
    right: str
    piece: str
    count: int


def learn_merges(
    words: Mapping[tuple[str, ...], int],
    vocabulary: dict[str, int],
    vocab_size: int,
    min_frequency: int = 1,
    prefix: str = "",
) -> Iterator[Merge]:
    """Merge the most frequent pair until the vocabulary is full (Sennrich et al. 2016, algorithm 1).

    Of equally frequent pairs the one whose pieces came earlier into the vocabulary is merged first. A word is read
    again only if the pair occurs in it. As in ``tokenizers`` the places found after one merge wait in the queue as one
    entry, and a pair keeps its count when it is merged. This matters where a piece can be made in two ways, as "ing"
    of "in" and "g" or of "i" and "ng": its pairs are then found in two goes, and can be merged twice.

    Args:
        words: words as tuples of pieces, and how often each occurs in the text.
        vocabulary: the numbers of the pieces, counted from 0 in order; every new piece is added.
        vocab_size: when to stop.
        min_frequency: the least count of a pair.
        prefix: a mark in front of pieces that continue a word, taken off where such a piece is joined to another.

    Yields:
        every merge as it is made.
    """
    pieces = list(vocabulary)
    spelled = [[vocabulary[piece] for piece in word] for word in words]
    frequencies = list(words.values())
    counts: Counter[tuple[int, int]] = Counter()
    found: defaultdict[tuple[int, int], set[int]] = defaultdict(set)  # the words in which a pair has newly come up
    for number, word in enumerate(spelled):
        for pair in pairwise(word):
            counts[pair] += frequencies[number]
            found[pair].add(number)
    queue: list[tuple[int, tuple[int, int], int]] = []  # minus the count, the pair, the number of the places
    places: list[set[int]] = []
    while len(vocabulary) < vocab_size:
        for pair, numbers in found.items():
            if counts[pair] > 0:
                heappush(queue, (-counts[pair], pair, len(places)))
                places.append(numbers)
        found.clear()
        while queue and -queue[0][0] != counts[queue[0][1]]:  # the count has changed since the entry was made
            _, pair, where = heappop(queue)
            heappush(queue, (-counts[pair], pair, where))
        if not queue or -queue[0][0] < max(min_frequency, 1):
            return
        minus_count, pair, where = heappop(queue)
        left, right = pieces[pair[0]], pieces[pair[1]]
        piece = left + right.removeprefix(prefix)
        if piece not in vocabulary:
            vocabulary[piece] = len(pieces)
            pieces.append(piece)
        yield Merge(left, right, piece, -minus_count)
        for number in places[where]:
            lost, gained = merge_pair(spelled[number], pair, vocabulary[piece])
            for other in lost:
                counts[other] -= frequencies[number]
            for other in gained:
                counts[other] += frequencies[number]
                found[other].add(number)
        places[where] = set()


def merge_pair(word: list[int], pair: tuple[int, int], new: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Put a new piece in place of every occurrence of a pair in a word, from left to right, in the word itself.

    Returns:
        the pairs with neighbors that are gone, and those that have come up.
    """
    left, right = pair
    lost, gained = [], []
    place = 0
    while place + 1 < len(word):
        if word[place] == left and word[place + 1] == right:
            word[place : place + 2] = [new]
            if place > 0:
                lost.append((word[place - 1], left))
                gained.append((word[place - 1], new))
            if place + 1 < len(word):
                lost.append((right, word[place + 1]))
                gained.append((new, word[place + 1]))
        place += 1
    return lost, gained


def spell(word: str, prefix: str = "", end_of_word: str = "") -> list[str]:
    """The characters of a word, with a mark in front of all but the first, or behind the last."""
    last = len(word) - 1
    return [
        (prefix if place > 0 else "") + character + (end_of_word if place == last else "")
        for place, character in enumerate(word)
    ]


def learn_vocabulary(
    word_counts: Mapping[str, int],
    vocab_size: int,
    special_tokens: Iterable[str] = (),
    min_frequency: int = 1,
    limit_alphabet: int | None = None,
    alphabet: Iterable[str] = (),
    prefix: str = "",
    end_of_word: str = "",
) -> tuple[list[str], list[tuple[str, str]]]:
    """Choose the characters to start from, and learn merges.

    The vocabulary holds the special tokens, then the characters, then the characters with a mark, each in the order of
    their code points, then the merged pieces as they were made. (``tokenizers`` numbers characters with a mark in an
    order that differs from run to run: where there are marks, it breaks ties now this way, now that.)

    Args:
        word_counts: the words of a text, and how often each occurs.
        vocab_size: how many pieces; there are fewer if no pair is left, more if there are more characters.
        special_tokens: what comes first.
        min_frequency: the least count of a pair that is merged.
        limit_alphabet: how many characters to keep, the most frequent; the others are left out of their words.
        alphabet: characters to keep in any case.
        prefix, end_of_word: see :func:`spell`.

    Returns:
        the vocabulary, and the merges, each a pair of pieces, in the order in which they are to be applied.
    """
    character_counts: Counter[str] = Counter()
    for word, count in word_counts.items():
        for character in word:
            character_counts[character] += count
    always = dict.fromkeys(alphabet)
    by_frequency = sorted(character_counts.keys() | always, key=lambda c: (c not in always, -character_counts[c], c))
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(special_tokens))}
    for character in sorted(by_frequency[:limit_alphabet]):
        vocabulary.setdefault(character, len(vocabulary))

    spelled: Counter[tuple[str, ...]] = Counter()
    for word, count in word_counts.items():
        kept = zip(word, spell(word, prefix, end_of_word), strict=True)
        spelled[tuple(piece for character, piece in kept if character in vocabulary)] += count
    for piece in sorted({piece for word in spelled for piece in word}):
        vocabulary.setdefault(piece, len(vocabulary))

    merges: dict[tuple[str, str], None] = {}
    for merge in learn_merges(spelled, vocabulary, vocab_size, min_frequency, prefix):
        merges.pop((merge.left, merge.right), None)  # what is merged twice counts as merged the second time
        merges[merge.left, merge.right] = None
    return list(vocabulary), list(merges)


def count_words(texts: Iterable[str], split: Callable[[str], list[str]]) -> Counter[str]:
    """How often each word occurs in texts, once they are split."""
    if isinstance(texts, str):
        raise TypeError("This is one text, and several are expected: put it in brackets.")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(split(text))
    return counts


Ranks = dict[tuple[int, int], tuple[int, int]]
"""For a pair of numbers, when it is merged, and the number of the new piece."""

GONE = -1
"""Stands where a piece was that has become part of the one on its left."""


def rank_merges(tokenizer: SubwordTokenizer, merges: Iterable[tuple[str, str]]) -> Ranks:
    """Number the merges of a tokenizer.

    Raises:
        ValueError: if a piece is not in the vocabulary.
    """
    demand = tokenizer.demand
    return {(demand(left), demand(right)): (rank, demand(left + right)) for rank, (left, right) in enumerate(merges)}


def merge_by_rank(ids: Sequence[int], ranks: Ranks) -> list[int]:
    """Apply merges to a word: of the pairs that are there, always the one that was learned first, leftmost first.

    A merged piece stays where its left part was; ``before`` and ``behind`` say where its neighbors are. The queue holds
    every pair with a rank, and those that no longer are there are passed over.
    """
    word = list(ids)
    end = len(word)
    before, behind = list(range(-1, end - 1)), list(range(1, end + 1))
    queue = [(ranks[pair][0], place) for place, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapify(queue)
    while queue:
        rank, left = heappop(queue)
        right = behind[left]
        found = ranks.get((word[left], word[right])) if right < end else None
        if found is None or found[0] != rank:
            continue
        word[left], word[right] = found[1], GONE
        behind[left] = behind[right]
        if behind[left] < end:
            before[behind[left]] = left
        for place in (before[left], left):
            if place >= 0 and behind[place] < end and (pair := (word[place], word[behind[place]])) in ranks:
                heappush(queue, (ranks[pair][0], place))
    return [number for number in word if number != GONE]


@dataclass
class BPE(SubwordTokenizer):
    """Byte-pair encoding on characters (Sennrich et al. 2016, §3.2).

    Attributes:
        vocabulary, special_tokens: see ``SubwordTokenizer``.
        merges: pairs of pieces in the order in which they are applied.
        unknown: stands for each character that is not in the vocabulary; without it such a character is left out.
        end_of_word: a mark behind the last character of a word, the paper's "</w>". Without it nothing tells where a
            word ends.
        pattern: a regular expression without groups that says what a word is.

    Raises:
        ValueError: if a piece that is named stands twice in the vocabulary, or not at all.
    """

    vocabulary: list[str] = field(repr=False)
    merges: list[tuple[str, str]] = field(repr=False)
    special_tokens: list[str] = field(default_factory=lambda: ["[UNK]"])
    unknown: str | None = "[UNK]"
    end_of_word: str = ""
    pattern: str = WORDS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.merges = [(left, right) for left, right in self.merges]
        self._ranks = rank_merges(self, self.merges)
        self._unknown = None if self.unknown is None else self.demand(self.unknown)

    def split(self, text: str) -> list[str]:
        return regex.findall(self.pattern, text)

    def encode_word(self, word: str) -> list[int]:
        ids = (self.ids.get(piece, self._unknown) for piece in spell(word, end_of_word=self.end_of_word))
        return merge_by_rank([number for number in ids if number is not None], self._ranks)

    def join(self, pieces: list[str]) -> str:
        """The pieces with a space behind each end of a word; with a space between all if there is no mark for it."""
        if not self.end_of_word:
            return " ".join(pieces)
        return "".join(pieces).replace(self.end_of_word, " ").removesuffix(" ")


def train_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    special_tokens: Sequence[str] = ("[UNK]",),
    min_frequency: int = 1,
    limit_alphabet: int | None = None,
    unknown: str | None = "[UNK]",
    end_of_word: str = "",
    pattern: str = WORDS,
) -> BPE:
    """Learn byte-pair encoding from texts; see :func:`learn_vocabulary` and :class:`BPE`."""
    vocabulary, merges = learn_vocabulary(
        count_words(texts, partial(regex.findall, pattern)),
        vocab_size,
        special_tokens,
        min_frequency=min_frequency,
        limit_alphabet=limit_alphabet,
        end_of_word=end_of_word,
    )
    return BPE(vocabulary, merges, list(special_tokens), unknown, end_of_word, pattern)
