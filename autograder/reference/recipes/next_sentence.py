"""Next-sentence prediction (Devlin et al. 2019, §3.1) by the family's BERT: what is there to learn, and who learns it?

    python -m autograder.reference.recipes.next_sentence

The pretrained encoder and an untrained one learn from pairs of sentences of Wikipedia; the judge who counts asks which
rare pieces the two sentences share. Three seeds, four learning rates, half an hour on one thread; it writes
``next_sentence.csv`` beside this file, and a run that is stopped goes on.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import regex
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data import Document, load
from autograder.data.batches import pad
from autograder.reference.attention import padding_mask
from autograder.reference.bert import BertForPreTraining, pack, sentence_pairs
from autograder.reference.pretrained import load_bert, load_tokenizer
from autograder.reference.recipes.family import KINDS, Sizes
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import TrainingConfig, evaluating, train
from autograder.reference.wordpiece import WordPiece

LOG = Path(__file__).with_suffix(".csv")
COLUMNS = ("start", "seed", "rate", "part", "step", "accuracy")
STARTS = ("pretrained", "untrained")
SEEDS, CHOICE_SEED = (0, 1, 2), 100
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3)
STEPS, EVERY, BATCH = 600, 100, 16
LONGEST = 60
"""Pieces in a sentence; the rest of it is left out."""
DOCUMENTS = {"train": 4_000, "validation": 300, "test": 300}

Pair = tuple[list[int], list[int], int]
"""Two sentences, and 0 if the second follows the first, else 1."""


def split_sentences(text: str) -> list[str]:
    """Cut behind a full stop, a question mark or an exclamation mark with a capital letter after it."""
    return regex.split(r"(?<=[.!?])\s+(?=\p{Lu})", text)


def pairs_of(documents: Sequence[Document], tokenizer: WordPiece, seed: int) -> list[Pair]:
    """Pairs of sentences of articles; articles of one sentence are left out."""
    cut = [[tokenizer.encode(sentence)[:LONGEST] for sentence in split_sentences(d.text)] for d in documents]
    whole = [[sentence for sentence in sentences if len(sentence) > 3] for sentences in cut]
    chosen = [sentences for sentences in whole if len(sentences) > 1]
    pairs = sentence_pairs(chosen, torch.Generator().manual_seed(seed))
    return [(list(first), list(second), label) for first, second, label in pairs]


def prepare(tokenizer: WordPiece, documents: dict[str, int] = DOCUMENTS) -> dict[str, list[Pair]]:
    """Pairs of the three parts of Wikipedia's leads."""
    split = load("wikipedia", allow_stand_in=False).split()
    return {
        part: pairs_of(getattr(split, part)[:count], tokenizer, number)
        for number, (part, count) in enumerate(documents.items())
    }


class SharedPieces:
    """The judge who counts: two sentences belong together if the pieces that both have are rare enough.

    Args:
        pairs: to count in how many of them a piece occurs, and to choose the threshold by.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        seen = Counter(piece for first, second, _ in pairs for piece in {*first, *second})
        self.weights = {piece: float(np.log(len(pairs) / count)) for piece, count in seen.items()}
        self.unseen = float(np.log(len(pairs)))
        scores, labels = self.scores(pairs), np.array([label for *_, label in pairs])
        thresholds = np.quantile(scores, np.linspace(0, 1, 101))
        self.threshold = max(thresholds, key=lambda threshold: ((scores < threshold) == labels).mean())

    def scores(self, pairs: Sequence[Pair]) -> np.ndarray:
        """The sum, over the pieces that both sentences have, of ln(pairs / pairs with this piece)."""
        both = [set(first) & set(second) for first, second, _ in pairs]
        return np.array([sum(self.weights.get(piece, self.unseen) for piece in pieces) for pieces in both])

    def accuracy(self, pairs: Sequence[Pair]) -> float:
        """The share of pairs that are told right."""
        labels = np.array([label for *_, label in pairs])
        return float(((self.scores(pairs) < self.threshold) == labels).mean())


def logits_of(model: BertForPreTraining, pairs: Sequence[Pair], tokenizer: WordPiece) -> Tensor:
    """What the head for next sentences says, (B, 2)."""
    special = tokenizer.ids["[CLS]"], tokenizer.ids["[SEP]"]
    packed = [pack(first, second, *special) for first, second, _ in pairs]
    ids, lengths = pad([ids for ids, _ in packed], tokenizer.ids["[PAD]"])
    segments, _ = pad([segments for _, segments in packed], 0)
    hidden = model.bert(ids, segments, padding_mask(lengths, ids.size(1)))
    return model.next_sentence_head(model.bert.pooler(hidden))


def accuracy(model: BertForPreTraining, pairs: Sequence[Pair], tokenizer: WordPiece) -> float:
    """The share of pairs that are told right."""
    with evaluating(model):
        found = [
            logits_of(model, pairs[at : at + 64], tokenizer).argmax(dim=1).tolist() for at in range(0, len(pairs), 64)
        ]
    told = [label for labels in found for label in labels]
    return float(np.mean([label == pair[2] for label, pair in zip(told, pairs, strict=True)]))


def run(start: str, seed: int, rate: float, pairs: dict[str, list[Pair]], part: str, steps: int = STEPS) -> list[float]:
    """Train once; returns the accuracy on a part after every ``EVERY`` steps."""
    tokenizer = load_tokenizer()
    torch.manual_seed(seed)
    model = load_bert() if start == "pretrained" else KINDS["bert"].make(Sizes())
    reached: list[float] = []

    def loss_of_step(step: int) -> Tensor:
        epoch, number = divmod(step, len(pairs["train"]) // BATCH)
        order = np.random.default_rng([seed, epoch]).permutation(len(pairs["train"]))
        batch = [pairs["train"][place] for place in order[number * BATCH : (number + 1) * BATCH]]
        return F.cross_entropy(logits_of(model, batch, tokenizer), torch.tensor([label for *_, label in batch]))

    def evaluate() -> dict[str, float]:
        reached.append(accuracy(model, pairs[part], tokenizer))
        return {"loss": -reached[-1]}

    heads = (("bert.pooler", 10.0), ("next_sentence_head", 10.0))
    training = TrainingConfig(steps, rate, heads, warmup_steps=steps // 10, evaluate_every=min(EVERY, steps), seed=seed)
    train(model, loss_of_step, training, evaluate, show=False)
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    pairs = prepare(load_tokenizer())
    log = RunLog(chosen.log, COLUMNS, key_size=4)

    def rows(start: str, seed: int, rate: float, part: str) -> list[dict[str, str]]:
        key = (start, seed, rate, part)
        steps = [EVERY * number for number in range(1, STEPS // EVERY + 1)]
        return log.rows_of(*key) or log.add(key, zip(steps, run(start, seed, rate, pairs, part), strict=True))

    if not log.rows_of("shared pieces", 0, 0, "test"):
        log.add(("shared pieces", 0, 0, "test"), [(0, SharedPieces(pairs["train"]).accuracy(pairs["test"]))])
    with tqdm(total=len(STARTS) * (len(RATES) + len(SEEDS)), unit="run") as bar:
        for start in STARTS:
            reached = {}
            for rate in RATES:
                reached[rate] = float(rows(start, CHOICE_SEED, rate, "validation")[-1]["accuracy"])
                bar.update()
            best = max(reached, key=reached.__getitem__)
            for seed in SEEDS:
                rows(start, seed, best, "test")
                bar.update()


if __name__ == "__main__":
    main()
