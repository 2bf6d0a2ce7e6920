"""The reference tokenizers against the library ``tokenizers``: training and encoding, one thread each.

Ours are written in Python, to be read; the library is compiled, and keeps track of where in the text each piece stands.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from autograder.benchmarks.interleaved import demand_same_work, interleaved
from autograder.reference.byte_level_bpe import train_byte_level_bpe
from autograder.reference.subword_tokenizer import SubwordTokenizer
from autograder.reference.subwords import train_bpe
from autograder.reference.wordpiece import BERT_SPECIAL_TOKENS, PREFIX, train_wordpiece

KINDS = ("BPE", "byte-level BPE", "WordPiece")
VOCAB_SIZE = 8192


def races(
    texts: Sequence[str], rounds: int, kinds: Sequence[str] = KINDS, vocab_size: int = VOCAB_SIZE
) -> Iterator[dict[str, Any]]:
    """Race the tokenizers on the same texts.

    Each turn of encoding starts with a new tokenizer, which has no word in its memory yet.

    Args:
        texts: to train on and to encode.
        rounds: pairs of times in each race.
        kinds: which of ``KINDS``.
        vocab_size: of each.

    Yields:
        for each race what was raced, and the times and their ratio as :func:`interleaved` gives them.

    Raises:
        RuntimeError: if the two learn other pieces, or encode a text otherwise.
    """
    words = sum(len(text.split()) for text in texts)
    with _one_thread():
        for kind in kinds:
            our_training, their_training = contestants(kind, texts, vocab_size)
            ours, theirs = our_training(), their_training()
            written = theirs.to_str()

            def our_encoding(ours: SubwordTokenizer = ours) -> list[list[int]]:
                fresh = replace(ours)  # type: ignore[type-var]
                return [fresh.encode(text) for text in texts]

            def their_encoding(theirs: Any = theirs, written: str = written) -> list[list[int]]:
                fresh = theirs.from_str(written)
                return [encoding.ids for encoding in fresh.encode_batch(texts, add_special_tokens=False)]

            learned = theirs.get_vocab()
            other_pieces = sum(learned.get(piece) != number for piece, number in ours.ids.items())
            demand_same_work(f"Training {kind}", other_pieces + abs(len(learned) - len(ours.ids)))
            other_texts = sum(a != b for a, b in zip(our_encoding(), their_encoding(), strict=True))
            demand_same_work(f"Encoding with {kind}", other_texts)
            for mode, our_work, their_work in (
                ("training", our_training, their_training),
                ("encoding", our_encoding, their_encoding),
            ):
                yield {
                    "model": kind,
                    "mode": mode,
                    "vocab_size": vocab_size,
                    "words": words,
                    "difference": 0,
                    **interleaved(our_work, their_work, rounds),
                }


def contestants(
    kind: str, texts: Sequence[str], vocab_size: int
) -> tuple[Callable[[], SubwordTokenizer], Callable[[], Any]]:
    """Train a tokenizer of one kind from the same texts, ours and the library's."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    settings: dict[str, Any] = {"vocab_size": vocab_size, "show_progress": False}
    if kind == "WordPiece":
        vocabulary = train_wordpiece(texts, vocab_size).vocabulary
        # The library numbers characters in a random order, and breaks ties by it. Named here, they have our order.
        special = BERT_SPECIAL_TOKENS
        characters = [piece for piece in vocabulary[len(special) :] if len(piece.removeprefix(PREFIX)) == 1]

        def bert(vocabulary: dict[str, int]) -> Any:
            tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
            tokenizer.normalizer = normalizers.BertNormalizer()
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            return tokenizer

        def their_wordpiece() -> Any:
            trainee = bert({})
            trainer = trainers.WordPieceTrainer(special_tokens=[*special, *characters], **settings)
            trainee.train_from_iterator(texts, trainer)
            return bert(trainee.get_vocab())  # without the characters as special tokens

        return lambda: train_wordpiece(texts, vocab_size), their_wordpiece

    def their_bpe() -> Any:
        if kind == "BPE":
            trainee = Tokenizer(models.BPE(unk_token="[UNK]"))
            trainee.pre_tokenizer = pre_tokenizers.Whitespace()
            trainer = trainers.BpeTrainer(special_tokens=["[UNK]"], **settings)
        else:
            trainee = Tokenizer(models.BPE())
            trainee.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, **settings)
        trainee.train_from_iterator(texts, trainer)
        return trainee

    train = train_bpe if kind == "BPE" else train_byte_level_bpe
    return lambda: train(texts, vocab_size), their_bpe


@contextmanager
def _one_thread() -> Iterator[None]:
    """The library looks at this variable whenever it is called."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before
