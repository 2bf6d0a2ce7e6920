"""The road so far on one text: n-grams, Bengio's network, an LSTM and a GPT predict the same pieces.

    python -m autograder.reference.recipes.road --folder build/road

The text is the family's, cut into the family's pieces; every piece of the first held-out articles counts once, and so
does every end of an article. The LSTM is the forward half of the ELMo that comes with the course, the GPT the one that
comes with it; both have read as many tokens, in the same order of magnitude of parameters, and nothing is trained anew.
The n-grams are counted on the training part, and Bengio's network is trained on it, looking back at four pieces.
``road.csv`` in the folder has a row for each model and seed; those that are in it are not computed again. Its copy
beside this file is what the book draws. About one minute, and more than seven for each seed of Bengio's network, on one
thread.
"""

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data import Texts, load
from autograder.reference.neural_ngram import NeuralLanguageModel, NeuralTraining, log_probs, train_epochs
from autograder.reference.ngrams import NgramCounts, Sentences, kneser_ney
from autograder.reference.pretrained import load_elmo, load_gpt, load_tokenizer
from autograder.reference.recipes.family import CONTEXT, TEXTS
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import evaluating
from autograder.reference.wordpiece import WordPiece

ORDER = 5
EMBEDDING_SIZE, HIDDEN_SIZE = 100, 256
TRAINING = NeuralTraining(epochs=1, learning_rate=3e-3, bfloat16=True)
"""As in ``recipes/neural_ngram.py``, where the text is a quarter as long and read eight times."""

SEEDS = (0, 1, 2)
TESTED = 40_960
"""So many pieces are predicted."""

COLUMNS = ("model", "seed", "sees", "read", "nats", "seconds")


def documents(
    tokenizer: WordPiece, names: tuple[Texts, ...] = TEXTS, parts: tuple[str, ...] = ("train", "test")
) -> dict[str, Sentences]:
    """Each document of the parts as its pieces; the held-out ones are encyclopedia articles at the beginning."""
    splits = [load(name, allow_stand_in=False).split() for name in names]
    return {
        part: [
            [tokenizer.vocabulary[i] for i in tokenizer.encode(d.text)]
            for split in splits
            for d in getattr(split, part)
        ]
        for part in parts
    }


def as_stream(tokenizer: WordPiece, texts: Sentences, most: int = TESTED) -> Tensor:
    """The pieces of documents behind each other, [SEP] behind each, as the family reads them, and one in front."""
    end = tokenizer.ids["[SEP]"]
    ids = [end]
    for pieces in texts:
        ids += [*(tokenizer.ids[piece] for piece in pieces), end]
        if len(ids) > most:
            break
    return torch.tensor(ids[: most + 1])


@torch.no_grad()
def read_losses(logits_of: Callable[[Tensor], Tensor], ids: Tensor, length: int = CONTEXT, batch: int = 16) -> Tensor:
    """Nats of each piece but the first, (N − 1,).

    The text is read in windows that overlap by half, and of each the second half counts, so that half a window at least
    stands before a piece; at the beginning there is no more.

    Args:
        logits_of: from (B, T) to (B, T, V). ids: (N,).
    """
    half = length // 2
    found: list[Tensor] = []
    starts = list(range(0, max(1, len(ids) - 1 - half), half))
    for k in range(0, len(starts), batch):
        rows = [ids[start : start + length + 1] for start in starts[k : k + batch]]
        for row in [torch.stack(rows)] if len(rows[-1]) == len(rows[0]) else [r.unsqueeze(0) for r in rows]:
            losses = F.cross_entropy(logits_of(row[:, :-1]).mT, row[:, 1:], reduction="none")  # (B, T)
            found += [one if k == n == 0 and not found else one[half:] for n, one in enumerate(losses)]
    return torch.cat(found)


def train_bengio(counts: NgramCounts, windows: Tensor, seed: int, training: NeuralTraining) -> NeuralLanguageModel:
    """Chapter 1's network on other windows (N, 5)."""
    torch.manual_seed(seed)
    model = NeuralLanguageModel(counts.base, ORDER - 1, EMBEDDING_SIZE, HIDDEN_SIZE)
    settings = NeuralTraining(**{**vars(training), "seed": seed})
    for loss in train_epochs(model, windows, settings):
        tqdm.write(f"Bengio's network, seed {seed}: {loss:.3f} nats in training")
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/road"), help="where the log is kept")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS, help="of Bengio's network; none for none")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log, tokenizer = RunLog(chosen.folder / "road.csv", COLUMNS, key_size=2), load_tokenizer()
    gpt, elmo = load_gpt(), load_elmo()
    texts = documents(tokenizer)
    stream = as_stream(tokenizer, texts["test"])
    counts = NgramCounts(texts["train"], ORDER, tokenizer.vocabulary)
    windows = {part: counts.windows(pieces) for part, pieces in texts.items()}
    windows["test"] = windows["test"][: len(stream) - 1]

    def forward_half(ids: Tensor) -> Tensor:
        """What the forward half of ELMo says comes next, (B, T, V)."""
        forward, _ = elmo.hidden_states(ids)[-1].chunk(2, dim=-1)
        return elmo.token_logits(forward)

    def of_ngrams(n: int) -> float:
        return -kneser_ney(counts, n).probabilities(windows["test"]).log().mean().item()

    def of_reader(logits_of: Callable[[Tensor], Tensor]) -> float:
        with evaluating(gpt), evaluating(elmo):
            return read_losses(logits_of, stream).mean().item()

    def of_bengio(seed: int) -> float:
        model = train_bengio(counts, windows["train"], seed, TRAINING)
        return -log_probs(model, windows["test"]).mean().item()

    size = len(windows["train"])
    jobs: list[tuple[str, int, int, float, Callable[[], float]]] = [
        (f"Kneser–Ney, n = {n}", 0, n - 1, size, partial(of_ngrams, n)) for n in range(1, ORDER + 1)
    ]
    jobs += [("LSTM", 0, 0, 0, partial(of_reader, forward_half)), ("GPT", 0, 0, 0, partial(of_reader, gpt))]
    jobs += [("Bengio's network", s, ORDER - 1, TRAINING.epochs * size, partial(of_bengio, s)) for s in chosen.seeds]
    for name, seed, sees, read, job in tqdm(jobs, unit="model", dynamic_ncols=True):
        if not log.rows_of(name, seed):
            began = time.perf_counter()
            nats = job()
            log.add((name, seed), [(sees, read, round(nats, 4), round(time.perf_counter() - began, 1))])
            tqdm.write(f"{name}, seed {seed}: perplexity {math.exp(nats):.1f}")


if __name__ == "__main__":
    main()
