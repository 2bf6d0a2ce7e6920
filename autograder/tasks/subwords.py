"""03-subwords: byte-pair encoding learned and applied, WordPiece, BERT's input, and the way back to text."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import torch

from autograder.checking.given import Given
from autograder.checking.student import Student
from autograder.checking.tasks import Case, case, task
from autograder.reference.subwords import BPE
from autograder.reference.wordpiece import WordPiece

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def drawn_word(given: Given, letters: str, length: int) -> str:
    """A word of random letters."""
    return "".join(letters[i] for i in given.integers(0, len(letters), length).tolist())


def drawn_words(given: Given, letters: str, count: int, longest: int) -> dict[str, int]:
    """Different words of random letters, the first of one letter, with their counts."""
    words: dict[str, int] = {letters[0]: 3}
    while len(words) < count:
        word = drawn_word(given, letters, int(given.integers(2, longest + 1, 1)[0]))
        words.setdefault(word, int(given.integers(1, 9, 1)[0]))
    return words


def pairs_of(words: dict[tuple[str, ...], int]) -> dict[tuple[str, str], int]:
    """The neighbors in words, each as often as its word."""
    pairs: Counter[tuple[str, str]] = Counter()
    for symbols, count in words.items():
        for pair in pairwise(symbols):
            pairs[pair] += count
    return dict(pairs)


def merged(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """A pair joined from left to right."""
    result: list[str] = []
    rest = list(symbols)
    while rest:
        if tuple(rest[:2]) == pair:
            result.append(rest.pop(0) + rest.pop(0))
        else:
            result.append(rest.pop(0))
    return tuple(result)


def learned(word_counts: dict[str, int], num_merges: int) -> list[tuple[str, str]]:
    """The merges by the statement's rule for ties, pair by pair."""
    words = {tuple(word): count for word, count in word_counts.items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < num_merges and (pairs := pairs_of(words)):
        most = max(pairs.values())
        merges.append(min(pair for pair, count in pairs.items() if count == most))
        words = {merged(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


def applied(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """By the reference."""
    pieces = dict.fromkeys([*word, *(piece for pair in merges for piece in (*pair, pair[0] + pair[1]))])
    tokenizer = BPE([*pieces], merges, special_tokens=[], unknown=None)
    return [tokenizer.vocabulary[number] for number in tokenizer.encode_word(word)]


@task("count_pairs")
def count_pairs(student: Student, given: Given) -> Iterator[Case]:
    """Neighbors in each word, weighted by its count."""
    for name, letters, count, weight in (("words of four letters", "abcd", 6, 2), ("more letters", "eilnorst", 9, 2)):
        words = {tuple(word): n for word, n in drawn_words(given, letters, count, 7).items()}
        yield case(name, student.count_pairs(words), pairs_of(words), weight=weight)
    longer = {("un", "friend", "ly"): 3, ("friend", "ly"): 4, ("un", "do"): 2, ("un",): 5}
    yield case("symbols of several letters", student.count_pairs(longer), pairs_of(longer), weight=2)
    same = {("a", "a", "a", "a"): 3, ("a", "b"): 1}
    yield case("one letter four times", student.count_pairs(same), pairs_of(same))
    single = {("a",): 2, ("b",): 1}
    yield case("words of one symbol", student.count_pairs(single), {})


count_pairs.hints(
    "One loop over the words and their counts, and inside it one over the places of a word, up to the last but one.",
    "`pairs[symbols[place], symbols[place + 1]] += count`: a word that occurs five times gives each of its pairs five "
    "times.",
)
count_pairs.equivalent("pairs[symbols[place], symbols[1 + place]] += count", "a sum does not depend on its order")


@count_pairs.misconception(
    "Each word counts once, however often it occurs in the text. Add the word's count for each of its pairs."
)
def unweighted(word_counts):
    pairs = Counter()
    for symbols in word_counts:
        pairs.update((symbols[i], symbols[i + 1]) for i in range(len(symbols) - 1))
    return pairs


@count_pairs.misconception(
    "Pairs reach from one word into the next. Words are counted one by one: no merge may ever join two of them."
)
def across_words(word_counts):
    pairs, last = Counter(), None
    for symbols, count in word_counts.items():
        for symbol in symbols:
            if last is not None:
                pairs[last, symbol] += count
            last = symbol
    return pairs


@count_pairs.misconception(
    "The last pair of each word is left out: the last place at which a pair begins is `len(symbols) - 2`, and `range` "
    "stops before its end."
)
def stops_one_early(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        for i in range(len(symbols) - 2):
            pairs[symbols[i], symbols[i + 1]] += count
    return pairs


@count_pairs.misconception(
    "A pair that stands twice in a word is counted once. Every place counts: *banana* has the pair (a, n) twice."
)
def once_in_a_word(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        for pair in {(symbols[i], symbols[i + 1]) for i in range(len(symbols) - 1)}:
            pairs[pair] += count
    return pairs


@count_pairs.misconception("The counts are overwritten by the last word that has the pair: add to what is there.")
def overwritten(word_counts):
    pairs = {}
    for symbols, count in word_counts.items():
        for i in range(len(symbols) - 1):
            pairs[symbols[i], symbols[i + 1]] = count
    return pairs


@count_pairs.misconception("The order within a pair is lost: (a, b) and (b, a) are two different pairs.")
def unordered(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        for i in range(len(symbols) - 1):
            pairs[tuple(sorted(symbols[i : i + 2]))] += count
    return pairs


@count_pairs.misconception("The pairs are joined to strings; make each a tuple of its two symbols.")
def joined(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        for i in range(len(symbols) - 1):
            pairs[symbols[i] + symbols[i + 1]] += count
    return pairs


@count_pairs.misconception(
    "Pairs of letters are counted in the joined word. The symbols are what counts, and one may have several letters."
)
def letters_for_symbols(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        word = "".join(symbols)
        for i in range(len(word) - 1):
            pairs[word[i], word[i + 1]] += count
    return pairs


@count_pairs.misconception("Pairs do not overlap here: *a b c* has two pairs, (a, b) and (b, c).")
def every_other(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        for i in range(0, len(symbols) - 1, 2):
            pairs[symbols[i], symbols[i + 1]] += count
    return pairs


@count_pairs.alternative
def zipped(word_counts):
    pairs = Counter()
    for symbols, count in word_counts.items():
        for pair in zip(symbols, symbols[1:]):  # noqa: B905, RUF007
            pairs[pair] += count
    return pairs


@count_pairs.alternative
def plain_dictionary(word_counts):
    pairs = {}
    for symbols in word_counts:
        for place, right in enumerate(symbols[1:]):
            pairs[symbols[place], right] = pairs.get((symbols[place], right), 0) + word_counts[symbols]
    return pairs


@count_pairs.alternative
def repeated(word_counts, start=None):
    places = (
        (symbols[i], symbols[i + 1])
        for symbols, count in word_counts.items()
        for _ in range(count)
        for i in range(len(symbols) - 1)
    )
    return Counter(places)


@task("merge_pair")
def merge_pair(student: Student, given: Given) -> Iterator[Case]:
    """Every occurrence, from left to right, none sharing a symbol."""
    for name, letters, length, weight in (("a pair of two letters", "ab", 9, 2), ("three letters", "abc", 14, 2)):
        word = tuple(drawn_word(given, letters, length)) + ("a", "b") * 2
        yield case(name, student.merge_pair(word, ("a", "b")), merged(word, ("a", "b")), weight=weight)
    for length in (3, 4, 5):
        word = ("a",) * length
        yield case(f"{length} times the same", student.merge_pair(word, ("a", "a")), merged(word, ("a", "a")))
    word, pair = ("b", "an", "an", "a"), ("an", "a")
    yield case("a symbol of two letters", student.merge_pair(word, pair), merged(word, pair), weight=2)
    word, pair = ("a", "bc", "ab", "c", "a", "b", "c"), ("ab", "c")
    yield case("the same letters, cut otherwise", student.merge_pair(word, pair), merged(word, pair), weight=2)
    word = ("c", "b", "a")
    yield case("no such pair", student.merge_pair(word, ("a", "b")), word)
    yield case("a single symbol", student.merge_pair(("a",), ("a", "a")), ("a",))
    yield case(
        "a tuple",
        student.merge_pair(("a", "b"), ("a", "b")),
        measure=lambda value: float(isinstance(value, tuple)),
        at_least=1,
        measures="the number of tuples returned",
    )


merge_pair.hints(
    "A `while` loop with a place that moves on by two where the pair stands, and by one where it does not.",
    "`symbols[place : place + 2] == pair` is True where the pair stands, and harmless at the end of the word.",
)


@merge_pair.misconception(
    "Occurrences share a symbol: *a a a* with (a, a) is *aa a*, since the one in the middle can be used once only. "
    "Go on behind both symbols."
)
def sharing(symbols, pair):
    result = []
    for i, symbol in enumerate(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            result.append(pair[0] + pair[1])
        elif i == 0 or tuple(symbols[i - 1 : i + 1]) != pair:
            result.append(symbol)
    return tuple(result)


@merge_pair.misconception("Only the first occurrence is joined: go on to the end of the word.")
def first_only(symbols, pair):
    for i in range(len(symbols) - 1):
        if tuple(symbols[i : i + 2]) == pair:
            return (*symbols[:i], pair[0] + pair[1], *symbols[i + 2 :])
    return tuple(symbols)


@merge_pair.misconception(
    "The second symbol of the pair is still there behind the joined one: move on by two places where the pair stood."
)
def second_stays(symbols, pair):
    result = []
    for i, symbol in enumerate(symbols):
        here = tuple(symbols[i : i + 2]) == pair
        result.append(pair[0] + pair[1] if here else symbol)
    return tuple(result)


@merge_pair.misconception(
    "The word is joined to one string and its letters are searched. Symbols are what is compared: *an* is one "
    "symbol, and (a, n) does not stand in it."
)
def through_a_string(symbols, pair):
    text, result = "".join(symbols), []
    both = pair[0] + pair[1]
    while text:
        piece = both if text.startswith(both) else text[0]
        result.append(piece)
        text = text[len(piece) :]
    return tuple(result)


@merge_pair.misconception("The last symbol of the word is lost when the pair does not stand at the end.")
def last_one_lost(symbols, pair):
    result, i = [], 0
    while i < len(symbols) - 1:
        here = tuple(symbols[i : i + 2]) == pair
        result.append(pair[0] + pair[1] if here else symbols[i])
        i += 2 if here else 1
    return tuple(result)


@merge_pair.misconception(
    "This is a list; a tuple is asked for, so that words can be the keys of a dictionary.",
    lambda evidence: isinstance(evidence["a tuple"], list),
)
def a_list(symbols, pair):
    result, i = [], 0
    while i < len(symbols):
        here = tuple(symbols[i : i + 2]) == pair
        result.append(pair[0] + pair[1] if here else symbols[i])
        i += 2 if here else 1
    return result


@merge_pair.misconception("The pair is joined in the wrong order: the left symbol comes first.")
def right_first(symbols, pair):
    result, i = [], 0
    while i < len(symbols):
        here = tuple(symbols[i : i + 2]) == pair
        result.append(pair[1] + pair[0] if here else symbols[i])
        i += 2 if here else 1
    return tuple(result)


@merge_pair.misconception(
    "The pair is joined wherever its two symbols stand side by side in either order; (a, b) does not stand in *b a*."
)
def either_order(symbols, pair):
    result, i = [], 0
    while i < len(symbols):
        here = tuple(symbols[i : i + 2]) in (pair, pair[::-1])
        result.append("".join(symbols[i : i + 2]) if here else symbols[i])
        i += 2 if here else 1
    return tuple(result)


@merge_pair.misconception("It goes from right to left, so that *a a a* becomes *a aa*: begin on the left.")
def from_the_right(symbols, pair):
    result, i = [], len(symbols)
    while i > 0:
        here = i > 1 and tuple(symbols[i - 2 : i]) == pair
        result.insert(0, pair[0] + pair[1] if here else symbols[i - 1])
        i -= 2 if here else 1
    return tuple(result)


@merge_pair.alternative
def by_building_up(symbols, pair):
    result = []
    joined = False
    for symbol in symbols:
        if result and not joined and (result[-1], symbol) == pair:
            result[-1] += symbol
            joined = True
        else:
            result.append(symbol)
            joined = False
    return tuple(result)


@merge_pair.alternative
def by_recursion(symbols, pair):
    if len(symbols) < 2:
        return tuple(symbols)
    if (symbols[0], symbols[1]) == pair:
        return (symbols[0] + symbols[1], *merge_pair(symbols[2:], pair))
    return (symbols[0], *merge_pair(symbols[1:], pair))


@merge_pair.alternative
def in_a_list_of_its_own(symbols, pair, separator=""):
    word, i = list(symbols), 0
    while i + 1 < len(word):
        if (word[i], word[i + 1]) == tuple(pair):
            word[i : i + 2] = [separator.join(pair)]
        i += 1
    return tuple(word)


@task("learn_bpe")
def learn_bpe(student: Student, given: Given) -> Iterator[Case]:
    """The most frequent pair, again and again; ties by the order of tuples."""
    for name, letters, count, merges, weight in (
        ("few merges", "abcde", 8, 4, 3),
        ("many merges", "aeilnrst", 14, 25, 3),
    ):
        words = drawn_words(given, letters, count, 8)
        yield case(name, student.learn_bpe(words, merges), learned(words, merges), weight=weight)
    tied = {"zebra": 2, "otter": 2, "mole": 2}
    yield case("ties", student.learn_bpe(tied, 6), learned(tied, 6), weight=2)
    few = {"aaaa": 3, "ab": 2, "c": 9}
    yield case("until no pair is left", student.learn_bpe(few, 50), learned(few, 50), weight=2)
    yield case("no merges", student.learn_bpe(few, 0), [])
    once = {"ab": 1, "cba": 1}
    yield case("words that occur once", student.learn_bpe(once, 9), learned(once, 9), weight=2)
    alike = {
        "ac": 5,
        "abb": 5,
        "ab": 1,
    }  # (a, c) comes before (ab, b) in the order of tuples, and not of joined letters
    yield case("ties of pairs, not of letters", student.learn_bpe(alike, 2), learned(alike, 2), weight=2)


learn_bpe.hints(
    "First make tuples of the words: `{tuple(word): count for word, count in word_counts.items()}`. Then, in each "
    "round: count, choose, remember, merge in all words.",
    "`min(pairs, key=lambda pair: (-pairs[pair], pair))` takes the highest count and, among equals, the first in the "
    "order of tuples.",
    "If `count_pairs` gives nothing, `break`.",
)


@learn_bpe.misconception(
    "Ties are broken by which pair was met first. The statement asks for the one that comes first in Python's order of "
    "tuples, so that the result does not depend on the order of the words."
)
def first_met(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        if not pairs:
            break
        merges.append(max(pairs, key=lambda pair: pairs[pair]))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception(
    "Among pairs with the highest count the last in Python's order of tuples is taken; the first is asked for. With "
    "`max` over (count, pair) the pair is maximized, too."
)
def last_of_the_tied(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        if not pairs:
            break
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception("The rarest pair is merged, the one with the lowest count; the most frequent is asked for.")
def rarest(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (pairs[pair], pair)))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception(
    "The pairs are counted once, and the most frequent ones are taken in order. After each merge the words are others: "
    "merge in all words, and count again."
)
def counted_once(word_counts, num_merges):
    pairs = count_pairs({tuple(word): count for word, count in word_counts.items()})
    return sorted(pairs, key=lambda pair: (-pairs[pair], pair))[:num_merges]


@learn_bpe.misconception(
    "It ends with an error when no pair is left. Then every word is one symbol, and the list of merges is complete: "
    "stop."
)
def no_stop(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception(
    "It stops when no pair occurs twice. A pair that occurs once is merged, too, until none is left."
)
def stops_at_one(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        if not pairs or max(pairs.values()) < 2:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception("One merge too many is learned: `num_merges` of them are asked for, and none if it is 0.")
def one_too_many(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges + 1):
        pairs = count_pairs(words)
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception("The counts of the words are not used: a pair counts as often as its word occurs in the text.")
def words_once(word_counts, num_merges):
    words, merges = {tuple(word): 1 for word in word_counts}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.misconception(
    "These are the joined symbols; the list of merges holds pairs, since a symbol may be joined of different ones."
)
def joined_symbols(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    for _ in range(num_merges):
        pairs = count_pairs(words)
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best[0] + best[1])
        words = {merge_pair(symbols, best): count for symbols, count in words.items()}
    return merges


@learn_bpe.alternative
def by_the_largest(word_counts, num_merges):
    words, merges = {tuple(word): count for word, count in word_counts.items()}, []
    while len(merges) < num_merges:
        pairs = count_pairs(words)
        if len(pairs) == 0:
            return merges
        most = max(pairs.values())
        merges += [sorted(pair for pair in pairs if pairs[pair] == most)[0]]
        words = {merge_pair(symbols, merges[-1]): count for symbols, count in words.items()}
    return merges


@learn_bpe.alternative
def over_a_list_of_words(word_counts, num_merges, verbose=False):
    words = [[tuple(word), count] for word, count in word_counts.items()]
    merges = []
    for _ in range(num_merges):
        pairs = {}
        for symbols, count in words:
            for i in range(len(symbols) - 1):
                pairs[symbols[i : i + 2]] = pairs.get(symbols[i : i + 2], 0) + count
        if not pairs:
            break
        best = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[0][0]
        merges.append(best)
        for entry in words:
            entry[0] = merge_pair(entry[0], best)
    return merges


@learn_bpe.alternative
def by_recursion_on_the_rest(word_counts, num_merges):
    words = {tuple(word): count for word, count in word_counts.items()}

    def rest(words, left):
        pairs = count_pairs(words)
        if left == 0 or not pairs:
            return []
        best = sorted(sorted(pairs), key=lambda pair: pairs[pair], reverse=True)[0]
        return [best, *rest({merge_pair(s, best): n for s, n in words.items()}, left - 1)]

    return rest(words, num_merges)


@task("apply_bpe")
def apply_bpe(student: Student, given: Given) -> Iterator[Case]:
    """The pair that was learned first, again and again."""
    for name, letters, merges, weight in (("few merges", "abcd", 6, 3), ("many merges", "abc", 14, 3)):
        known = learned(drawn_words(given, letters, 12, 9), merges)
        for number in (1, 2, 3):
            word = drawn_word(given, letters, 11)
            yield case(f"{name}, word {number}", student.apply_bpe(word, known), applied(word, known), weight=weight)
    # The first pair on the left is not the one that was learned first.
    order = [("b", "c"), ("a", "b"), ("bc", "d"), ("d", "d"), ("a", "bcd")]
    for word in ("abcd", "abcdd", "ddabc"):
        yield case(f"the word {word}", student.apply_bpe(word, order), applied(word, order), weight=2)
    grown = [("a", "b"), ("ab", "c")]
    left = [("a", "b"), ("b", "c")]
    yield case("the left one first", student.apply_bpe("abc", left), ["ab", "c"])
    yield case("a merge of what was merged", student.apply_bpe("abcab", grown), ["abc", "ab"])
    yield case("characters never seen", student.apply_bpe("xyz", order), list("xyz"))
    yield case("one character", student.apply_bpe("a", order), ["a"])
    yield case("no merges", student.apply_bpe("abc", []), list("abc"))


apply_bpe.equivalent("return symbols", "a tuple of the pieces is as good as a list of them")
apply_bpe.equivalent(
    "pairs = [symbols[place:place + 2] for place in range(len(symbols) + 1)]",
    "what is cut off behind the last pair is no pair, and in no list of merges",
)
apply_bpe.equivalent(
    "pairs = [symbols[place:place + 2] for place in range(len(symbols) - 0)]",
    "the last symbol alone is no pair, and in no list of merges",
)
apply_bpe.equivalent("known = [pair for pair in pairs if pair in merges]", "the ranks are those of the merges")
apply_bpe.hints(
    "A dictionary from each pair to its place in the list says which of two pairs was learned first.",
    "In a loop: list the pairs of neighbors that are in the dictionary; if there is none, return; otherwise "
    "`merge_pair` the one with the lowest rank.",
)


@apply_bpe.misconception(
    "The pair that stands farthest left is merged first. The one that was learned first must be, wherever it stands."
)
def in_text_order(word, merges):
    symbols = tuple(word)
    while True:
        known = [symbols[i : i + 2] for i in range(len(symbols) - 1) if symbols[i : i + 2] in merges]
        if not known:
            return list(symbols)
        symbols = merge_pair(symbols, known[0])


@apply_bpe.misconception(
    "Only one merge is applied. What was joined may be joined again: look at the pairs anew until none is in the list."
)
def one_merge(word, merges):
    symbols = tuple(word)
    known = [symbols[i : i + 2] for i in range(len(symbols) - 1) if symbols[i : i + 2] in merges]
    return list(merge_pair(symbols, min(known, key=merges.index))) if known else list(symbols)


@apply_bpe.misconception(
    "The merges are applied from the last to the first. Those learned first come first, since later ones are made of "
    "them."
)
def from_the_last(word, merges):
    symbols = tuple(word)
    for pair in reversed(merges):
        symbols = merge_pair(symbols, pair)
    return list(symbols)


@apply_bpe.misconception("Of the pairs in the list, the one learned last is taken. Take the one with the lowest rank.")
def highest_rank(word, merges):
    symbols = tuple(word)
    while True:
        known = [symbols[i : i + 2] for i in range(len(symbols) - 1) if symbols[i : i + 2] in merges]
        if not known:
            return list(symbols)
        symbols = merge_pair(symbols, max(known, key=merges.index))


@apply_bpe.misconception(
    "The longest pieces are taken from left to right, as WordPiece does. Byte-pair encoding follows the order in which "
    "the merges were learned."
)
def longest_match(word, merges):
    pieces = {left + right for left, right in merges}
    cut, start = [], 0
    while start < len(word):
        end = next((e for e in range(len(word), start + 1, -1) if word[start:e] in pieces), start + 1)
        cut.append(word[start:end])
        start = end
    return cut


@apply_bpe.misconception("Characters that are in no merge are left out; they stay single, and nothing is lost.")
def drops_the_unknown(word, merges):
    known_characters = set("".join(left + right for left, right in merges))
    symbols = tuple(word)
    for pair in merges:
        symbols = merge_pair(symbols, pair)
    return [symbol for symbol in symbols if set(symbol) <= known_characters]


@apply_bpe.misconception("The pieces are joined to one string with spaces; a list of them is asked for.")
def a_string(word, merges):
    symbols = tuple(word)
    for pair in merges:
        symbols = merge_pair(symbols, pair)
    return " ".join(symbols)


@apply_bpe.alternative
def merge_after_merge(word, merges):
    symbols = tuple(word)
    for pair in merges:
        symbols = merge_pair(symbols, pair)
    return [*symbols]


@apply_bpe.alternative
def first_in_the_list(word, merges):
    symbols = tuple(word)
    found = True
    while found:
        found = False
        neighbors = {symbols[place : place + 2] for place in range(len(symbols) - 1)}
        for pair in merges:
            if pair in neighbors:
                symbols, found = merge_pair(symbols, pair), True
                break
    return list(symbols)


@apply_bpe.alternative
def one_place_at_a_time(word, merges, ranks=None):
    ranks = ranks or {pair: number for number, pair in enumerate(merges)}
    pieces = list(word)
    while len(pieces) > 1:
        best = min(range(len(pieces) - 1), key=lambda i: ranks.get((pieces[i], pieces[i + 1]), len(ranks)))
        if (pieces[best], pieces[best + 1]) not in ranks:
            break
        pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
    return pieces


def drawn_vocabulary(given: Given, letters: str) -> list[str]:
    """Special pieces, all single letters but one inside words, and some longer pieces."""
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters[:-1])]
    for length in (2, 2, 2, 3, 3, 4):
        pieces += [drawn_word(given, letters[:-1], length), f"##{drawn_word(given, letters[:-1], length)}"]
    return [*dict.fromkeys(pieces)]


def pieces_of(word: str, vocabulary: list[str]) -> list[str]:
    """By the reference."""
    tokenizer = WordPiece(vocabulary, ["[UNK]"], lowercase=False)
    return [tokenizer.vocabulary[number] for number in tokenizer.encode_word(word)]


@task("wordpiece")
def wordpiece(student: Student, given: Given) -> Iterator[Case]:
    """The longest piece first; a word that cannot be cut is unknown as a whole."""
    for number, letters in ((1, "abcq"), (2, "abq"), (3, "abcdq")):
        vocabulary = drawn_vocabulary(given, letters)
        for length, weight in ((9, 2), (6, 1)):
            word = drawn_word(given, letters[:-1], length)
            answer = student.wordpiece(word, set(vocabulary))
            yield case(f"{length} letters, {number}", answer, pieces_of(word, vocabulary), weight=weight)
    fixed = [*SPECIAL, "play", "pl", "p", "##ay", "##a", "##y", "##ing", "##i", "##n", "##g", "##s", "ing", "s"]
    fixed += ["Play", "##S"]
    for word in ("playing", "pays", "plays", "ing", "Plays", "playS"):
        yield case(f"the word {word}", student.wordpiece(word, set(fixed)), pieces_of(word, fixed), weight=2)
    for word in ("playful", "zing", "playz", "pingz"):
        yield case(f"unknown: {word}", student.wordpiece(word, set(fixed)), ["[UNK]"], weight=2)
    greedy = ["ab", "abc", "##cd", "##c"]  # "ab" and "##cd" would do, but the longest piece comes first
    yield case("a longest piece that leads nowhere", student.wordpiece("abcd", set(greedy)), ["[UNK]"])
    few = ["a", "##a"]
    yield case("a long word of few pieces", student.wordpiece("aaaaaa", set(few)), ["a", *["##a"] * 5])
    numbered = {piece: number for number, piece in enumerate(fixed)}
    yield case("a dictionary", student.wordpiece("pings", numbered), pieces_of("pings", fixed))


wordpiece.hints(
    "Keep the place at which the next piece begins. For each place try the ends from the end of the word down to the "
    "next character.",
    'The piece to look for is `word[start:end]` at the beginning of the word, and `"##" + word[start:end]` '
    "anywhere else.",
    'If no end fits, `return ["[UNK]"]` at once, whatever pieces were found before.',
)


@wordpiece.misconception(
    "It goes back and tries shorter pieces when the longest leads nowhere. WordPiece never takes a piece back: if no "
    "piece fits behind the longest one, the word is [UNK]."
)
def goes_back(word, vocabulary):
    def cut(start):
        if start == len(word):
            return []
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            behind = cut(end) if piece in vocabulary else None
            if behind is not None:
                return [piece, *behind]
        return None

    return cut(0) or ["[UNK]"]


@wordpiece.misconception(
    "The shortest piece is taken at each place. Try the longest first: the ends from the end of the word downward."
)
def shortest(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(start + 1, len(word) + 1) if prefix + word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.misconception(
    "The first piece has ## in front, too. It marks a piece that continues a word; the first begins one."
)
def marked_from_the_start(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        ends = [end for end in range(len(word), start, -1) if "##" + word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append("##" + word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.misconception(
    "The pieces that were found before stay beside [UNK]. If any part of a word cannot be cut, the whole word is one "
    "[UNK]."
)
def keeps_the_beginning(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary]
        if not ends:
            return [*pieces, "[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.misconception(
    "A character that is in no piece is skipped, and the rest is cut. Then the whole word is unknown: [UNK] alone."
)
def skips_the_unknown(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary]
        if ends:
            pieces.append(prefix + word[start : ends[0]])
        start = ends[0] if ends else start + 1
    return pieces or ["[UNK]"]


@wordpiece.misconception(
    "One [UNK] stands for each character that is in no piece. The whole word becomes a single [UNK]."
)
def unknown_characters(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary]
        pieces.append(prefix + word[start : ends[0]] if ends else "[UNK]")
        start = ends[0] if ends else start + 1
    return pieces


@wordpiece.misconception(
    "The pieces inside a word are looked up without ##. They are other pieces than those that begin a word: look for "
    "## and the letters."
)
def never_marked(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        ends = [end for end in range(len(word), start, -1) if word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.misconception("The pieces are found as they should be, but written without the ## of those inside the word.")
def mark_dropped(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.misconception(
    "A word that cannot be cut gives an empty list, and would vanish from the text; it is to become [UNK]."
)
def empty_for_unknown(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        ends = [end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary]
        if not ends:
            return []
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.misconception(
    "The last character of the word never takes part: the end of a slice is not in it, so the ends begin at len(word)."
)
def end_one_short(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        prefix = "##" if start else ""
        longest = max(start + 1, len(word) - 1)
        ends = [end for end in range(longest, start, -1) if prefix + word[start:end] in vocabulary]
        if not ends:
            return ["[UNK]"]
        pieces.append(prefix + word[start : ends[0]])
        start = ends[0]
    return pieces


@wordpiece.alternative
def two_loops(word, vocabulary):
    pieces, start = [], 0
    while start < len(word):
        end = len(word)
        while end > start:
            piece = word[start:end] if start == 0 else "##" + word[start:end]
            if piece in vocabulary:
                break
            end -= 1
        if end == start:
            return ["[UNK]"]
        pieces.append(piece)
        start = end
    return pieces


@wordpiece.alternative
def shrinking_the_rest(word, vocabulary, unknown="[UNK]"):
    pieces, rest = [], word
    while rest:
        for end in range(len(rest), 0, -1):
            piece = ("##" if pieces else "") + rest[:end]
            if piece in vocabulary:
                pieces.append(piece)
                rest = rest[end:]
                break
        else:
            return [unknown]
    return pieces


@wordpiece.alternative
def by_recursion_on_what_follows(word, vocabulary):
    def cut(rest, prefix):
        if not rest:
            return []
        end = max((e for e in range(1, len(rest) + 1) if prefix + rest[:e] in vocabulary), default=0)
        if end == 0:
            return None
        behind = cut(rest[end:], "##")
        return None if behind is None else [prefix + rest[:end], *behind]

    return cut(word, "") or ["[UNK]"]


def encoded(
    a: list[str], b: list[str], vocabulary: dict[str, int], max_length: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """By the statement, step by step."""
    parts = [[p for word in words for p in pieces_of(word, list(vocabulary))] for words in (a, b)]
    while sum(map(len, parts)) + 3 > max_length:
        parts[0 if len(parts[0]) > len(parts[1]) else 1].pop()
    ids = torch.full((max_length,), vocabulary["[PAD]"])
    segments = torch.zeros(max_length, dtype=torch.int64)
    pieces = ["[CLS]", *parts[0], "[SEP]", *parts[1], "[SEP]"]
    ids[: len(pieces)] = torch.tensor([vocabulary[piece] for piece in pieces])
    segments[len(parts[0]) + 2 : len(pieces)] = 1
    return ids, segments, torch.arange(max_length) < len(pieces)


@task("encode_pair")
def encode_pair(student: Student, given: Given) -> Iterator[Case]:
    """[CLS] a [SEP] b [SEP], segments, a mask, and the end of the longer cut off."""
    parts = ("ids", "segments", "mask")
    pieces = ["the", "cat", "##s", "dog", "sat", "ran", "##ning", "on", "a", "mat", "big", "##ger"]
    # The special pieces stand anywhere but at 0 to 3, so that nobody can write their numbers down.
    listed = [*pieces[:3], "[SEP]", *pieces[3:6], "[PAD]", *pieces[6:8], "[UNK]", *pieces[8:], "[CLS]"]
    vocabulary = {piece: number for number, piece in enumerate(listed)}
    words = ["the", "cats", "dog", "sat", "running", "on", "a", "mat", "bigger", "zebra"]

    def sentence(count: int) -> list[str]:
        return [words[i] for i in given.integers(0, len(words), count).tolist()]

    for name, first, second, length, weight in (
        ("there is room to spare", 3, 4, 20, 3),
        ("the first is the longer", 9, 2, 10, 2),
        ("the second is the longer", 2, 9, 10, 2),
        ("both are too long", 8, 8, 12, 2),
        ("much too long", 7, 6, 5, 1),
    ):
        a, b = sentence(first), sentence(second)
        answer = student.encode_pair(a, b, vocabulary, length)
        right = encoded(a, b, vocabulary, length)
        yield case(name, answer, right, weight=weight, parts=parts, axes=("max_length",) * 3)
    a, b = ["cats", "bigger"], ["dog", "cats"]
    answer = student.encode_pair(a, b, vocabulary, 9)
    right = encoded(a, b, vocabulary, 9)
    yield case("half of a word is dropped", answer, right, weight=2, parts=parts, axes=("max_length",) * 3)
    a, b = ["the", "zebra", "sat"], ["a", "cats"]
    right = encoded(a, b, vocabulary, 9)
    yield case(
        "just enough room", student.encode_pair(a, b, vocabulary, 9), right, parts=parts, axes=("max_length",) * 3
    )


encode_pair.hints(
    "First make two lists of pieces with your `wordpiece`. Then shorten, then put the sequence together, and fill up "
    "last.",
    "There is room for max_length − 3 pieces. While the two lists together are longer, `pop()` the end of the longer "
    "one; of two equally long ones, the second.",
    "The segment is 0 for `len(first) + 2` positions, 1 for `len(second) + 1`, and 0 for the padding.",
)
encode_pair.misconception_patch(
    "separator_in_the_second_segment",
    "The [SEP] between the sentences is in segment 1; it belongs to the first sentence, segment 0.",
    ("[0] * (len(first) + 2) + [1] * (len(second) + 1)", "[0] * (len(first) + 1) + [1] * (len(second) + 2)"),
)
encode_pair.misconception_patch(
    "cuts_at_the_beginning",
    "Pieces are dropped at the beginning of the longer sentence; drop them at its end.",
    ("longer.pop()", "longer.pop(0)"),
)
encode_pair.misconception_patch(
    "mask_inverted",
    "The mask is turned round: True is where there is something to look at, False is the padding.",
    ("mask = [True] * len(pieces) + [False] * padding", "mask = [False] * len(pieces) + [True] * padding"),
)
encode_pair.misconception_patch(
    "special_pieces_cut_away",
    "The whole sequence is cut at max_length, so that [SEP] at its end is lost. Shorten the sentences, and keep the "
    "three special pieces.",
    (
        "    while len(first) + len(second) > max_length - 3:\n"
        "        longer = first if len(first) > len(second) else second\n"
        "        longer.pop()\n"
        '    pieces = ["[CLS]", *first, "[SEP]", *second, "[SEP]"]\n',
        '    pieces = ["[CLS]", *first, "[SEP]", *second, "[SEP]"][:max_length]\n',
    ),
    (
        "[0] * (len(first) + 2) + [1] * (len(second) + 1) + [0] * padding",
        "([0] * (len(first) + 2) + [1] * (len(second) + 1) + [0] * padding)[:max_length]",
    ),
)
encode_pair.misconception_patch(
    "the_second_alone_is_cut",
    "Only the second sentence is shortened. Drop pieces from the longer of the two, comparing anew after each.",
    ("longer = first if len(first) > len(second) else second", "longer = second if second else first"),
)
encode_pair.misconception_patch(
    "ties_from_the_first",
    "Of two sentences that are equally long the first is shortened; the second is to be.",
    ("len(first) > len(second)", "len(first) >= len(second)"),
)
encode_pair.misconception_patch(
    "the_shorter_is_cut",
    "Pieces are dropped from the shorter sentence; the longer one has more to spare.",
    (
        "longer = first if len(first) > len(second) else second",
        "longer = min((second, first), key=len) or max((second, first), key=len)",
    ),
)
encode_pair.misconception_patch(
    "room_for_two",
    "There is room for max_length − 3 pieces: [CLS] and two times [SEP] need three places.",
    ("max_length - 3:", "max_length - 4:"),
)
encode_pair.misconception_patch(
    "no_class_piece",
    "[CLS] is missing at the beginning.",
    ('["[CLS]", *first', "[*first"),
    ("(len(first) + 2)", "(len(first) + 1)"),
)
encode_pair.misconception_patch(
    "no_last_separator",
    "[SEP] is missing behind the second sentence.",
    ('*second, "[SEP]"]', "*second]"),
    ("(len(second) + 1)", "len(second)"),
)
encode_pair.misconception_patch(
    "padding_in_segment_one",
    "The padding has segment 1; it is to have 0.",
    ("(len(second) + 1) + [0] * padding", "(len(second) + 1) + [1] * padding"),
)
encode_pair.misconception_patch(
    "special_pieces_hidden",
    "The mask hides the special pieces. They are there to be looked at; only the padding is hidden.",
    (
        "mask = [True] * len(pieces) + [False] * padding",
        'mask = [piece not in ("[CLS]", "[SEP]") for piece in pieces] + [False] * padding',
    ),
)
encode_pair.misconception_patch(
    "mask_of_integers",
    "The mask has integers in it; it must be of dtype bool.",
    ("mask = [True] * len(pieces) + [False] * padding", "mask = [1] * len(pieces) + [0] * padding"),
)
encode_pair.misconception_patch(
    "padded_with_zero",
    "The padding is filled up with the number 0; use the number that the vocabulary gives to [PAD].",
    ('[vocabulary["[PAD]"]] * padding', "[0] * padding"),
)
encode_pair.misconception_patch(
    "whole_words",
    "The words are looked up whole, and those that the vocabulary does not hold become [UNK]. Cut them with your "
    "`wordpiece` first.",
    (
        "first = [piece for word in a for piece in wordpiece(word, vocabulary)]",
        'first = [word if word in vocabulary else "[UNK]" for word in a]',
    ),
    (
        "second = [piece for word in b for piece in wordpiece(word, vocabulary)]",
        'second = [word if word in vocabulary else "[UNK]" for word in b]',
    ),
)
encode_pair.misconception_patch(
    "cut_at_the_words",
    "Whole words are dropped before they are cut into pieces, so that more is lost than must be. Cut first, and drop "
    "pieces.",
    (
        "    first = [piece for word in a for piece in wordpiece(word, vocabulary)]\n"
        "    second = [piece for word in b for piece in wordpiece(word, vocabulary)]\n"
        "    while len(first) + len(second) > max_length - 3:\n"
        "        longer = first if len(first) > len(second) else second\n"
        "        longer.pop()\n",
        "    a, b = list(a), list(b)\n"
        "    while True:\n"
        "        first = [piece for word in a for piece in wordpiece(word, vocabulary)]\n"
        "        second = [piece for word in b for piece in wordpiece(word, vocabulary)]\n"
        "        if len(first) + len(second) <= max_length - 3:\n"
        "            break\n"
        "        (a if len(first) > len(second) else b).pop()\n",
    ),
)
encode_pair.alternative_patch(
    "how_many_to_keep_first",
    (
        "    while len(first) + len(second) > max_length - 3:\n"
        "        longer = first if len(first) > len(second) else second\n"
        "        longer.pop()\n",
        "    room = max_length - 3\n"
        "    if len(first) + len(second) > room:\n"
        "        keep = max(room - len(second), min(len(first), (room + 1) // 2))\n"
        "        first, second = first[:keep], second[: room - min(keep, len(first))]\n",
    ),
)
encode_pair.alternative_patch(
    "tensors_filled_in",
    (
        'ids = [vocabulary[piece] for piece in pieces] + [vocabulary["[PAD]"]] * padding',
        'ids = torch.full((max_length,), vocabulary["[PAD]"])\n'
        "    ids[: len(pieces)] = torch.tensor([vocabulary[piece] for piece in pieces])",
    ),
    (
        "return torch.tensor(ids), torch.tensor(segments), torch.tensor(mask)",
        "return ids, torch.tensor(segments), torch.arange(max_length) < len(pieces)",
    ),
)
encode_pair.alternative_patch(
    "piece_by_piece",
    (
        "segments = [0] * (len(first) + 2) + [1] * (len(second) + 1) + [0] * padding",
        "segments = [int(len(first) + 2 <= place < len(pieces)) for place in range(max_length)]",
    ),
    (
        "def encode_pair(a, b, vocabulary, max_length):",
        "def encode_pair(a, b, vocabulary, max_length=512, truncation=True):",
    ),
)


@task("find_the_bug_roundtrip", asks="decode")
def find_the_bug_roundtrip(student: Student, given: Given) -> Iterator[Case]:
    """Words with spaces between them, made of pieces."""
    for number in (1, 2):
        vocabulary = drawn_vocabulary(given, "abcq")
        words = [drawn_word(given, "abc", int(n)) for n in given.integers(1, 8, 9)]
        pieces = [piece for word in words for piece in pieces_of(word, vocabulary)]
        yield case(f"nine words, {number}", student.decode(pieces), " ".join(words), weight=2)
    unknown = ["[UNK]", "sat", "on", "[UNK]", "[UNK]", "mat", "##s"]
    yield case("unknown words", student.decode(unknown), "[UNK] sat on [UNK] [UNK] mats", weight=2)
    sharp = ["c", "####", "and", "f", "###", "or", "a#", "##b"]
    yield case("words with a #", student.decode(sharp), "c## and f# or a#b", weight=2)
    yield case("## that is no mark", student.decode(["a##b", "is", "c##", "d"]), "a##b is c## d", weight=2)
    yield case("one word", student.decode(["un", "##do"]), "undo")
    yield case("nothing", student.decode([]), "")


find_the_bug_roundtrip.hints(
    "Put the words together first, in a list, one piece after the other; join the list with spaces at the end.",
    'A piece with `piece.startswith("##")` is added to the last word, without its first two characters, `piece[2:]`; '
    "any "
    "other piece is a new word.",
)


@find_the_bug_roundtrip.misconception("The spaces between the words are lost: join the words with one space.")
def no_spaces(pieces):
    return "".join(piece[2:] if piece.startswith("##") else piece for piece in pieces)


@find_the_bug_roundtrip.misconception(
    "The marks ## are still there: a piece that continues a word is added without its first two characters."
)
def marks_left_in(pieces):
    words = []
    for piece in pieces:
        if piece.startswith("##"):
            words[-1] += piece
        else:
            words.append(piece)
    return " ".join(words)


@find_the_bug_roundtrip.misconception(
    "Unknown words are left out, and nobody sees that something is missing: [UNK] stays in the text."
)
def unknown_dropped(pieces):
    words = []
    for piece in pieces:
        if piece.startswith("##"):
            words[-1] += piece[2:]
        else:
            words.append(piece)
    return " ".join(word for word in words if word != "[UNK]")


@find_the_bug_roundtrip.misconception(
    "Every ## is taken out, also where it belongs to the word: *c##* has lost its signs. Only the mark at the "
    "beginning of a piece is one."
)
def every_mark_taken_out(pieces):
    words = []
    for piece in pieces:
        if piece.startswith("##"):
            words[-1] += piece.replace("##", "")
        else:
            words.append(piece)
    return " ".join(words)


@find_the_bug_roundtrip.misconception(
    "All signs # at the beginning of a piece are taken off; the mark is two of them, and the rest belongs to the word."
)
def stripped(pieces):
    words = []
    for piece in pieces:
        if piece.startswith("##"):
            words[-1] += piece.lstrip("#")
        else:
            words.append(piece)
    return " ".join(words)


@find_the_bug_roundtrip.misconception("There is a space before every piece; those with ## continue the word before.")
def a_space_before_every_piece(pieces):
    return " ".join(piece[2:] if piece.startswith("##") else piece for piece in pieces)


@find_the_bug_roundtrip.misconception(
    "There is a space left over at an end of the text: spaces stand between words only."
)
def space_at_the_end(pieces):
    text = ""
    for piece in pieces:
        text = text.rstrip(" ") + piece[2:] + " " if piece.startswith("##") else text + piece + " "
    return text


@find_the_bug_roundtrip.misconception("This is the list of the words; the text is asked for, a string.")
def a_list_of_words(pieces):
    words = []
    for piece in pieces:
        if piece.startswith("##"):
            words[-1] += piece[2:]
        else:
            words.append(piece)
    return words


@find_the_bug_roundtrip.misconception("It ends with an error for an empty list; that is the empty text.")
def not_for_nothing(pieces):
    words = [pieces[0]]
    for piece in pieces[1:]:
        if piece.startswith("##"):
            words[-1] += piece[2:]
        else:
            words.append(piece)
    return " ".join(words)


@find_the_bug_roundtrip.alternative
def joined_and_replaced(pieces):
    return " ".join(pieces).replace(" ##", "")


@find_the_bug_roundtrip.alternative
def letter_after_letter(pieces):
    text = ""
    for piece in pieces:
        text += piece[2:] if piece[:2] == "##" else (" " if text else "") + piece
    return text


@find_the_bug_roundtrip.alternative
def by_removing_the_mark(pieces, mark="##"):
    spaced = [piece.removeprefix(mark) if piece.startswith(mark) else " " + piece for piece in pieces]
    return "".join(spaced).strip(" ")
