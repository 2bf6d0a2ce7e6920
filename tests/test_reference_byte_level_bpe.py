"""Byte-level byte-pair encoding against the library ``tokenizers``, with our vocabularies and a published one."""

import json

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from subword_texts import AWKWARD, CORPORA, awkward_texts, corpus
from tokenizers import pre_tokenizers

from autograder.data import load
from autograder.reference.byte_level_bpe import (
    CHARACTERS,
    GPT2_WORDS,
    SINGLE_DIGIT_WORDS,
    ByteLevelBPE,
    from_gguf,
    train_byte_level_bpe,
)
from autograder.reference.gguf import GGUFError, GGUFFile

property_test = settings(max_examples=200, deadline=None)
END = "<|endoftext|>"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
PATTERNS = {
    "gpt-2": (GPT2_WORDS, BYTES),
    "single digits": (SINGLE_DIGIT_WORDS, pre_tokenizers.Sequence([pre_tokenizers.Digits(True), BYTES])),
    "lines": (
        r".+|\n+",
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(r".+|\n+"), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
    ),
}


def library_like(vocabulary, merges, special_tokens, words):
    """A tokenizer of the library; without a vocabulary, one to be trained."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    library.pre_tokenizer = words
    library.decoder = tokenizers.decoders.ByteLevel()
    library.add_special_tokens(special_tokens)
    return library


def assert_same_encodings(ours, library, texts):
    for text, encoding in zip(texts, library.encode_batch(texts), strict=True):
        assert ours.encode(text) == encoding.ids, text
        assert ours.tokens(text) == encoding.tokens, text


@pytest.fixture(scope="module")
def trained():
    """Ours by pattern, trained on a little text of many kinds."""
    texts = [*corpus("wikipedia", 30_000), *AWKWARD]
    return {
        name: train_byte_level_bpe(texts, 2_000, special_tokens=[END, "<|é|>", END + " "], pattern=pattern)
        for name, (pattern, _) in PATTERNS.items()
    }


@pytest.fixture(scope="module")
def smollm2():
    """The published tokenizer, as ours and as the library's."""
    ours = from_gguf(GGUFFile(load("smollm2", allow_stand_in=False).file("SmolLM2-135M-Instruct.Q4_1.gguf")))
    return ours, library_like(ours.ids, ours.merges, ours.special_tokens, PATTERNS["single digits"][1])


@pytest.mark.parametrize("pattern", ["gpt-2", "single digits"])
@pytest.mark.parametrize("name", CORPORA)
def test_training_agrees_with_tokenizers(name, pattern):
    texts = corpus(name, 110_000, skip=7)
    words, library_words = PATTERNS[pattern]
    ours = train_byte_level_bpe(texts, 4_000, min_frequency=2, pattern=words)
    library = library_like({}, [], [], library_words)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=4_000, min_frequency=2, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator(texts, trainer)
    model = json.loads(library.to_str())["model"]
    assert ours.merges == [tuple(merge) for merge in model["merges"]]
    assert ours.ids == model["vocab"]
    assert_same_encodings(ours, library, [*texts[:300], *corpus("basic_english", 10_000), *AWKWARD])
    for text in texts[:300]:
        assert ours.decode(ours.encode(text)) == text


@property_test
@given(texts=st.lists(awkward_texts, max_size=5), pattern=st.sampled_from(sorted(PATTERNS)))
def test_training_on_awkward_texts_agrees_with_tokenizers(texts, pattern):
    words, library_words = PATTERNS[pattern]
    ours = train_byte_level_bpe(texts, 400, special_tokens=[], pattern=words)
    library = library_like({}, [], [], library_words)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    library.train_from_iterator(texts, trainer)
    model = json.loads(library.to_str())["model"]
    assert ours.merges == [tuple(merge) for merge in model["merges"]]
    assert ours.ids == model["vocab"]


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@property_test
@given(text=awkward_texts, parts=st.lists(st.sampled_from([END, END + " ", "<|é|>", " ", "<|", "a1 ", "|>"])))
def test_awkward_texts_and_special_tokens_agree_with_tokenizers(trained, pattern, text, parts):
    ours = trained[pattern]
    library = library_like(ours.ids, ours.merges, ours.special_tokens, PATTERNS[pattern][1])
    assert_same_encodings(ours, library, ["".join(parts), text.join(parts)])


@pytest.mark.parametrize("pattern", ["gpt-2", "single digits"])
@property_test
@given(text=st.text() | awkward_texts)
@example(f"a{END} <|é|>\n\n  b ")
def test_every_text_comes_back(trained, pattern, text):
    assert trained[pattern].decode(trained[pattern].encode(text)) == text


@property_test
@given(numbers=st.lists(st.sampled_from([0, *range(2, 2_000)]), max_size=30))
def test_decoding_what_is_no_text_agrees_with_tokenizers(trained, numbers):
    """But for number 1, the special token with an é: the library takes that for a byte."""
    ours = trained["gpt-2"]
    library = library_like(ours.ids, ours.merges, ours.special_tokens, BYTES)
    assert ours.decode(numbers) == library.decode(numbers, skip_special_tokens=False)


def test_the_characters_for_bytes_agree_with_tokenizers():
    assert set(CHARACTERS) == set(pre_tokenizers.ByteLevel.alphabet())
    for code in (*range(0x100), 0x7FF, 0xFFFF, 0x3FFFF, 0x8FFFF, 0x10FFFF):
        (pieces, _), *_ = BYTES.pre_tokenize_str(chr(code))
        assert pieces == "".join(CHARACTERS[byte] for byte in chr(code).encode())


@pytest.mark.parametrize("name", CORPORA)
def test_the_published_tokenizer_agrees_with_tokenizers_on_real_text(smollm2, name):
    ours, library = smollm2
    texts = corpus(name, 60_000, skip=100)
    assert_same_encodings(ours, library, texts)
    for text in texts:
        assert ours.decode(ours.encode(text)) == text


@property_test
@given(text=awkward_texts, between=st.sampled_from(["<|im_start|>", "<|im_end|>\n", " <repo_name>", "<|im", ""]))
def test_the_published_tokenizer_agrees_with_tokenizers_on_awkward_text(smollm2, text, between):
    ours, library = smollm2
    assert_same_encodings(ours, library, [between + text + between])
    numbers = ours.encode(text)
    assert ours.decode(numbers) == library.decode(numbers, skip_special_tokens=False)


@property_test
@given(numbers=st.lists(st.integers(0, 49_151), max_size=30))
def test_decoding_with_the_published_tokenizer_agrees_with_tokenizers(smollm2, numbers):
    ours, library = smollm2
    assert ours.decode(numbers) == library.decode(numbers, skip_special_tokens=False)


def test_a_conversation_is_cut_as_the_published_model_expects(smollm2):
    ours, _ = smollm2
    assert ours.tokens("<|im_start|>user\nIn 2024?<|im_end|>") == [
        *("<|im_start|>", "user", "Ċ", "In", "Ġ", "2", "0", "2", "4", "?", "<|im_end|>"),
    ]
    assert ours.encode("<|im_start|><|im_end|>") == [1, 2]


def test_what_is_saved_comes_back(tmp_path, trained):
    for ours in trained.values():
        ours.save(tmp_path / "tokenizer.json")
        assert ByteLevelBPE.load(tmp_path / "tokenizer.json") == ours


def test_pieces_of_other_characters_are_text():
    ours = ByteLevelBPE(["a", "漢", "é", "<é>"], [], ["<é>"])
    assert ours.decode([0, 1, 3]) == "a漢<é>"
    assert ours.encode("ab<é>") == [0, 3]


class File:
    """A GGUF file with nothing but these values."""

    path = "model.gguf"

    def __init__(self, **values):
        self.values = values

    value = GGUFFile.value
    metadata = property(lambda self: {f"tokenizer.ggml.{name}": value for name, value in self.values.items()})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"model": "llama", "pre": "default"},
            "the tokenizer llama with default: choose the file of a model with gpt2",
        ),
        ({"model": "gpt2", "pre": "qwen2"}, "the tokenizer gpt2 with qwen2"),
        ({}, r"says nothing of tokenizer\.ggml\.model"),
    ],
)
def test_another_kind_of_published_tokenizer_is_refused(values, message):
    with pytest.raises(GGUFError, match=message):
        from_gguf(File(**values))


def test_the_kind_of_words_is_taken_from_the_file():
    values = {"model": "gpt2", "pre": "gpt-2", "tokens": ["<s>", "a", "b", "ab"], "token_type": [3, 1, 1, 1]}
    ours = from_gguf(File(**values, merges=["a b"]))
    assert ours == ByteLevelBPE(["<s>", "a", "b", "ab"], [("a", "b")], ["<s>"], GPT2_WORDS)
