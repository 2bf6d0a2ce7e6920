"""WordPiece and BERT's basic tokenization against ``tokenizers`` and transformers, with a published vocabulary too."""

import unicodedata
from collections import Counter

import pytest
import tokenizers
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from subword_texts import AWKWARD, CORPORA, awkward_texts, corpus, every_known_character

from autograder.data import load
from autograder.reference.subwords import learn_vocabulary
from autograder.reference.wordpiece import (
    BERT_SPECIAL_TOKENS,
    PREFIX,
    WordPiece,
    basic_tokens,
    read_vocabulary,
    train_wordpiece,
)

property_test = settings(max_examples=200, deadline=None)
SPECIAL_TOKENS = list(BERT_SPECIAL_TOKENS)


def library_wordpiece(vocabulary, lowercase=True, special_tokens=(), **settings):
    """BERT's tokenizer as the library has it."""
    library = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]", **settings))
    library.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
    library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    library.decoder = tokenizers.decoders.WordPiece(cleanup=False)
    library.add_special_tokens(list(special_tokens))
    return library


def library_vocabulary(texts, lowercase=True, **settings):
    """What the library learns: pieces and their numbers."""
    library = library_wordpiece({}, lowercase)
    library.train_from_iterator(texts, tokenizers.trainers.WordPieceTrainer(show_progress=False, **settings))
    return library.get_vocab()


def characters(vocabulary):
    """The pieces of one character."""
    return [piece for piece in vocabulary if len(piece.removeprefix(PREFIX)) == 1]


def assert_same_encodings(ours, library, texts):
    for text, encoding in zip(texts, library.encode_batch(texts), strict=True):
        assert ours.encode(text) == encoding.ids, text
        assert ours.tokens(text) == encoding.tokens, text
        assert ours.decode(encoding.ids) == library.decode(encoding.ids, skip_special_tokens=False)


@pytest.fixture(scope="module")
def published():
    """Ours with the published vocabulary, and the library's."""
    ours = WordPiece(read_vocabulary(load("minilm", allow_stand_in=False).file("vocab.txt")))
    return ours, library_wordpiece(ours.ids, special_tokens=SPECIAL_TOKENS)


@pytest.mark.parametrize("lowercase", [True, False])
def test_what_becomes_of_every_character_agrees_with_tokenizers(lowercase):
    library = library_wordpiece({}, lowercase)
    known = every_known_character()
    for start in range(0, len(known), 10_000):
        text = "".join(f"x{character}y " for character in known[start : start + 10_000])
        words = library.pre_tokenizer.pre_tokenize_str(library.normalizer.normalize_str(text))
        assert basic_tokens(text, lowercase) == [word for word, _ in words]


@property_test
@given(text=awkward_texts | st.text(), lowercase=st.booleans())
def test_basic_tokens_agree_with_tokenizers(text, lowercase):
    text = "".join(character for character in text if unicodedata.category(character) != "Cn")
    library = library_wordpiece({}, lowercase)
    words = library.pre_tokenizer.pre_tokenize_str(library.normalizer.normalize_str(text))
    assert basic_tokens(text, lowercase) == [word for word, _ in words]


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize(("vocab_size", "min_frequency"), [(4_000, 1), (1_000_000, 4)])
def test_training_agrees_with_tokenizers_when_characters_are_numbered_alike(name, vocab_size, min_frequency):
    """The library numbers "##a", "##b", … anew in every run, and breaks ties by these numbers. Named as special tokens
    they have the numbers that ours have."""
    texts = corpus(name, 110_000)
    ours = train_wordpiece(texts, vocab_size, min_frequency=min_frequency)
    numbered = [*SPECIAL_TOKENS, *characters(ours.vocabulary)]
    theirs = library_vocabulary(texts, vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=numbered)
    assert ours.ids == theirs
    library = library_wordpiece(theirs, special_tokens=SPECIAL_TOKENS)
    assert_same_encodings(ours, library, [*texts[:200], *corpus("basic_english", 10_000), *AWKWARD])


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize("lowercase", [True, False])
def test_any_run_of_tokenizers_agrees_with_ours_from_its_own_numbers(name, lowercase):
    texts = corpus(name, 40_000, skip=11)
    theirs = library_vocabulary(texts, lowercase, vocab_size=3_000, special_tokens=SPECIAL_TOKENS)
    pieces = sorted(theirs, key=theirs.__getitem__)
    counts = Counter(word for text in texts for word in basic_tokens(text, lowercase))
    vocabulary, _ = learn_vocabulary(counts, 3_000, [*SPECIAL_TOKENS, *characters(pieces)], prefix=PREFIX)
    assert vocabulary == pieces


def test_training_with_fewer_characters_agrees_with_tokenizers():
    texts = corpus("wikipedia", 50_000, skip=1_000)
    counts = sorted(Counter("".join(word for text in texts for word in basic_tokens(text))).values(), reverse=True)
    limit = next(limit for limit in range(60, 0, -1) if counts[limit - 1] > counts[limit])
    ours = train_wordpiece(texts, 3_000, limit_alphabet=limit)
    numbered = [*SPECIAL_TOKENS, *characters(ours.vocabulary)]
    assert ours.ids == library_vocabulary(texts, vocab_size=3_000, limit_alphabet=limit, special_tokens=numbered)


@property_test
@given(texts=st.lists(awkward_texts, max_size=5), vocab_size=st.integers(10, 300), text=awkward_texts)
def test_awkward_texts_agree_with_tokenizers(texts, vocab_size, text):
    ours = train_wordpiece(texts, vocab_size)
    numbered = [*SPECIAL_TOKENS, *characters(ours.vocabulary)]
    theirs = library_vocabulary(texts, vocab_size=vocab_size, special_tokens=numbered)
    assert ours.ids == theirs
    assert_same_encodings(ours, library_wordpiece(theirs, special_tokens=SPECIAL_TOKENS), [*texts, text])


@pytest.mark.parametrize("name", CORPORA)
def test_the_published_vocabulary_agrees_with_tokenizers_on_real_text(published, name):
    assert_same_encodings(*published, corpus(name, 100_000, skip=5))


@property_test
@given(text=awkward_texts, between=st.sampled_from(["[MASK]", " [SEP] ", "[CLS]x", "[mask]", "[UNK", "]"]))
def test_the_published_vocabulary_agrees_with_tokenizers_on_awkward_text(published, text, between):
    assert_same_encodings(*published, [text, between + text + between])


def test_the_published_vocabulary_agrees_with_transformers():
    folder = load("minilm", allow_stand_in=False)
    path = folder.file("vocab.txt")
    ours = WordPiece(read_vocabulary(path))
    theirs = transformers.BertTokenizerFast(vocab=str(path))
    texts = [*corpus("wikipedia", 20_000), *AWKWARD, "a [MASK] b[SEP]", " ".join(AWKWARD)]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == [ours.encode(text) for text in texts]
    file = tokenizers.Tokenizer.from_file(str(folder.file("tokenizer.json")))
    file.no_padding()
    file.no_truncation()
    encodings = file.encode_batch(texts, add_special_tokens=False)
    assert [encoding.ids for encoding in encodings] == [ours.encode(text) for text in texts]


def test_the_longest_piece_comes_first_and_one_unknown_piece_makes_the_word_unknown():
    ours = WordPiece(["[UNK]", "un", "una", "##aff", "##able", "##ff", "a", "##b"], [])
    assert ours.tokens("unaffable") == ["una", "##ff", "##able"]
    assert ours.tokens("unaffect Una b AB") == ["[UNK]", "una", "[UNK]", "a", "##b"]
    assert ours.decode(ours.encode("unaffable ab una")) == "unaffable ab una"


@pytest.mark.parametrize("longest", [1, 5, 100])
def test_words_that_are_too_long_agree_with_tokenizers(longest):
    ours = WordPiece(["[UNK]", "a", "##a"], [], max_word_length=longest)
    library = library_wordpiece(ours.ids, max_input_chars_per_word=longest)
    assert_same_encodings(ours, library, ["a" * length for length in range(longest + 3)])


@property_test
@given(text=awkward_texts)
def test_words_come_back_from_pieces(text):
    ours = train_wordpiece([text], 500)
    if len(max(basic_tokens(text), key=len, default="")) <= 100:
        assert ours.decode(ours.encode(text)) == " ".join(basic_tokens(text))


def test_nothing_to_learn_from_gives_a_tokenizer_all_the_same():
    empty = train_wordpiece([], 10)
    assert empty.vocabulary == SPECIAL_TOKENS
    assert empty.tokens("") == []
    assert empty.tokens("a b [MASK]") == ["[UNK]", "[UNK]", "[MASK]"]


def test_what_is_saved_comes_back(tmp_path):
    ours = train_wordpiece(["Héllo Wörld"], 60, lowercase=False)
    ours.save(tmp_path / "wordpiece.json")
    loaded = WordPiece.load(tmp_path / "wordpiece.json")
    assert loaded == ours
    assert loaded.tokens("Héllo [MASK]") == ours.tokens("Héllo [MASK]")
    assert "H" in loaded.ids


def test_one_text_in_place_of_several_is_refused():
    with pytest.raises(TypeError, match="put it in brackets"):
        train_wordpiece("one text", 10)


def test_a_published_vocabulary_is_read_line_by_line(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("[UNK]\na\u2028b\n\x85\nlast\n", encoding="utf-8")
    assert read_vocabulary(path) == ["[UNK]", "a\u2028b", "\x85", "last"]
