"""The grammar: a second reader finds the same truth, and counting does not find what counting must not find."""

import itertools
import math
from collections import Counter, defaultdict

import pytest
from chances import assert_share, margin, naive_bayes, numbers

from autograder.data.generated import lexicon
from autograder.data.generated.grammar import (
    FAR,
    NOTHING_WITHIN,
    WINDOW,
    agreement,
    judgments,
    senses,
    sentences,
)

SINGULARS = {
    noun.singular for group in (lexicon.NEUTRAL, *lexicon.DOMAINS.values()) for noun in (*group.people, *group.things)
} | set(lexicon.SENSES)
PLURALS = {
    noun.plural for group in (lexicon.NEUTRAL, *lexicon.DOMAINS.values()) for noun in (*group.people, *group.things)
} | {noun.plural for noun in lexicon.AMBIGUOUS}
SENSES_OF = {form: lexicon.SENSES[noun.singular] for noun in lexicon.AMBIGUOUS for form in noun}
PLURAL_VERBS = {plural for _, plural in lexicon.PRESENT}


def read(words):
    """A second reader, which knows the words but not how the sentence was made.

    The clauses lie between the conjunctions. The subject is a clause's first noun, its verb the one word that shows
    a number and is no noun.
    """
    starts = [place + 1 for place, word in enumerate(words) if word in lexicon.CONJUNCTIONS]
    begin = 2 if words[1] == "," else 0
    for start, end in zip([begin, *starts], [*(start - 1 for start in starts), len(words) - 1], strict=True):
        nouns = [place for place in range(start, end) if words[place] in SINGULARS | PLURALS]
        verbs = [place for place in range(start, end) if words[place] in lexicon.OTHER_NUMBER]
        cues = {
            place: lexicon.DOMAIN_OF[words[place]] for place in range(start, end) if words[place] in lexicon.DOMAIN_OF
        }
        targets = [place for place in nouns if words[place] in SENSES_OF]
        (verb,) = verbs
        plural = words[nouns[0]] in PLURALS
        attractors = [place for place in nouns if place < verb and (words[place] in PLURALS) != plural]
        yield start, end, nouns, verb, plural, attractors, cues, targets


@pytest.fixture(scope="module")
def corpus():
    return sentences(20_000, numbers(1))


def test_the_grammar_has_332_words_of_one_role_each(corpus):
    assert len(lexicon.VOCABULARY) == len(set(lexicon.VOCABULARY)) == 332
    used = {word for sentence in corpus for word in sentence.words}
    assert used <= set(lexicon.VOCABULARY) | set(lexicon.PUNCTUATION)
    assert {plural: singular for singular, plural in lexicon.PRESENT} == {
        plural: lexicon.OTHER_NUMBER[plural] for plural in PLURAL_VERBS
    }


def test_nearly_every_word_is_used_in_twenty_thousand_sentences(corpus):
    used = Counter(word for sentence in corpus for word in sentence.words)
    assert {word for word in lexicon.VOCABULARY if used[word] < 10} == set()


def test_each_domain_has_four_ambiguous_nouns():
    assert Counter(itertools.chain(*lexicon.SENSES.values())) == dict.fromkeys(lexicon.DOMAINS, 4)


def test_a_second_reader_finds_the_same_truth(corpus):
    for sentence in corpus:
        clauses = list(read(sentence.words))
        assert len(clauses) == len(sentence.clauses)
        found = []
        for clause, (start, end, nouns, verb, plural, attractors, cues, targets) in zip(
            sentence.clauses, clauses, strict=True
        ):
            assert (clause.start, clause.end, clause.subject, clause.verb) == (start, end, nouns[0], verb)
            assert clause.plural == plural == (sentence.words[verb] in PLURAL_VERBS)
            assert list(clause.attractors) == attractors
            assert set(cues.values()) <= {clause.domain}
            assert len(targets) <= 1
            for target in targets:
                assert clause.domain in SENSES_OF[sentence.words[target]]
                found.append((target, *set(cues.values()), min(abs(place - target) for place in cues)))
        assert found == [tuple(each) for each in sentence.ambiguous]


def test_determiners_agree_with_their_nouns(corpus):
    for sentence in corpus[:3000]:
        for place, word in enumerate(sentence.words):
            for determiners, forms in zip(lexicon.DETERMINERS, (SINGULARS, PLURALS), strict=True):
                if word in determiners:
                    noun = next(after for after in sentence.words[place:] if after in SINGULARS | PLURALS)
                    assert noun in forms


def test_sentences_are_varied(corpus):
    assert len({" ".join(sentence.words) for sentence in corpus}) > 0.99 * len(corpus)
    lengths = [len(sentence.words) for sentence in corpus]
    assert min(lengths) < 6
    assert max(lengths) > 30


def test_every_noun_has_each_of_its_senses_equally_often_and_cues_are_far_as_often_as_stated(corpus):
    by_word = defaultdict(list)
    for sentence in corpus:
        for noun in sentence.ambiguous:
            word = sentence.words[noun.position]
            by_word[SENSES_OF[word], word].append(noun.domain)
    assert len(by_word) == 28
    for (both, _), domains in by_word.items():
        assert_share([domain == both[0] for domain in domains], 1 / 2)
    assert_share([noun.distance > WINDOW for sentence in corpus for noun in sentence.ambiguous], FAR)


def test_a_window_tells_the_near_senses_and_none_of_the_far_ones():
    def features(example, window):
        start = max(0, example.position - window)
        return example.words[start : example.position + window + 1]

    def right(window, far):
        chosen = [example for example in test if example.far == far]
        guesses = naive_bayes(
            [(features(example, window), example.label) for example in train],
            [(features(example, window), example.label) for example in chosen],
        )
        return [guess == example.label for guess, example in zip(guesses, chosen, strict=True)]

    examples = senses(12_000, numbers(2))
    train, test = examples[:8000], examples[8000:]
    near, far = right(WINDOW, far=False), right(WINDOW, far=True)
    assert sum(near) / len(near) > 0.9
    assert sum(far) / len(far) <= 1 / 2 + margin(len(far))
    wide = right(100, far=True)
    assert sum(wide) / len(wide) > 0.8  # what the window missed is there
    assert_share([example.far for example in examples], FAR)


@pytest.fixture(scope="module")
def pairs():
    return agreement(8000, numbers(3))


def test_the_sentences_of_a_pair_differ_in_the_verb_and_one_is_right(pairs):
    for pair in pairs:
        differences = [
            place for place, (a, b) in enumerate(zip(pair.grammatical, pair.ungrammatical, strict=True)) if a != b
        ]
        assert differences == [pair.verb]
        ((_, _, nouns, verb, plural, attractors, _, _),) = read(pair.grammatical)
        assert verb == pair.verb
        assert plural == (pair.grammatical[verb] in PLURAL_VERBS) != (pair.ungrammatical[verb] in PLURAL_VERBS)
        before = [place for place in nouns if place < verb]
        assert len(before) == 3
        assert before[1] in attractors
        assert verb - before[1] > NOTHING_WITHIN


def number_of(word):
    return word in PLURALS


def bigram_model(corpus):
    pairs_of = Counter(pair for sentence in corpus for pair in itertools.pairwise(["<s>", *sentence.words]))
    first = Counter(before for before, _ in pairs_of.elements())

    def score(words):
        return sum(
            math.log((pairs_of[pair] + 0.01) / (first[pair[0]] + 0.01 * len(lexicon.VOCABULARY)))
            for pair in itertools.pairwise(["<s>", *words])
        )

    return score


def preferred(score, right, wrong):
    difference = score(right) - score(wrong)
    return 1.0 if difference > 0 else 0.0 if difference < 0 else 0.5


def test_bigram_counts_are_at_chance_past_an_attractor_and_good_without(pairs, corpus):
    score = bigram_model(corpus)
    assert_share([preferred(score, pair.grammatical, pair.ungrammatical) for pair in pairs], 1 / 2)
    adjacent = []
    for sentence in sentences(2000, numbers(4)):
        clause = sentence.clauses[0]
        if clause.verb == clause.subject + 1:
            wrong = list(sentence.words)
            wrong[clause.verb] = lexicon.OTHER_NUMBER[wrong[clause.verb]]
            adjacent.append(preferred(score, sentence.words, wrong))
    assert sum(adjacent) / len(adjacent) > 0.7


def count_features(words, verb):
    """Words, neighbors, and every word together with the verb; with their places if they are close before it."""
    yield from words
    yield from itertools.pairwise(words)
    yield from ((word, words[verb], "in the sentence") for word in words)
    yield from ((back, words[verb - back], words[verb]) for back in range(1, NOTHING_WITHIN + 1))


def test_labelled_counting_is_at_chance_past_an_attractor(pairs):
    labelled = judgments(pairs, numbers(5))
    assert Counter(label for _, label in labelled) == {0: 4000, 1: 4000}
    examples = [
        (list(count_features(words, pair.verb)), label) for pair, (words, label) in zip(pairs, labelled, strict=True)
    ]
    train, test = examples[:5000], examples[5000:]
    guesses = naive_bayes(train, test)
    assert_share([guess == label for guess, (_, label) in zip(guesses, test, strict=True)], 1 / 2)


def test_neither_the_bag_of_numbers_nor_the_nearest_noun_tells_the_verb(pairs):
    by_bag, by_nearest = defaultdict(list), defaultdict(list)
    for pair in pairs:
        words = pair.grammatical
        before = [number_of(word) for word in words[: pair.verb] if word in SINGULARS | PLURALS]
        by_bag[sum(before)].append(words[pair.verb] in PLURAL_VERBS)
        by_nearest[before[-1]].append(words[pair.verb] in PLURAL_VERBS)
    assert sorted(by_bag) == [1, 2]
    for hits in (*by_bag.values(), *by_nearest.values()):
        assert_share(hits, 1 / 2)


def test_subject_and_attractor_are_chosen_alike(pairs):
    first, second = Counter(), Counter()
    for pair in pairs:
        nouns = [word for word in pair.grammatical[: pair.verb] if word in SINGULARS | PLURALS]
        first[nouns[0]] += 1
        second[nouns[1]] += 1
    assert set(first) == set(second)
    for noun in first:
        assert abs(first[noun] - second[noun]) <= 2 * margin(len(pairs)) * len(pairs)
