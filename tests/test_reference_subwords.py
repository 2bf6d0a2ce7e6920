"""Byte-pair encoding against the library ``tokenizers``, by hand, and against a plain loop."""

import json
import os
from collections import Counter
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from subword_texts import AWKWARD, CORPORA, awkward_texts, corpus

from autograder.reference.subwords import (
    BPE,
    WORDS,
    Merge,
    learn_merges,
    learn_vocabulary,
    merge_by_rank,
    merge_pair,
    spell,
    train_bpe,
)
from autograder.reference.wordpiece import WordPiece

property_test = settings(max_examples=100, deadline=None)
few_letters = st.lists(st.text("ab", min_size=1, max_size=9) | st.text("abcd ", max_size=12), max_size=12)


def library_bpe(texts, vocab_size, special_tokens=("[UNK]",), unknown="[UNK]", **settings):
    """What ``tokenizers`` learns: the tokenizer, the numbers of its pieces, its merges."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=unknown))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(special_tokens), show_progress=False, **settings
    )
    library.train_from_iterator(texts, trainer)
    model = json.loads(library.to_str())["model"]
    return library, model["vocab"], [tuple(merge) for merge in model["merges"]]


def library_like(ours):
    """A tokenizer of the library with our vocabulary and merges."""
    suffix = {"end_of_word_suffix": ours.end_of_word} if ours.end_of_word else {}
    library = tokenizers.Tokenizer(tokenizers.models.BPE(ours.ids, ours.merges, unk_token=ours.unknown, **suffix))
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.add_special_tokens(ours.special_tokens)
    return library


def assert_same_encodings(ours, library, texts):
    for text, encoding in zip(texts, library.encode_batch(texts), strict=True):
        assert ours.encode(text) == encoding.ids, text
        assert ours.tokens(text) == encoding.tokens, text


def without_a_tie(texts, near):
    """How many characters can be kept so that no dropped one is as frequent as a kept one."""
    counts = sorted(Counter("".join("".join(text.split()) for text in texts)).values(), reverse=True)
    return next(limit for limit in range(near, 0, -1) if counts[limit - 1] > counts[limit])


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize(("vocab_size", "min_frequency"), [(4_000, 1), (1_000_000, 4)])
def test_training_agrees_with_tokenizers(name, vocab_size, min_frequency):
    texts = corpus(name, 120_000)
    ours = train_bpe(texts, vocab_size, min_frequency=min_frequency)
    library, ids, merges = library_bpe(texts, vocab_size, min_frequency=min_frequency)
    assert ours.merges == merges
    assert ours.ids == ids
    assert len(ours.vocabulary) == 4_000 or min_frequency > 1
    assert_same_encodings(ours, library, [*texts[:300], *corpus("basic_english", 10_000), *AWKWARD])


def test_training_to_the_last_pair_agrees_with_tokenizers():
    texts = corpus("wikipedia", 20_000, skip=5_000)
    ours = train_bpe(texts, 1_000_000)
    _, ids, merges = library_bpe(texts, 1_000_000)
    assert ours.merges == merges
    assert ours.ids == ids


def test_training_with_fewer_characters_agrees_with_tokenizers():
    texts = corpus("wikipedia", 50_000, skip=2_000)
    limit = without_a_tie(texts, 70)
    ours = train_bpe(texts, 3_000, limit_alphabet=limit)
    library, ids, merges = library_bpe(texts, 3_000, limit_alphabet=limit)
    assert ours.merges == merges
    assert ours.ids == ids
    assert sum(len(piece) == 1 for piece in ours.vocabulary) == limit
    assert_same_encodings(ours, library, texts)


@pytest.mark.parametrize("name", CORPORA)
def test_training_with_an_end_of_word_agrees_with_tokenizers_when_characters_are_numbered_alike(name):
    texts = corpus(name, 50_000, skip=40)
    ours = train_bpe(texts, 3_000, end_of_word="</w>")
    characters = [piece for piece in ours.vocabulary if len(piece.removesuffix("</w>")) == 1]
    _, ids, merges = library_bpe(texts, 3_000, ["[UNK]", *characters], end_of_word_suffix="</w>")
    assert ours.merges == merges
    assert ours.ids == ids
    library = library_like(ours)
    assert_same_encodings(ours, library, [*texts[:300], *AWKWARD])
    library.decoder = tokenizers.decoders.BPEDecoder(suffix="</w>")
    for text in texts[:300]:
        decoded = ours.decode(ours.encode(text))
        assert decoded == library.decode(ours.encode(text), skip_special_tokens=False)
        assert decoded == " ".join(ours.split(text))


@property_test
@given(texts=few_letters, vocab_size=st.integers(1, 60), min_frequency=st.integers(1, 3), text=awkward_texts)
def test_ties_and_repetitions_agree_with_tokenizers(texts, vocab_size, min_frequency, text):
    ours = train_bpe(texts, vocab_size, min_frequency=min_frequency)
    library, ids, merges = library_bpe(texts, vocab_size, min_frequency=min_frequency)
    assert ours.merges == merges
    assert ours.ids == ids
    assert_same_encodings(ours, library, [*texts, text])


@property_test
@given(texts=st.lists(awkward_texts, max_size=6), other=awkward_texts, unknown=st.sampled_from(["[UNK]", None]))
def test_awkward_texts_agree_with_tokenizers(texts, other, unknown):
    special_tokens = [unknown] if unknown else []
    ours = train_bpe(texts, 300, special_tokens=special_tokens, unknown=unknown)
    library, ids, merges = library_bpe(texts, 300, special_tokens, unknown)
    assert ours.merges == merges
    assert ours.ids == ids
    assert_same_encodings(ours, library, [*texts, other])
    numbers = ours.encode(other)
    assert ours.decode(numbers) == library.decode(numbers, skip_special_tokens=False)


@property_test
@given(parts=st.lists(st.sampled_from(["<a>", "<a>b", "<", "a", "b", ">", " ", "[UNK]", "<a><a>"]), max_size=12))
def test_special_tokens_agree_with_tokenizers(parts):
    special_tokens = ["[UNK]", "<a>", "<a>b", "b>"]
    ours = train_bpe(["a b a b ba ab <a> <<>>"], 40, special_tokens=special_tokens)
    assert_same_encodings(ours, library_like(ours), ["".join(parts)])


@property_test
@given(
    word=st.text("abc", max_size=40).map(list),
    merges=st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=3), st.text("abc", min_size=1, max_size=3)), max_size=30
    ),
)
def test_merging_by_rank_agrees_with_a_plain_loop(word, merges):
    merges = list(dict.fromkeys(merges))
    pieces = list(dict.fromkeys([*"abc", *(part for merge in merges for part in (*merge, "".join(merge)))]))
    ids = {piece: number for number, piece in enumerate(pieces)}
    ranks = {(ids[left], ids[right]): (rank, ids[left + right]) for rank, (left, right) in enumerate(merges)}
    numbers = [ids[character] for character in word]

    slow = list(word)
    while pairs := [(merges.index(pair), place) for place, pair in enumerate(pairwise(slow)) if pair in merges]:
        place = min(pairs)[1]
        slow[place : place + 2] = [slow[place] + slow[place + 1]]
    assert [pieces[number] for number in merge_by_rank(numbers, ranks)] == slow


def test_a_word_of_many_thousand_characters_takes_no_age():
    ours = train_bpe(["ab abab abababab"], 20)
    word = "ab" * 100_000
    assert ours.tokens(word) == ["abababab"] * 25_000


def test_the_merges_of_the_paper_come_with_their_counts():
    """Sennrich et al. 2016, algorithm 1; of equally frequent pairs the one with the earlier pieces comes first."""
    counts = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    words = {tuple(spell(word, end_of_word="</w>")): count for word, count in counts.items()}
    pieces = sorted({piece for word in words for piece in word})
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = learn_merges(words, vocabulary, len(pieces) + 7)
    assert [next(merges) for _ in range(3)] == [
        Merge("e", "s", "es", 9),
        Merge("es", "t</w>", "est</w>", 9),
        Merge("l", "o", "lo", 7),
    ]
    assert [(merge.piece, merge.count) for merge in merges] == [
        *(("ew", 6), ("new", 6), ("newest</w>", 6), ("low</w>", 5)),
    ]
    assert list(vocabulary)[len(pieces) :] == ["es", "est</w>", "lo", "ew", "new", "newest</w>", "low</w>"]


@pytest.mark.parametrize(
    ("word", "merged", "lost", "gained"),
    [
        ([1, 1, 1], [9, 1], [(1, 1)], [(9, 1)]),
        ([1, 1, 1, 1], [9, 9], [(1, 1), (9, 1)], [(9, 1), (9, 9)]),
        ([2, 1, 1, 3], [2, 9, 3], [(2, 1), (1, 3)], [(2, 9), (9, 3)]),
        ([1], [1], [], []),
        ([], [], [], []),
    ],
)
def test_a_pair_is_merged_from_left_to_right(word, merged, lost, gained):
    assert merge_pair(word, (1, 1), 9) == (lost, gained)
    assert word == merged


def test_an_alphabet_is_kept_in_any_case_and_the_most_frequent_characters_besides():
    vocabulary, merges = learn_vocabulary({"aabbc": 3, "dd": 1}, 5, ["<s>"], limit_alphabet=3, alphabet="z")
    assert vocabulary == ["<s>", "a", "b", "z", "aa"]
    assert merges == [("a", "a")]


def test_nothing_to_learn_from_gives_a_tokenizer_all_the_same():
    for texts in ([], [""], [" \n"]):
        empty = train_bpe(texts, 10)
        assert empty.vocabulary == ["[UNK]"]
        assert empty.merges == []
        assert empty.encode("") == []
        assert empty.tokens("ab c") == ["[UNK]"] * 3
        assert empty.decode([]) == ""


def test_the_vocabulary_is_never_smaller_than_the_alphabet():
    assert train_bpe(["abc"], 2).vocabulary == ["[UNK]", "a", "b", "c"]


@property_test
@given(text=awkward_texts)
def test_words_come_back_from_pieces_if_their_ends_are_marked(text):
    ours = train_bpe([text, "a b ab"], 200, end_of_word="</w>")
    if "[UNK]" not in text:
        assert ours.decode(ours.encode(text)) == " ".join(ours.split(text))


@pytest.mark.parametrize("end_of_word", ["", "</w>"])
def test_what_is_saved_comes_back(tmp_path, end_of_word):
    ours = train_bpe(["héllo wörld 漢字"] * 3, 60, end_of_word=end_of_word, special_tokens=["<s>", "[UNK]"])
    ours.save(tmp_path / "bpe.json")
    loaded = BPE.load(str(tmp_path / "bpe.json"))
    assert loaded == ours
    assert loaded.encode("<s>hello 漢 x") == ours.encode("<s>hello 漢 x")
    assert [path.name for path in tmp_path.iterdir()] == ["bpe.json"]


def test_a_file_stays_as_it_was_if_saving_fails(tmp_path, monkeypatch):
    path = tmp_path / "bpe.json"
    train_bpe(["one"], 10).save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        train_bpe(["two"], 10).save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "WordPiece", "vocabulary": []}', "holds WordPiece, not BPE: choose another file"),
        ('{"kind": "BPE", "vocabulary": ["a', "holds no tokenizer, not BPE"),
        ("[1, 2]", "holds no tokenizer, not BPE"),
        ('{"vocabulary": ["a"]}', "holds no tokenizer, not BPE"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        BPE.load(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BPE(["a", "b", "a"], [], [], None), "'a' stands twice in the vocabulary"),
        (lambda: BPE(["a"], [], ["<s>"], None), "'<s>' is not in the vocabulary"),
        (lambda: BPE(["a"], [], []), r"'\[UNK\]' is not in the vocabulary"),
        (lambda: BPE(["a", "b"], [("a", "b")], [], None), "'ab' is not in the vocabulary"),
        (lambda: BPE(["a", "ab"], [("a", "b")], [], None), "'b' is not in the vocabulary"),
        (lambda: WordPiece(["a"], []), r"'\[UNK\]' is not in the vocabulary"),
    ],
)
def test_pieces_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_text_in_place_of_several_is_refused():
    with pytest.raises(TypeError, match="put it in brackets"):
        train_bpe("one text", 10)


def test_another_pattern_makes_other_words():
    assert train_bpe(["a-b c"], 20, pattern=r"\S+").split("a-b c") == ["a-b", "c"]
    assert BPE(["a"], [], [], None).split("a-b c") == ["a", "-", "b", "c"]
    assert BPE(["a"], [], [], None).pattern == WORDS
