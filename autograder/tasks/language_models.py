"""01-language-models: n-grams, smoothing, perplexity, the first neural language model, drawing words, and training."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from autograder.checking.client.fixtures import LogBilinear, TrainingBatches
from autograder.checking.given import Given
from autograder.checking.student import Student
from autograder.checking.tasks import Case, Evidence, case, expected_gradient, filled, task
from autograder.data.generated import grammar
from autograder.reference import neural_ngram
from autograder.reference import ngrams as reference

WORDS = ("Bird", "cat", "dog", "fish", "goat", "hen", "ibis")
MARKS = ("<s>", "</s>")


def drawn_sentences(given: Given, count: int, longest: int, words: tuple[str, ...] = WORDS) -> list[list[str]]:
    """Sentences of random words, the first of them empty and the second of one word."""
    lengths = [0, 1, *given.integers(2, longest + 1, count - 2).tolist()]
    return [[words[i] for i in given.integers(0, len(words), length).tolist()] for length in lengths]


@task("count_ngrams")
def count_ngrams(student: Student, given: Given) -> Iterator[Case]:
    """n-tuples of words, n − 1 start marks before a sentence and one end mark behind it."""
    for n, name, weight in ((2, "pairs", 2), (3, "triples", 2), (1, "single words", 1), (4, "four words", 1)):
        sentences = drawn_sentences(given, 6, 7)
        yield case(name, student.count_ngrams(sentences, n), dict(reference.count_ngrams(sentences, n)), weight=weight)
    one = [["cat", "cat", "cat"]]
    yield case("a word three times", student.count_ngrams(one, 2), dict(reference.count_ngrams(one, 2)))
    yield case("the same call once more", student.count_ngrams(one, 2), dict(reference.count_ngrams(one, 2)))


count_ngrams.hints(
    "Take one sentence at a time: first put the marks around it, then walk over it.",
    'The padded sentence is `["<s>"] * (n - 1) + sentence + ["</s>"]`, a new list, so that the sentence itself stays '
    "as "
    "it is. With n = 1 there is no start mark.",
    "An n-gram begins at every place up to `len(padded) - n`, that one included; `tuple(padded[i : i + n])` is it.",
)


@count_ngrams.misconception(
    "The sentences are joined before counting, so that n-grams reach over the border of two sentences. Pad and count "
    "each sentence by itself."
)
def across_borders(sentences, n):
    padded = ["<s>"] * (n - 1) + [word for sentence in sentences for word in [*sentence, "</s>"]]
    return Counter(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))


@count_ngrams.misconception(
    "There is one start mark, whatever n is. The first word needs n − 1 of them, so that it too has n − 1 words before "
    "it."
)
def pads_once(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>", *sentence, "</s>"]
        counts.update(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))
    return counts


@count_ngrams.misconception(
    "The last n-gram of each sentence, the one with the end mark, is missing. Without it the model never learns "
    "where a sentence may stop. Is the mark there, and does `range` go as far as `len(padded) - n`, that place "
    "included?"
)
def no_end_mark(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * (n - 1) + list(sentence)
        counts.update(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))
    return counts


@count_ngrams.misconception(
    "There are n − 1 end marks. One is enough: the sentence ends once, and nothing is predicted after that."
)
def pads_the_end_too(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * (n - 1) + list(sentence) + ["</s>"] * max(1, n - 1)
        counts.update(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))
    return counts


@count_ngrams.misconception("No marks are put around the sentences, so that nothing says how sentences begin and end.")
def no_marks(sentences, n):
    counts = Counter()
    for sentence in sentences:
        counts.update(tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1))
    return counts


@count_ngrams.misconception("The n-grams are strings; make each a tuple of n words: a word may have a space in it.")
def joined_to_strings(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * (n - 1) + list(sentence) + ["</s>"]
        counts.update(" ".join(padded[i : i + n]) for i in range(len(padded) - n + 1))
    return counts


@count_ngrams.misconception(
    "Each n-gram is counted once, however often it occurs: add 1 at every place where it stands."
)
def kinds_for_counts(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * (n - 1) + list(sentence) + ["</s>"]
        for i in range(len(padded) - n + 1):
            counts[tuple(padded[i : i + n])] = 1
    return counts


@count_ngrams.misconception("There are n start marks, one too many: the first word has n − 1 words before it.")
def one_start_mark_too_many(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * n + list(sentence) + ["</s>"]
        counts.update(tuple(padded[i : i + n]) for i in range(len(padded) - n + 1))
    return counts


@count_ngrams.misconception(
    "The sentences are cut into pieces of n words that do not overlap. An n-gram begins at every word."
)
def without_overlap(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * (n - 1) + list(sentence) + ["</s>"]
        counts.update(tuple(padded[i : i + n]) for i in range(0, len(padded) - n + 1, n))
    return counts


@count_ngrams.alternative
def zipped(sentences, n):
    counts = Counter()
    for sentence in sentences:
        padded = ["<s>"] * (n - 1) + list(sentence) + ["</s>"]
        counts.update(zip(*(padded[place:] for place in range(n)), strict=False))
    return counts


@count_ngrams.alternative
def plain_dictionary(sentences, n, start="<s>", end="</s>"):
    counts = {}
    for sentence in sentences:
        window = (start,) * n
        for word in [*sentence, end]:
            window = (*window[1:], word)
            counts[window] = counts.get(window, 0) + 1
    return counts


@count_ngrams.alternative
def one_comprehension(sentences, n):
    padded = [(*["<s>"] * (n - 1), *sentence, "</s>") for sentence in sentences]
    return Counter(p[i - n : i] for p in padded for i in range(n, len(p) + 1))


@task("smoothed_bigram")
def smoothed_bigram(student: Student, given: Given) -> Iterator[Case]:
    """(c(v w) + k) / (c(v) + k V), a row for each word before."""
    vocabulary = [*WORDS[:5], *MARKS]
    for name, k, weight in (("k = 1", 1, 2), ("k = 0.1", 0.1, 2), ("no smoothing", 0, 2)):
        counts = reference.count_ngrams(drawn_sentences(given, 7, 6, WORDS[:4]), 2)  # the fifth word never occurs
        order = [vocabulary[i] for i in given.permutation(len(vocabulary)).tolist()]
        answer = student.smoothed_bigram(dict(counts), order, k)
        right = smoothed(counts, order, k)
        yield case(name, answer, right, weight=weight, axes="V V")
    unseen, told = right == 0, "the largest probability of a pair that was never seen"
    yield case("what was never seen", answer, right, measure=largest_at(unseen), at_most=0, measures=told, axes="V V")
    words = [f"w{i}" for i in range(11)]
    counts = Counter({(a, b): int(n) for a, b, n in zip(words, words[3:], given.integers(1, 9, 8), strict=False)})
    answer = student.smoothed_bigram(dict(counts), words, 0.5)
    yield case("another vocabulary", answer, smoothed(counts, words, 0.5), axes="V V")


def largest_at(places: torch.Tensor) -> Callable[[torch.Tensor], float]:
    """The largest number, without its sign, at some places of a tensor."""
    return lambda got: float(got[places].abs().max()) if bool(places.any()) else 0.0


def smoothed(counts: Counter[tuple[str, ...]], vocabulary: list[str], k: float) -> torch.Tensor:
    """The same by the formula, number by number, (V, V)."""
    V = len(vocabulary)
    total = {v: sum(counts[v, w] for w in vocabulary) for v in vocabulary}
    rows = [
        [(counts[v, w] + k) / (total[v] + k * V) if total[v] + k * V else 1 / V for w in vocabulary] for v in vocabulary
    ]
    return torch.tensor(rows)


smoothed_bigram.equivalent(
    "table[table.sum(dim=1) == 0] = 2", "each row is divided by its sum, so any number above 0 in all places will do"
)
smoothed_bigram.equivalent(
    "table[table.mean(dim=1) == 0] = 1", "no number is below 0, so the mean is 0 exactly where the sum is"
)
smoothed_bigram.hints(
    "Make a table of zeros first, (V, V), and a dictionary from each word to its number; then write the counts into "
    "it, the word before choosing the row.",
    "Add k to every number of the table. Then the sum of a row is c(v) + kV by itself: divide each row by its sum, "
    "`table.sum(dim=1, keepdim=True)`.",
    "With k = 0 a row in which nothing was counted sums to 0. Put 1 into all of its places before you divide.",
)


@smoothed_bigram.misconception(
    "The columns sum to 1. What is shared out is the probability of what follows a word, so each *row* must sum to 1."
)
def normalizes_columns(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table = table + k
    table[:, table.sum(dim=0) == 0] = 1
    return table / table.sum(dim=0, keepdim=True)


@smoothed_bigram.misconception(
    "k is added to the counts and not to what they are divided by, so the rows sum to more than 1. The denominator "
    "grows by k for each of the V words: c(v) + kV."
)
def numerator_only(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    totals = table.sum(dim=1, keepdim=True)
    return torch.where(totals > 0, (table + k) / totals.clamp(min=1), torch.full_like(table, 1 / len(vocabulary)))


@smoothed_bigram.misconception(
    "The row of a word that was never counted is NaN where k is 0: that is 0/0. Nothing is known there, so all words "
    "are equally likely, 1/V."
)
def unseen_row_is_nan(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table = table + k
    return table / table.sum(dim=1, keepdim=True)


@smoothed_bigram.misconception(
    "The row of a word that was never counted is all 0 where k is 0, and sums to 0. Something has to follow: give "
    "every word 1/V there."
)
def unseen_row_is_zero(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table = table + k
    return table / table.sum(dim=1, keepdim=True).clamp(min=1e-12)


@smoothed_bigram.misconception(
    "The table is turned: the row must belong to the word *before*, and the column to the word that follows."
)
def turned(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[word], number[before]] = count
    table = table + k
    table[table.sum(dim=1) == 0] = 1
    return table / table.sum(dim=1, keepdim=True)


@smoothed_bigram.misconception(
    "k is added only to the pairs that were seen. It is for those that were not: every pair gets it."
)
def seen_pairs_only(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count + k
    table[table.sum(dim=1) == 0] = 1
    return table / table.sum(dim=1, keepdim=True)


@smoothed_bigram.misconception("The denominator grows by k once. Each of the V words got k, so it grows by k times V.")
def denominator_grows_once(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    totals = table.sum(dim=1, keepdim=True) + k
    return torch.where(totals > 0, (table + k) / totals, torch.full_like(table, 1 / len(vocabulary)))


@smoothed_bigram.misconception(
    "All numbers of the table together sum to 1: that is how likely a pair is, P(v, w). Asked for is how likely w is "
    "*after* v: divide each row by its own sum."
)
def joint_probability(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table = table + k
    return table / table.sum()


@smoothed_bigram.misconception("These are logarithms; the probabilities themselves are asked for.")
def logarithms(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table = table + k
    table[table.sum(dim=1) == 0] = 1
    return (table / table.sum(dim=1, keepdim=True)).log()


@smoothed_bigram.misconception(
    "The numbers follow the words in alphabetical order; row and column i belong to `vocabulary[i]`, in the order "
    "given."
)
def sorted_vocabulary(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(sorted(vocabulary))}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table = table + k
    table[table.sum(dim=1) == 0] = 1
    return table / table.sum(dim=1, keepdim=True)


@smoothed_bigram.misconception("k is not used at all.")
def k_ignored(counts, vocabulary, k):
    number = {word: i for i, word in enumerate(vocabulary)}
    table = torch.zeros(len(vocabulary), len(vocabulary))
    for (before, word), count in counts.items():
        table[number[before], number[word]] = count
    table[table.sum(dim=1) == 0] = 1
    return table / table.sum(dim=1, keepdim=True)


@smoothed_bigram.alternative
def row_by_row(counts, vocabulary, k):
    V, rows = len(vocabulary), []
    for before in vocabulary:
        row = torch.tensor([counts.get((before, word), 0) + k for word in vocabulary], dtype=torch.float32)
        rows.append(row / row.sum() if row.sum() > 0 else torch.ones(V) / V)
    return torch.stack(rows)


@smoothed_bigram.alternative
def by_the_formula(counts, vocabulary, k):
    V = len(vocabulary)
    table = torch.full((V, V), 1 / V)
    for i, before in enumerate(vocabulary):
        total = sum(counts.get((before, word), 0) for word in vocabulary)
        for j, word in enumerate(vocabulary):
            if total + k * V > 0:
                table[i, j] = (counts.get((before, word), 0) + k) / (total + k * V)
    return table


@smoothed_bigram.alternative
def added_up_by_index(counts, vocabulary, k, dtype=torch.float32):
    V, places = len(vocabulary), {word: i for i, word in enumerate(vocabulary)}
    table = torch.full((V, V), float(k), dtype=torch.float64)
    rows = torch.tensor([places[before] for before, _ in counts])
    columns = torch.tensor([places[word] for _, word in counts])
    table.index_put_((rows, columns), torch.tensor(list(counts.values()), dtype=torch.float64), accumulate=True)
    return torch.nan_to_num(table / table.sum(dim=1, keepdim=True), nan=1 / V).to(dtype)


@task("perplexity")
def perplexity(student: Student, given: Given) -> Iterator[Case]:
    """exp of the mean negative logarithm."""

    def expected(log_probs: torch.Tensor) -> torch.Tensor:
        return torch.tensor(reference.perplexity(log_probs.double()), dtype=torch.float32)

    few = torch.log_softmax(given.normal(6, 9), dim=-1)[torch.arange(6), given.integers(0, 9, 6)]
    yield case("six words", student.perplexity(few), expected(few), weight=2)
    short = -0.2 - given.uniform(3)
    yield case("three words", student.perplexity(short), expected(short), weight=2)
    long = -1.0 - 5.0 * given.uniform(3_000)
    yield case("three thousand words", student.perplexity(long), expected(long), weight=2)
    rare = -7.0 - 3.0 * given.uniform(60)
    yield case("sixty rare words", student.perplexity(rare), expected(rare))
    even = torch.full((7,), -math.log(12.0))
    yield case("twelve words, all alike", student.perplexity(even), torch.tensor(12.0))
    impossible = torch.cat([few, torch.tensor([-math.inf])])
    yield case("an impossible word", student.perplexity(impossible), torch.tensor(math.inf), telling=False)


perplexity.hints(
    "What is the product of three thousand numbers below one half, on a computer? Print it.",
    "The logarithm of a product is the sum of the logarithms, and the N-th root becomes a division by N. So the mean "
    "of the logarithms is all that is needed, and one exponential at the end.",
)


@perplexity.misconception(
    "The logarithms are summed and not averaged, so the number grows with the length of the text. Divide by the number "
    "of words before taking the exponential."
)
def sum_for_mean(log_probs):
    return torch.exp(-log_probs.sum())


@perplexity.misconception(
    "The sign is lost: a perplexity is at least 1. Log-probabilities are negative, so turn the sign of their mean "
    "round before taking the exponential."
)
def sign_lost(log_probs):
    return torch.exp(log_probs.mean())


@perplexity.misconception(
    "A power of 2 is taken of natural logarithms. Both must have the same base: these are natural ones, so it is exp."
)
def base_two(log_probs):
    return 2 ** (-log_probs.mean())


@perplexity.misconception("This is the cross-entropy, the mean of −log p; the perplexity is its exponential.")
def cross_entropy_alone(log_probs):
    return -log_probs.mean()


@perplexity.misconception(
    "This is the arithmetic mean of 1/p. The perplexity is the geometric mean: average the logarithms first, then take "
    "the exponential."
)
def arithmetic_mean(log_probs):
    return torch.exp(-log_probs).mean()


@perplexity.misconception(
    "This is one over the mean probability. Average the logarithms, not the probabilities: one word that was thought "
    "impossible must count."
)
def mean_probability(log_probs):
    return 1 / torch.exp(log_probs).mean()


@perplexity.misconception(
    "The probabilities are multiplied with each other, and the product of many is too small for any float: it "
    "becomes 0. Stay with the logarithms."
)
def product_of_probabilities(log_probs):
    return torch.exp(log_probs).prod() ** (-1 / len(log_probs))


@perplexity.misconception("A logarithm is taken of logarithms: `log_probs` are logarithms already.")
def logarithm_twice(log_probs):
    return torch.exp(-torch.log(-log_probs).mean())


@perplexity.alternative
def python_floats(log_probs):
    values = log_probs.tolist()
    mean = -math.fsum(values) / len(values)
    return math.exp(mean) if mean < 700 else math.inf


@perplexity.alternative
def geometric_mean_in_numpy(log_probs, base=np.e):
    return float(base ** -log_probs.double().numpy().mean())


@perplexity.alternative
def added_one_by_one(log_probs):
    total = torch.zeros((), dtype=torch.float64)
    for value in log_probs:
        total = total - value
    return (total / len(log_probs)).exp()


@task("neural_language_model", asks="NeuralLanguageModel")
def neural_language_model(student: Student, given: Given) -> Iterator[Case]:
    """U tanh(H x + d) + b, the words' vectors side by side in x."""
    for name, (V, C, E, H), B, weight in (
        ("two words of context", (9, 2, 3, 5), 4, 2),
        ("four words of context", (11, 4, 2, 7), 3, 2),
        ("one word of context, one sentence", (6, 1, 4, 3), 1, 1),
    ):
        model = neural_ngram.NeuralLanguageModel(V, C, E, H)
        weights = given.weights(model)
        filled(model, weights)
        theirs = student.NeuralLanguageModel(V, C, E, H).load(weights)
        ids = given.integers(0, V, B, C)
        yield case(name, theirs(ids), model(ids), weight=weight, axes="B V")
    same = torch.tensor([[4, 2], [2, 4], [4, 4]])
    model = neural_ngram.NeuralLanguageModel(8, 2, 3, 6)
    weights = given.weights(model)
    filled(model, weights)
    theirs = student.NeuralLanguageModel(8, 2, 3, 6).load(weights)
    yield case("the same words in another order", theirs(same), model(same), weight=2, axes="B V")
    upstream = given.normal(3, 8)
    yield case(
        "gradients",
        theirs.gradient(same, upstream=upstream),
        expected_gradient(model, same, upstream=upstream),
    )


neural_language_model.equivalent(
    "side_by_side = vectors.reshape(len(vectors), -1)", "the vectors have the same first axis as the ids"
)
neural_language_model.hints(
    "Write the shape behind every line: ids (B, C), their vectors (B, C, E), side by side (B, C·E), hidden (B, H), "
    "logits (B, V).",
    "`self.embedding(ids)` looks all vectors up at once. `flatten(1)` puts those of one context end to end, the "
    "farthest word first, as in ids.",
    "tanh comes after `self.hidden` and nothing comes after `self.output`: logits are asked for.",
)
neural_language_model.misconception_patch(
    "averages",
    "The vectors are averaged. Then the order of the words is lost, and the hidden layer gets E numbers where it waits "
    "for C·E: put them side by side.",
    ("vectors.reshape(len(ids), -1)", "vectors.mean(dim=1).repeat(1, ids.shape[1])"),
)
neural_language_model.misconception_patch(
    "sums",
    "The vectors are added up, so that *dog bites* and *bites dog* look the same. Put them side by side.",
    ("vectors.reshape(len(ids), -1)", "vectors.sum(dim=1).repeat(1, ids.shape[1])"),
)
neural_language_model.misconception_patch(
    "softmax_inside",
    "These are probabilities; the logits before the softmax are asked for. The loss takes its softmax itself, and a "
    "second one would flatten everything.",
    ("return self.output(hidden)", "return self.output(hidden).softmax(dim=-1)"),
)
neural_language_model.misconception_patch(
    "log_softmax_inside",
    "These are log-probabilities; the logits themselves are asked for, as the last layer gives them.",
    ("return self.output(hidden)", "return self.output(hidden).log_softmax(dim=-1)"),
)
neural_language_model.misconception_patch(
    "context_turned_round",
    "The words of the context are in the wrong order: their vectors stand side by side as the words do, the farthest "
    "first.",
    ("vectors.reshape(len(ids), -1)", "vectors.flip(1).reshape(len(ids), -1)"),
)
neural_language_model.misconception_patch(
    "interleaved",
    "The numbers of the vectors are interleaved: first all first numbers, then all second ones. All numbers of one "
    "word come first, then all of the next: no axes have to change places.",
    ("vectors.reshape(len(ids), -1)", "vectors.transpose(1, 2).reshape(len(ids), -1)"),
)
neural_language_model.misconception_patch(
    "no_tanh",
    "The tanh is missing. Two matrices one after the other are one matrix, and the hidden layer would be of no use.",
    ("torch.tanh(self.hidden(side_by_side))", "self.hidden(side_by_side)"),
)
neural_language_model.misconception_patch(
    "relu",
    "There is a ReLU where Bengio et al. have tanh.",
    ("torch.tanh(self.hidden(side_by_side))", "F.relu(self.hidden(side_by_side))"),
)
neural_language_model.misconception_patch(
    "sigmoid",
    "There is a sigmoid where Bengio et al. have tanh: no hidden unit could be negative.",
    ("torch.tanh(self.hidden(side_by_side))", "torch.sigmoid(self.hidden(side_by_side))"),
)
neural_language_model.misconception_patch(
    "tanh_at_the_end",
    "The tanh is around the logits too, so that none can be larger than 1 and no word can ever be likely.",
    ("return self.output(hidden)", "return torch.tanh(self.output(hidden))"),
)
neural_language_model.misconception_patch(
    "tanh_of_the_vectors",
    "The tanh is taken of the word vectors. It belongs around the hidden layer, after H and d.",
    ("torch.tanh(self.hidden(side_by_side))", "self.hidden(torch.tanh(side_by_side))"),
)
neural_language_model.alternative_patch("flattened", ("vectors.reshape(len(ids), -1)", "vectors.flatten(start_dim=1)"))
neural_language_model.alternative_patch(
    "joined_word_by_word",
    (
        "vectors.reshape(len(ids), -1)",
        "torch.cat([vectors[:, place] for place in range(ids.shape[1])], dim=-1)",
    ),
)
neural_language_model.alternative_patch(
    "functional",
    ("vectors = self.embedding(ids)", "vectors = F.embedding(ids, self.embedding.weight)"),
    ("return self.output(hidden)", "return hidden @ self.output.weight.T + self.output.bias"),
    ("def forward(self, ids):", "def forward(self, ids, temperature=1.0):"),
)
neural_language_model.alternative_patch(
    "one_matrix_for_each_place",
    (
        "torch.tanh(self.hidden(side_by_side))",
        'torch.tanh(torch.einsum("bce,hce->bh", vectors, self.hidden.weight.view(self.hidden.out_features, '
        "ids.shape[1], -1)) + self.hidden.bias)",
    ),
)

ROWS = 20_000
"""Draws in a case. A share is further off than ``OFF`` with a probability below 1e-8, by Hoeffding's inequality."""

OFF = math.sqrt(math.log(2e8) / (2 * ROWS))
LOGITS = torch.tensor([1.2, -0.4, 0.3, -2.0, 0.9])


def shares(ids: torch.Tensor) -> torch.Tensor:
    """How often each of the five words was drawn."""
    return torch.bincount(ids.clamp(0, len(LOGITS) - 1), minlength=len(LOGITS)) / len(ids)


def off(temperature: float) -> Callable[[torch.Tensor], float]:
    """How far the shares are from those that a temperature asks for."""
    wanted = (LOGITS / temperature).softmax(dim=-1)

    def largest(ids: torch.Tensor) -> float:
        return float((shares(ids) - wanted).abs().max()) if bool((ids < len(LOGITS)).all() & (ids >= 0).all()) else 1.0

    return largest


def drawn_as(name: str, wanted: torch.Tensor) -> Callable[[Evidence], bool]:
    """Recognizes draws by their shares in a case."""

    def probe(evidence: Evidence) -> bool:
        ids = evidence.get(name)
        if not isinstance(ids, torch.Tensor) or ids.dtype != torch.int64 or ids.shape != (ROWS,):
            return False
        return float((shares(ids) - wanted).abs().max()) <= OFF

    return probe


def all_alike(name: str) -> Callable[[Evidence], bool]:
    """Recognizes draws that are the same for all rows of a case."""

    def probe(evidence: Evidence) -> bool:
        ids = evidence.get(name)
        return isinstance(ids, torch.Tensor) and ids.ndim == 1 and len(ids) > 1 and ids.unique().numel() == 1

    return probe


@task("sample_next")
def sample_next(student: Student, given: Given) -> Iterator[Case]:
    """A draw from softmax(logits / temperature) for each row."""
    V = 7
    sure = given.permutation(V)[:6]
    logits = torch.full((6, V), -math.inf)
    logits[torch.arange(6), sure] = given.normal(6)
    source = student.fixture("generator", given.seed())
    yield case("one possible word in each row", student.sample_next(logits, 1.0, source), sure, axes="B", weight=2)

    source = student.fixture("generator", given.seed())
    yield case("a single row", student.sample_next(logits[:1], 1.0, source), sure[:1], axes="B")
    cold = torch.tensor([[2.0, 0.0, -1.0], [-3.0, 0.5, 4.0]])
    answer = student.sample_next(cold, 0.02, source)
    yield case("a temperature of 0.02", answer, torch.tensor([0, 2]), axes="B")

    rows, ids = LOGITS.expand(ROWS, -1), torch.zeros(ROWS, dtype=torch.int64)
    apart = "the largest difference between a word's share of the draws and its probability"
    equal = "the share of the draws that are those of another call"
    first = student.sample_next(rows.clone(), 1.0, student.fixture("generator", given.seed()))
    yield case("temperature 1", first, ids, measure=off(1.0), at_most=OFF, measures=apart, weight=2, axes="B")
    for name, temperature in (("temperature 0.5", 0.5), ("temperature 2", 2.0)):
        answer = student.sample_next(rows.clone(), temperature, student.fixture("generator", given.seed()))
        yield case(name, answer, ids, measure=off(temperature), at_most=OFF, measures=apart, weight=2, axes="B")

    impossible = rows.clone()
    impossible[:, 1] = -math.inf
    answer = student.sample_next(impossible, 5.0, student.fixture("generator", given.seed()))
    told = "the number of draws of a word that is impossible"
    yield case("an impossible word", answer, ids, measure=lambda got: float((got == 1).sum()), at_most=0, measures=told)

    def same_as_first(got: torch.Tensor) -> float:
        return float((got == first.value).float().mean()) if isinstance(first.value, torch.Tensor) else 1.0

    # Two independent draws agree in a third of the rows or so; see ``ROWS`` for the probability of more than half.
    source = student.fixture("generator", given.seed())
    other = student.sample_next(rows.clone(), 1.0, source)
    yield case("another generator", other, ids, measure=same_as_first, at_most=0.5, measures=equal, axes="B")

    def same_as_other(got: torch.Tensor) -> float:
        return float((got == other.value).float().mean()) if isinstance(other.value, torch.Tensor) else 1.0

    again = student.sample_next(rows.clone(), 1.0, source)
    yield case("the same generator once more", again, ids, measure=same_as_other, at_most=0.5, measures=equal, axes="B")


for same_axis in ("", ", dim=1"):
    sample_next.equivalent(
        f"probabilities = F.softmax(logits / temperature{same_axis})", "the last axis of (B, V) is the second"
    )
sample_next.equivalent(
    "drawn = torch.multinomial(probabilities, 2, generator=generator)",
    "of two words the first is taken, which is drawn by the same probabilities as a single one",
)
sample_next.equivalent("return drawn[:, -1]", "one word is drawn for each row, so the last is the first")
sample_next.hints(
    "First make probabilities of the logits, a row at a time: divide by the temperature, then the softmax over the "
    "last axis.",
    "`torch.multinomial(probabilities, 1, generator=generator)` draws one number from each row; its result has shape "
    "(B, 1).",
)


@sample_next.misconception(
    "The logits are multiplied by the temperature. A high temperature must make the draws more even: divide by it.",
    drawn_as("temperature 0.5", (LOGITS * 0.5).softmax(dim=-1)),
)
def multiplies_by_temperature(logits, temperature, generator):
    return torch.multinomial((logits * temperature).softmax(dim=-1), 1, generator=generator)[:, 0]


@sample_next.misconception(
    "The likeliest word is taken every time. It must be drawn: a word with probability 0.2 is to come in one case of "
    "five.",
    lambda evidence: (
        drawn_as("temperature 2", F.one_hot(LOGITS.argmax(), len(LOGITS)).float())(evidence)
        and not all_alike("one possible word in each row")(evidence)
    ),
)
def takes_the_likeliest(logits, temperature, generator):
    return logits.argmax(dim=-1)


def _equal(evidence: Evidence, one: str, other: str) -> bool:
    a, b = evidence.get(one), evidence.get(other)
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)) or not a.shape == b.shape == (ROWS,):
        return False
    return torch.equal(a, b) and a.unique().numel() > 1


@sample_next.misconception(
    "What is drawn does not depend on the generator that was handed in: hand it to the function that draws, and "
    "leave its seed alone.",
    lambda evidence: _equal(evidence, "temperature 1", "another generator"),
)
def generator_ignored(logits, temperature, generator):
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1)[:, 0]


@sample_next.misconception(
    "The generator is set back before each draw, so the same draws come again and again. Leave its seed alone.",
    lambda evidence: (
        _equal(evidence, "another generator", "the same generator once more")
        and not _equal(evidence, "temperature 1", "another generator")
    ),
)
def generator_set_back(logits, temperature, generator):
    generator.manual_seed(generator.initial_seed())
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)[:, 0]


@sample_next.misconception(
    "The temperature has no effect: after the softmax, dividing all probabilities by one number changes none of their "
    "shares. Divide the logits, before the softmax.",
    drawn_as("temperature 0.5", LOGITS.softmax(dim=-1)),
)
def temperature_after_softmax(logits, temperature, generator):
    return torch.multinomial(logits.softmax(dim=-1) / temperature, 1, generator=generator)[:, 0]


@sample_next.misconception(
    "The softmax runs over the batch: the numbers of one row must sum to 1, so it is dim=-1.",
    lambda evidence: (  # where a word is impossible in all rows, such a softmax is NaN, and nothing can be drawn
        evidence["one possible word in each row"] is None
        and drawn_as("temperature 1", torch.full((len(LOGITS),), 1 / len(LOGITS)))(evidence)
    ),
)
def softmax_over_the_batch(logits, temperature, generator):
    return torch.multinomial((logits / temperature).softmax(dim=0), 1, generator=generator)[:, 0]


@sample_next.misconception("One axis of size 1 is left over: there is to be one number for each row, (B,).")
def axis_left_over(logits, temperature, generator):
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)


@sample_next.misconception(
    "One word is drawn, from the first row, for all rows. Each row has its own distribution and its own draw.",
    all_alike("one possible word in each row"),
)
def one_draw_for_all(logits, temperature, generator):
    drawn = torch.multinomial((logits[0] / temperature).softmax(dim=-1), 1, generator=generator)
    return drawn.expand(len(logits)).clone()


@sample_next.misconception("The drawn words are floats; a word's number is an integer, int64.")
def floats(logits, temperature, generator):
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)[:, 0].float()


@sample_next.misconception("These are the probabilities; a word is to be drawn from them for each row.")
def probabilities_for_draws(logits, temperature, generator):
    return (logits / temperature).softmax(dim=-1)


@sample_next.alternative
def inverse_of_the_distribution(logits, temperature, generator):
    cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    cumulative = cumulative / cumulative[:, -1:]
    thrown = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64)
    return (cumulative <= thrown).sum(dim=-1)


@sample_next.alternative
def gumbel_maximum(logits, temperature, generator, eps=1e-20):
    thrown = torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp(min=eps)
    return (logits / temperature - torch.log(-torch.log(thrown))).argmax(dim=-1)


@sample_next.alternative
def row_by_row_by_numpy(logits, temperature, generator):
    seed = int(torch.randint(2**31, (1,), generator=generator))
    rng = np.random.default_rng(seed)
    p = torch.softmax(logits.double() / temperature, dim=-1).numpy().cumsum(axis=1)
    return torch.from_numpy((p / p[:, -1:] <= rng.random((len(p), 1))).sum(axis=1))


@sample_next.alternative
def keyword_arguments(logits, temperature=1.0, generator=None):
    weights = torch.exp(logits / temperature - (logits / temperature).amax(dim=-1, keepdim=True))
    return torch.multinomial(weights, num_samples=1, replacement=True, generator=generator).squeeze(1)


CONTEXT, WIDTH, STEPS, BATCH = 2, 16, 150, 64
RATE = 0.02
ENOUGH = 34.0
"""Perplexity. With ten seeds the worked answer reaches 26 to 30; with a new optimizer at every step it is over 40."""


class Lesson(NamedTuple):
    """What is trained on, and what comes of it.

    Attributes:
        train, secret: three neighboring words, (N, C + 1), to learn from and to be judged by.
        held_out: contexts (N, C) and words (N,) that are not theirs. What a model has learned is worse than useless
            there, and its perplexity, in the thousands, is never near that of a batch.
        weights: of the model, at the beginning.
        batch: how the batches are drawn, but for the number of steps.
        right: the model after each number of steps.
    """

    train: torch.Tensor
    secret: torch.Tensor
    held_out: tuple[torch.Tensor, torch.Tensor]
    weights: dict[str, torch.Tensor]
    batch: dict[str, int]
    right: dict[int, LogBilinear]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Of the model: V, C, E."""
        return len(self.weights["bias"]), CONTEXT, WIDTH


@lru_cache(maxsize=4)
def lesson(seed: int) -> Lesson:
    """Sentences by a grammar, with the words numbered in an order of their own; the same for every student."""
    given = Given(seed.to_bytes(8, "big"), "lesson")
    made = [s.words for s in grammar.sentences(1_200, np.random.default_rng(given.seed()))]
    words = sorted({word for sentence in made for word in sentence} | set(MARKS))
    number = dict(zip(words, given.permutation(len(words)).tolist(), strict=True))
    rows = []
    for sentence in made:
        padded = [MARKS[0]] * CONTEXT + [*sentence, MARKS[1]]
        rows += [[number[w] for w in padded[i : i + CONTEXT + 1]] for i in range(len(padded) - CONTEXT)]
    text = torch.tensor(rows)
    cut = len(text) * 7 // 10
    train, held_out, secret = text[:cut], text[cut : cut + 1_700], text[cut + 1_700 :]
    weights = {name: 0.6 * w for name, w in given.weights(LogBilinear(len(words), CONTEXT, WIDTH)).items()}
    batch = {"batch_size": BATCH, "seed": given.seed()}
    right = {}
    for steps in (1, 3, STEPS):
        model = right[steps] = LogBilinear(len(words), CONTEXT, WIDTH)
        model.load_state_dict(weights)
        optimizer = torch.optim.Adam(model.parameters(), RATE)
        for contexts, following in TrainingBatches(train[:, :-1], train[:, -1], steps=steps, **batch):
            optimizer.zero_grad()
            F.cross_entropy(model(contexts), following).backward()
            optimizer.step()
        model.requires_grad_(False)
    return Lesson(train, secret, (held_out[:, :-1], held_out[:, -1].roll(1)), weights, batch, right)


@task("train_language_model", seconds=20)
def train_language_model(student: Student, given: Given) -> Iterator[Case]:
    """A loop over batches with Adam, and the perplexity on text that was held out."""
    here = lesson(given.seed())
    shown = here.secret[:40, :-1]

    def trained(steps: int) -> tuple[Any, Any]:
        """The student's model after so many steps, and what came back."""
        theirs = student.fixture("LogBilinear", *here.sizes).load(here.weights)
        text = here.train[:, :-1], here.train[:, -1]
        batches = student.fixture("TrainingBatches", *text, steps=steps, **here.batch)
        return theirs, student.train_language_model(theirs, batches, here.held_out, RATE)

    # Adam's first steps are as large as the rate wherever a gradient is not 0: rounding cannot be told from a gradient
    # of 1e-9 there, so the tolerance is that of one step.
    for name, steps in (("after one step", 1), ("after three steps", 3)):
        theirs, reached = trained(steps)
        if reached.failure:
            yield case(name, reached, weight=2)
        else:
            yield case(name, theirs(shown), here.right[steps](shown), weight=2, axes="B V", tolerance=RATE)

    theirs, reached = trained(STEPS)
    contexts, words = here.held_out
    right = float(F.cross_entropy(here.right[STEPS](contexts), words).exp())
    yield case("the perplexity returned", reached, right, weight=3, tolerance=right / 2_000)
    if not reached.failure:

        def perplexity_on_it(logits: torch.Tensor) -> float:
            return float(F.cross_entropy(logits.float(), here.secret[:, -1]).exp())

        yield case(
            "text that nobody saw",
            theirs(here.secret[:, :-1]),
            torch.zeros(len(here.secret), here.sizes[0]),
            measure=perplexity_on_it,
            at_most=ENOUGH,
            measures="the perplexity on it",
            weight=3,
        )


train_language_model.hints(
    "One step has five lines: logits from the model, the loss, the old gradients away, the new gradients, and then the "
    "optimizer's step.",
    "The optimizer is made once, before the loop: `torch.optim.Adam(model.parameters(), lr=learning_rate)`. The loop "
    "is `for contexts, words in batches:`.",
    "After the loop, under `torch.no_grad()`: the exponential of the mean cross-entropy on the two tensors of "
    "`held_out`, as a Python float.",
)
train_language_model.misconception_patch(
    "forgets_zero_grad",
    "The old gradients are never taken away: `backward` adds to what is there, so every step follows the sum of all "
    "batches so far. Call `optimizer.zero_grad()` in every step.",
    ("        optimizer.zero_grad()\n", ""),
)
train_language_model.misconception_patch(
    "steps_before_backward",
    "The step comes before `backward`: it changes the weights by the gradients of the batch before, and the new ones "
    "are then computed for weights that are no longer there. First `loss.backward()`, then `optimizer.step()`.",
    (
        "        optimizer.zero_grad()\n        loss.backward()\n        optimizer.step()\n",
        "        optimizer.step()\n        optimizer.zero_grad()\n        loss.backward()\n",
    ),
)
train_language_model.misconception_patch(
    "never_moves",
    "The model has not changed at all: either `optimizer.step()` is missing, or it is called where there are no "
    "gradients, between `zero_grad` and `backward`.",
    ("        optimizer.step()\n", ""),
)
train_language_model.misconception_patch(
    "evaluates_on_training_data",
    "The perplexity that is returned is that of the last batch of training. A model must be judged on text that it has "
    "not learned from: `held_out`.",
    ("    contexts, words = held_out\n", ""),
)
train_language_model.misconception_patch(
    "returns_the_loss",
    "What is returned is the mean cross-entropy; the perplexity is its exponential.",
    ("loss.exp().item()", "loss.item()"),
)
train_language_model.misconception_patch(
    "learns_to_repeat",
    "The targets are the last words of the contexts, which the model has just read: it learns to repeat. The second "
    "tensor of a batch holds the words that follow.",
    (
        "loss = F.cross_entropy(model(contexts), words)\n        optimizer",
        "loss = F.cross_entropy(model(contexts), contexts[:, -1])\n        optimizer",
    ),
)
train_language_model.misconception_patch(
    "softmax_twice",
    "There is a softmax before the cross-entropy, which takes its own: hand it the logits as they are.",
    (
        "loss = F.cross_entropy(model(contexts), words)\n        optimizer",
        "loss = F.cross_entropy(model(contexts).softmax(dim=-1), words)\n        optimizer",
    ),
)
train_language_model.misconception_patch(
    "optimizer_made_anew",
    "A new optimizer is made in every step. Adam remembers its past gradients, and a new one has no memory: make it "
    "once, before the loop.",
    (
        "        loss = F.cross_entropy(model(contexts), words)\n        optimizer",
        "        optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)\n"
        "        loss = F.cross_entropy(model(contexts), words)\n        optimizer",
    ),
)
train_language_model.misconception_patch(
    "climbs",
    "The loss grows: its sign is turned round, and the optimizer goes down the wrong function.",
    ("        loss.backward()\n", "        (-loss).backward()\n"),
)
train_language_model.misconception_patch(
    "rate_ignored",
    "The learning rate that was handed in is not used: give it to the optimizer, lr=learning_rate.",
    ("torch.optim.Adam(model.parameters(), lr=learning_rate)", "torch.optim.Adam(model.parameters())"),
)
train_language_model.misconception_patch(
    "plain_descent",
    "This is plain gradient descent; Adam is asked for.",
    ("torch.optim.Adam(", "torch.optim.SGD("),
)
train_language_model.misconception_patch(
    "stops_after_one_batch",
    "The training stops after the first batch: the loop has to go over all batches. Is there a `return` or a `break` "
    "in it?",
    ("        optimizer.step()\n", "        optimizer.step()\n        break\n"),
)
train_language_model.alternative_patch(
    "gradients_taken_away_at_the_end",
    ("        optimizer.zero_grad()\n", ""),
    ("        optimizer.step()\n", "        optimizer.step()\n        optimizer.zero_grad(set_to_none=False)\n"),
)
train_language_model.alternative_patch(
    "negative_log_likelihood",
    (
        "loss = F.cross_entropy(model(contexts), words)\n        optimizer",
        "log_probs = torch.log_softmax(model(contexts), dim=-1)\n"
        "        loss = -log_probs[torch.arange(len(words)), words].mean()\n        optimizer",
    ),
)
train_language_model.alternative_patch(
    "criterion_and_counted_batches",
    ("for contexts, words in batches:", "for step, (contexts, words) in enumerate(batches):"),
    (
        "loss = F.cross_entropy(model(contexts), words)\n        optimizer",
        "loss = nn.CrossEntropyLoss()(model(contexts), words)\n        optimizer",
    ),
)
train_language_model.alternative_patch(
    "adam_without_decay",
    (
        "torch.optim.Adam(model.parameters(), lr=learning_rate)",
        "torch.optim.AdamW(list(model.parameters()), learning_rate, weight_decay=0)",
    ),
    (
        "def train_language_model(model, batches, held_out, learning_rate):",
        "def train_language_model(model, batches, held_out, learning_rate=0.02, verbose=False):",
    ),
)
