"""Generated data: its truth is read again by other means, and what must not be decidable is measured.

A measured share is allowed to be off by what Hoeffding's inequality gives for one false alarm in a million.
"""

import ast
import itertools
import random
import re
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from chances import assert_share, margin, naive_bayes, numbers, torchs
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.data import generated
from autograder.data.generated import recall
from autograder.data.generated.dates import FORMATS, dates
from autograder.data.generated.dice import Dice
from autograder.data.generated.entailment import (
    CONTRADICTION,
    ENTAILMENT,
    NEUTRAL,
    WIDER,
    entailment,
)
from autograder.data.generated.entities import FIRST_NAMES, NAMES, TAGS, YEARS, entities
from autograder.data.generated.grammar import (
    agreement,
    judgments,
    senses,
    sentences,
)
from autograder.data.generated.numerals import WORDS, numerals
from autograder.data.generated.pseudo_words import FAR as FAR_PAIRS
from autograder.data.generated.pseudo_words import NEAR as NEAR_PAIRS
from autograder.data.generated.pseudo_words import merged, pseudo_words
from autograder.data.generated.questions import questions
from autograder.data.generated.reversal import NUM_LETTERS, random_letters
from autograder.data.generated.verses import IGNORED, names, swapped
from autograder.data.generated.word_lists import listed
from autograder.data.generated.xor_cue import AMBIGUOUS, CUES, NUM_DISTRACTORS, xor_cue
from autograder.reference import encoder_decoder

property_test = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**31)

VERSES = [
    listed("And Moses said to Aaron , Go to the people ."),
    listed("In the land of Egypt Joseph was a ruler , and Pharaoh gave him a house ."),
    listed("Let the house of Israel give praise ."),
] * 5

GENERATORS = {
    "xor_cue": lambda seed: [part.tolist() for part in xor_cue(20, torchs(seed))],
    "fixed": lambda seed: [part.tolist() for part in recall.fixed(20, 5, torchs(seed))],
    "marked": lambda seed: [part.tolist() for part in recall.marked(20, 5, 9, torchs(seed))],
    "associative": lambda seed: [part.tolist() for part in recall.associative(20, torchs(seed))],
    "random_letters": lambda seed: random_letters(20, 5, torchs(seed)).tolist(),
    "dates": lambda seed: dates(20, numbers(seed)),
    "sentences": lambda seed: sentences(20, numbers(seed)),
    "senses": lambda seed: senses(20, numbers(seed)),
    "agreement": lambda seed: agreement(20, numbers(seed)),
    "judgments": lambda seed: judgments(agreement(20, numbers(5)), numbers(seed)),
    "entailment": lambda seed: entailment(20, numbers(seed)),
    "questions": lambda seed: questions(20, numbers(seed)),
    "entities": lambda seed: entities(20, "train", numbers(seed)),
    "swapped": lambda seed: swapped(VERSES, numbers(seed)),
    "pseudo_words": lambda seed: pseudo_words(VERSES, [("the", "to"), ("house", "people")], numbers(seed)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_the_seed_decides_everything_and_nothing_outside_is_touched(name):
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    made = GENERATORS[name]
    assert made(7) == made(7)
    assert made(7) != made(8)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


def test_generators_need_numpy_and_torch_alone():
    folder = Path(generated.__file__).parent
    allowed = {"numpy", "torch", *sys.stdlib_module_names}
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert module.startswith("autograder.data.generated") or module.split(".")[0] in allowed, (file, module)


def test_dice_are_fair_and_several_are_different():
    dice = Dice(numbers())
    rolls = [dice.below(5) for _ in range(20_000)]
    for face in range(5):
        assert_share([roll == face for roll in rolls], 1 / 5)
    assert_share([dice.chance(0.3) for _ in range(20_000)], 0.3)
    orders = Counter(tuple(dice.several("abc", 2)) for _ in range(20_000))
    assert set(orders) == set(itertools.permutations("abc", 2))
    for order in orders:
        assert abs(orders[order] / 20_000 - 1 / 6) <= margin(20_000)
    with pytest.raises(ValueError, match="ask for fewer"):
        dice.several("abc", 4)


words = st.sampled_from(["music", "river", "india", "china", "and", "the"])


@property_test
@given(st.lists(st.lists(words, max_size=12), max_size=12), seeds)
def test_pseudo_words_replace_both_words_and_know_which_it_was(documents, seed):
    pairs = [("music", "river"), ("india", "china")]
    made = pseudo_words(documents, pairs, numbers(seed))
    merged_of = {word: merged(pair) for pair in pairs for word in pair}
    assert made.documents == [[merged_of.get(word, word) for word in document] for document in documents]
    parts = [made.train, made.validation, made.test]
    everywhere = list(itertools.chain(*parts))
    assert len(set(everywhere)) == len(everywhere)
    for occurrence in everywhere:
        assert documents[occurrence.document][occurrence.position] == pairs[occurrence.pair][occurrence.sense]
    for part, other in itertools.combinations(parts, 2):
        assert not {one.document for one in part} & {one.document for one in other}
    for part, pair in itertools.product(parts, range(2)):
        in_part = Counter(one.sense for one in part if one.pair == pair)
        assert in_part[0] == in_part[1]


def test_pseudo_words_lose_no_more_than_the_balance_and_the_shares_ask():
    documents = [["music", "river", "x"], ["river", "music"]] * 50
    made = pseudo_words(documents, [("music", "river")], numbers())
    assert [len(part) for part in (made.train, made.validation, made.test)] == [120, 30, 50]
    uneven = pseudo_words([["music"] * 9 + ["river"] * 2] * 10, [("music", "river")], numbers(), (1.0, 0.0))
    assert Counter(one.sense for one in uneven.train) == {0: 20, 1: 20}
    assert len({one.position for one in uneven.train if one.sense == 0}) > 5  # from all over, not the first ones


def test_no_word_is_in_two_pairs():
    with pytest.raises(ValueError, match="leave one of the pairs out"):
        pseudo_words([], [("music", "river"), ("river", "sea")], numbers())
    assert len(FAR_PAIRS) == 15
    assert len(NEAR_PAIRS) == 10
    pseudo_words([], FAR_PAIRS + NEAR_PAIRS, numbers())


def test_the_middle_word_means_the_exclusive_or_of_two_cues_at_random_places():
    made = xor_cue(20_000, torchs())
    assert made.ids.shape == (20_000, 11)
    places = Counter()
    for ids, sense, bits in zip(made.ids.tolist(), made.senses.tolist(), made.bits.tolist(), strict=True):
        left = [(place, word) for place, word in enumerate(ids[:5]) if word in CUES]
        right = [(place, word) for place, word in enumerate(ids[6:]) if word in CUES]
        assert ids[5] == AMBIGUOUS
        assert len(left) == len(right) == 1
        assert [CUES.index(left[0][1]), CUES.index(right[0][1])] == bits
        assert sense == (bits[0] != bits[1])
        assert all(word < NUM_DISTRACTORS for word in ids if word not in (*CUES, AMBIGUOUS))
        places.update([("left", left[0][0]), ("right", right[0][0])])
    assert len(places) == 10
    for count in places.values():
        assert abs(count / 20_000 - 1 / 5) <= margin(20_000)
    for bits in itertools.product((0, 1), repeat=2):
        assert_share((made.bits == torch.tensor(bits)).all(dim=1).tolist(), 1 / 4)


def test_no_sum_of_what_left_and_right_say_gets_three_quarters_of_the_senses_right():
    train, test = xor_cue(20_000, torchs(1)), xor_cue(20_000, torchs(2))
    features = [torch.nn.functional.one_hot(made.ids).flatten(1).double() for made in (train, test)]
    features = [torch.cat([each, torch.ones(len(each), 1).double()], dim=1) for each in features]
    weights = torch.linalg.lstsq(features[0], train.senses.double() * 2 - 1, driver="gelsd").solution
    right = ((features[1] @ weights > 0).long() == test.senses).double().mean().item()
    assert right <= 0.75 + margin(20_000)
    for side in range(2):  # and one side alone tells nothing
        for bit in (0, 1):
            assert_share(test.senses[test.bits[:, side] == bit].tolist(), 1 / 2)


@pytest.mark.parametrize("length", [1, 4])
def test_a_sentence_needs_a_middle(length):
    with pytest.raises(ValueError, match="choose an odd one"):
        xor_cue(2, torchs(), length)


def test_fixed_recall_asks_for_the_first_word():
    made = recall.fixed(5000, 6, torchs())
    assert made.ids.shape == (5000, 8)
    assert torch.equal(made.answers, made.ids[:, 0])
    assert (made.ids[:, -1] == recall.ASK).all()
    assert (made.ids[:, :-1] < recall.NUM_SYMBOLS).all()
    for place in range(1, 7):  # no other word gives the answer away
        assert_share((made.ids[:, place] == made.answers).tolist(), 1 / recall.NUM_SYMBOLS)


def test_marked_recall_asks_for_the_word_behind_the_mark_wherever_it_stands():
    prefixes = set()
    for seed in range(200):
        made = recall.marked(20, 6, 4, torchs(seed))
        assert (made.ids[:, -1] == recall.ASK).all()
        for ids, answer in zip(made.ids.tolist(), made.answers.tolist(), strict=True):
            assert Counter(ids)[recall.MARK] == Counter(ids)[recall.ASK] == 1
            place = ids.index(recall.MARK) + 1
            assert ids[place] == answer < recall.NUM_SYMBOLS
            assert len(ids) - 1 - place - 1 == 6
            prefixes.add(place - 1)
    assert prefixes == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("joined", [True, False])
def test_associative_recall_asks_for_the_value_of_one_key(joined):
    made = recall.associative(4000, torchs(), num_cells=5, num_values=3, joined=joined)
    assert made.ids.shape == (4000, 6 if joined else 11)
    places = []
    for ids, answer in zip(made.ids.tolist(), made.answers.tolist(), strict=True):
        *cells, asked = ids
        if joined:
            pairs = [(cell % 5, cell // 5 - 1) for cell in cells]
        else:
            pairs = [(key, value - 5) for key, value in zip(cells[::2], cells[1::2], strict=True)]
        assert sorted(key for key, _ in pairs) == list(range(5))
        assert all(0 <= value < 3 for _, value in pairs)
        assert dict(pairs)[asked] == answer
        places.append([key for key, _ in pairs].index(asked))
    for place in range(5):
        assert_share([one == place for one in places], 1 / 5)
    for answer in range(3):
        assert_share((made.answers == answer).tolist(), 1 / 3)
        assert_share((made.answers[made.ids[:, -1] == 2] == answer).tolist(), 1 / 3)


def test_letters_are_even_and_the_model_is_trained_on_these():
    letters = random_letters(4000, 5, torchs())
    assert letters.shape == (4000, 5)
    for letter in range(NUM_LETTERS):
        assert_share((letters == letter).flatten().tolist(), 1 / NUM_LETTERS)
    assert encoder_decoder.random_letters is random_letters


READERS = (
    (r"\d+ \w{3,} \d{4}", "%d %B %Y"),
    (r"[A-Z]\w+ \d+, \d{4}", "%B %d, %Y"),
    (r"\d+ \w{3} \d{4}", "%d %b %Y"),
    (r"\w{3} \d+ \d{4}", "%b %d %Y"),
    (r"\w+, \d+ \w+ \d{4}", "%A, %d %B %Y"),
    (r"\w+, \w+ \d+, \d{4}", "%A, %B %d, %Y"),
    (r"the \d+ of \w+ \d{4}", "the %d of %B %Y"),
    (r"\d+\.\d+\.\d{4}", "%d.%m.%Y"),
)


def test_a_written_date_can_be_read_in_one_way():
    pairs = dates(5000, numbers())
    used = set()
    for written, iso in pairs:
        plain = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", written)
        readings = set()
        for pattern, how in READERS:
            if re.fullmatch(pattern, plain):
                try:
                    date = datetime.strptime(plain, how)
                except ValueError:
                    continue
                readings.add(date.date().isoformat())
                used.add(how)
                assert "%A" not in how or date.strftime("%A") == plain.split(",")[0]
        assert readings == {iso}
    assert len(used) == len(FORMATS)
    assert {iso[5:] for _, iso in dates(20_000, numbers())} >= {"01-01", "12-31", "02-29"}


def test_ordinals_end_as_they_are_spoken():
    endings = {
        int(match[1]): match[2]
        for written, _ in dates(5000, numbers())
        if (match := re.search(r"(\d+)(st|nd|rd|th)", written))
    }
    assert len(endings) == 31
    assert {day for day, ending in endings.items() if ending != "th"} == {1, 2, 3, 21, 22, 23, 31}
    assert [endings[day] for day in (1, 22, 3, 11)] == ["st", "nd", "rd", "th"]


def test_names_are_told_by_their_capitals_and_beginnings_by_other_uses():
    verses = [
        listed("The sons of Moses went to Egypt ."),
        listed("Moses said , Let the man go to Egypt ."),
        listed("And the Lord said to Aaron : I am here ."),
        listed("let Pharaoh go , Pharaoh of the sons ."),
        listed("Bethel is there now and O Lord , have mercy ."),
    ]
    made = names(verses)
    assert [verse.tokens for verse in made] == [[word.lower() for word in verse] for verse in verses]
    found = [dict(zip(verse, named.labels, strict=True)) for verse, named in zip(verses, made, strict=True)]
    assert found[0] == {"The": 0, "sons": 0, "of": 0, "Moses": 1, "went": 0, "to": 0, "Egypt": 1, ".": 0}
    assert found[1]["Moses"] == 1  # begins the verse, but is a name elsewhere
    assert found[1]["Let"] == IGNORED  # may begin a speech, and has no other use
    assert found[2]["And"] == 0  # "and" behind a word
    assert found[2]["I"] == 0
    assert found[2]["Lord"] == found[2]["Aaron"] == 1
    assert made[3].labels[:2] == [0, 1]
    assert made[3].labels[4] == 1  # behind a comma, but a name elsewhere
    assert found[4]["Bethel"] == IGNORED
    assert found[4]["O"] == 0


def test_a_word_that_is_sometimes_a_name_is_ignored_where_its_place_gives_it_a_capital():
    verses = [["He", "saw", "the", "rock", "."], ["He", "saw", "the", "Rock", "."], ["Rock", "of", "ages", "."]]
    assert [verse.labels[-2] for verse in names(verses)[:2]] == [0, 1]
    assert names(verses)[2].labels[0] == IGNORED


def is_word(token):
    return token.isalpha()


texts = st.lists(
    st.sampled_from(listed("the man The Lord went up to a hill , ; and")),
    min_size=1,
    max_size=14,
)


@property_test
@given(st.lists(texts, max_size=12), seeds)
def test_two_pairs_of_neighbors_are_exchanged_in_half_of_the_verses(verses, seed):
    made = swapped(verses, numbers(seed))
    assert sum(verse.swapped for verse in made) == len(made) // 2
    assert [verse.verse for verse in made] == sorted({verse.verse for verse in made})
    for verse in made:
        before = [word.lower() for word in verses[verse.verse]]
        assert sorted(before) == sorted(verse.tokens)
        if not verse.swapped:
            assert verse.tokens == before
            continue
        different = [place for place, (a, b) in enumerate(zip(before, verse.tokens, strict=True)) if a != b]
        assert len(different) == 4
        a, b, c, d = different
        assert (b - a, d - c) == (1, 1)
        assert (before[a], before[b], before[c], before[d]) == tuple(verse.tokens[place] for place in (b, a, d, c))
        assert all(is_word(before[place]) for place in different)
    usable = {
        number
        for number, verse in enumerate(verses)
        if any(
            second - first > 1
            for first, second in itertools.combinations(
                [
                    place
                    for place, (a, b) in enumerate(itertools.pairwise(verse))
                    if a.lower() != b.lower() and is_word(a) and is_word(b)
                ],
                2,
            )
        )
    }
    assert {verse.verse for verse in made} == usable


def follows(premise, hypothesis):
    """A second judge, which knows what the sentences mean: does the second hold in all worlds, in none, or in some?"""
    if match := re.fullmatch(r"(\w+) is at the (\w+)\.", hypothesis):
        at = {
            name: place
            for name, verb, place in re.findall(r"(\w+) (has gone|wanted to go) to the (\w+)", premise)
            if verb == "has gone"
        }
        if match[1] not in at:
            return NEUTRAL
        return ENTAILMENT if at[match[1]] == match[2] else CONTRADICTION
    if match := re.fullmatch(r"(\w+) is (\w+) than (\w+)\.", hypothesis):
        facts = re.findall(rf"(\w+) is {match[2]} than (\w+)", premise)
        assert len(facts) == 2
        people = sorted({name for fact in facts for name in fact})
        worlds = [
            order
            for order in itertools.permutations(people)
            if all(order.index(more) < order.index(less) for more, less in facts)
        ]
        holds = {order.index(match[1]) < order.index(match[3]) for order in worlds}
        return {(True,): ENTAILMENT, (False,): CONTRADICTION}.get(tuple(holds), NEUTRAL)
    said, asked = (
        re.fullmatch(r"There is (an?|no) (\w+) (.+)\.", sentence).groups() for sentence in (premise, hypothesis)
    )
    narrower = {narrow: {narrow} for _, narrow in WIDER.values()}
    narrower |= {word: {word, narrow} for word, (_, narrow) in WIDER.items()}
    for word, (wide, _) in WIDER.items():
        narrower.setdefault(wide, {wide}).update(narrower[word])
    if said[2] != asked[2]:
        return NEUTRAL
    if said[0] == "no":
        if narrower[asked[1]] <= narrower[said[1]]:
            return ENTAILMENT if asked[0] == "no" else CONTRADICTION
        return NEUTRAL
    if narrower[said[1]] <= narrower[asked[1]]:
        return CONTRADICTION if asked[0] == "no" else ENTAILMENT
    return NEUTRAL


def test_a_second_judge_finds_the_same_relation():
    made = entailment(20_000, numbers())
    for pair in made:
        assert follows(pair.premise, pair.hypothesis) == pair.label, pair
    for label in range(3):
        assert_share([pair.label == label for pair in made], 1 / 3)


def test_the_hypothesis_alone_says_nothing_about_the_relation():
    made = entailment(30_000, numbers(1))
    train, test = made[:22_000], made[22_000:]
    seen = defaultdict(Counter)
    for pair in train:
        seen[pair.hypothesis][pair.label] += 1
    guesses = [seen[pair.hypothesis].most_common(1)[0][0] if seen[pair.hypothesis] else 0 for pair in test]
    assert sum(pair.hypothesis in seen for pair in test) > 4000
    assert_share([guess == pair.label for guess, pair in zip(guesses, test, strict=True)], 1 / 3)

    def as_bag(pairs):
        return [(pair.hypothesis.split(), pair.label) for pair in pairs]

    guesses = naive_bayes(as_bag(train), as_bag(test))
    assert_share([guess == pair.label for guess, pair in zip(guesses, test, strict=True)], 1 / 3)


def test_where_somebody_went_and_who_is_taller_are_not_told_by_the_words_that_are_shared():
    for pair in entailment(5000, numbers(2)):
        if not pair.hypothesis.startswith("There"):
            shared = set(pair.hypothesis.strip(".").split()) - set(pair.premise.strip(".").split())
            assert shared <= {"is", "at"}


def test_the_answer_stands_in_the_context_once_at_the_place_given():
    for made in questions(3000, numbers()):
        assert made.context[made.start : made.end] == made.answer
        assert len(re.findall(rf"\b{re.escape(made.answer)}\b", made.context)) == 1
        assert "".join(made.tokens) == made.context.replace(" ", "")
        assert made.tokens[made.first : made.last + 1] == made.answer.split()
        assert made.answer not in made.question


def test_a_question_can_be_answered_by_reading_and_not_by_guessing():
    kinds = {
        "name": r"(?:^|\. |On \w+ |by )([A-Z]\w+)(?:, a|,? who| is)",
        "town": r"from (\w+)",
        "thing": r"[Aa] (\w+ \w+)(?: on| was|\.)",
        "trade": r"\ba (\w+)(?: from| and)",
        "day": r"(\w+day)",
    }
    made = questions(6000, numbers(1))
    places = []
    for question in made:
        told = [
            {kind: re.search(pattern, statement)[1] for kind, pattern in kinds.items()}
            for statement in re.split(r"(?<=\.) ", question.context)
        ]
        assert len(told) == 4
        named = [
            number
            for number, fact in enumerate(told)
            if any(re.search(rf"\b{value}\b", question.question) for value in fact.values())
        ]
        assert len(named) == 1  # the question speaks of one of them
        assert question.answer in told[named[0]].values()
        assert all(len({fact[kind] for fact in told}) == 4 for kind in kinds)  # four candidates of the right kind
        places.append(named[0])
    for place in range(4):
        assert_share([one == place for one in places], 1 / 4)


def test_no_more_people_than_days():
    assert len(questions(1, numbers(), people=7)[0].context.split(". ")) == 7
    with pytest.raises(ValueError, match="ask for fewer"):
        questions(1, numbers(), people=8)


def spans(tagged):
    """The entities as (type, tokens), read from the tags."""
    found, previous = [], "O"
    for token, tag in zip(tagged.tokens, tagged.tags, strict=True):
        if tag[0] == "B":
            found.append((tag[2:], [token]))
        elif tag[0] == "I":
            assert previous[2:] == tag[2:]
            found[-1][1].append(token)
        previous = tag
    return found


def test_names_of_the_test_come_nowhere_in_training():
    train, test = entities(8000, "train", numbers()), entities(8000, "test", numbers(1))
    kinds = {
        part: {kind for tagged in sample for kind, _ in spans(tagged)}
        for part, sample in (("train", train), ("test", test))
    }
    assert kinds["train"] == kinds["test"] == {"PER", "LOC", "ORG", "DATE"}
    seen = {token for tagged in train for token in tagged.tokens}
    for part, sample in (("train", train), ("test", test)):
        for tagged in sample:
            assert set(tagged.tags) <= set(TAGS)
            for kind, tokens in spans(tagged):
                if kind == "DATE":
                    assert int(tokens[-1]) in YEARS[part]
                else:
                    assert {*NAMES[part], *FIRST_NAMES[part]} & set(tokens)
    for own in (NAMES, FIRST_NAMES, YEARS):
        assert not {str(name) for name in own["test"]} & seen


def test_a_name_alone_does_not_tell_its_type():
    bare = [
        (tokens[0], kind)
        for tagged in entities(20_000, "train", numbers())
        for kind, tokens in spans(tagged)
        if kind != "DATE" and len(tokens) == 1
    ]
    train, test = bare[: len(bare) // 2], bare[len(bare) // 2 :]
    by_name = defaultdict(Counter)
    for name, kind in train:
        by_name[name][kind] += 1
    commonest = Counter(kind for _, kind in train).most_common(1)[0][0]
    by_word = sum(by_name[name].most_common(1)[0][0] == kind for name, kind in test) / len(test)
    always = sum(kind == commonest for _, kind in test) / len(test)
    assert by_word <= always + margin(len(test))
    assert min(Counter(kind for _, kind in bare).values()) / len(bare) > 0.15


def read_aloud(words):
    """The number that is meant, read as a listener does: add up, and multiply at *hundred* and *thousand*."""
    worth = {word: number for number, word in enumerate(WORDS[:20])}
    worth |= {word: 10 * number for number, word in enumerate(WORDS[20:28], start=2)}
    done = current = 0
    for word in words:
        if word == "thousand":
            done, current = 1_000 * current, 0
        elif word == "hundred":
            current *= 100
        elif word != "and":
            current += worth[word]
    return done + current


def test_numerals_are_read_as_the_number_that_they_were_made_from():
    assert " ".join(numerals(2041)) == "two thousand and forty one"
    assert " ".join(numerals(300_700)) == "three hundred thousand seven hundred"
    everywhere = [*range(10_000), *random.Random(0).sample(range(10_000, 1_000_000), 2_000)]
    said = {number: numerals(number) for number in everywhere}
    assert all(read_aloud(words) == number for number, words in said.items())
    assert {word for words in said.values() for word in words} == set(WORDS)
    for outside in (-1, 1_000_000):
        with pytest.raises(ValueError, match="not between 0 and 999,999"):
            numerals(outside)
