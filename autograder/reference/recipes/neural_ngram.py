"""Bengio's model on the Bible in Basic English, beside n-grams that were counted on the same verses.

    python -m autograder.reference.recipes.neural_ngram --folder build/neural_ngram

About eight minutes for each seed on one thread. ``neural_ngram.json`` holds what every seed reached after every
epoch, ``neural_ngram.safetensors`` the weights of the first in 16 bits. Seeds that are in the log are not run again.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from autograder.data import load
from autograder.reference.counting import count_words
from autograder.reference.neural_ngram import NeuralLanguageModel, NeuralTraining, log_probs, train_epochs
from autograder.reference.ngrams import NgramCounts, Sentences, perplexity, split_sentences

ORDER, MIN_COUNT = 5, 2
EMBEDDING_SIZE, HIDDEN_SIZE = 100, 256
SEEDS = (0, 1, 2)
TRAINING = NeuralTraining(epochs=8, learning_rate=3e-3, bfloat16=True)


def verses() -> dict[str, Sentences]:
    """The sentences of the parts "train", "validation" and "test"; whole chapters are held out."""
    split = load("basic_english", allow_stand_in=False).split()
    return {
        part: [sentence for document in getattr(split, part) for sentence in split_sentences(document.text)]
        for part in ("train", "validation", "test")
    }


def count(sentences: Sentences) -> NgramCounts:
    """All n-grams up to ``ORDER``; words that came once are unknown."""
    return NgramCounts(sentences, ORDER, list(count_words(sentences, MIN_COUNT)))


def make_model(counts: NgramCounts) -> NeuralLanguageModel:
    """Looks back at as many words as the counts do; the start mark has a vector, too."""
    return NeuralLanguageModel(counts.base, ORDER - 1, EMBEDDING_SIZE, HIDDEN_SIZE)


def run(
    parts: dict[str, Sentences], counts: NgramCounts, seed: int, training: NeuralTraining = TRAINING
) -> tuple[NeuralLanguageModel, dict[str, Any]]:
    """Train once; returns the model and its perplexities after every epoch."""
    windows = {part: counts.windows(sentences) for part, sentences in parts.items()}
    torch.manual_seed(seed)
    model = make_model(counts)
    reached: dict[str, list[float]] = {"validation": [], "test": []}
    settings = replace(training, seed=seed)
    with tqdm(total=training.epochs, desc=f"seed {seed}", unit="epoch", dynamic_ncols=True) as bar:
        for loss in train_epochs(model, windows["train"], settings):
            for part, values in reached.items():
                values.append(round(perplexity(log_probs(model, windows[part])), 3))
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", validation=reached["validation"][-1])
    return model, {"seed": seed, "training": vars(settings), **reached}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/neural_ngram"), help="where everything is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    log = chosen.folder / "neural_ngram.json"
    runs: list[dict[str, Any]] = json.loads(log.read_text(encoding="utf-8")) if log.exists() else []
    parts = verses()
    counts = count(parts["train"])
    for seed in SEEDS:
        if any(run["seed"] == seed for run in runs):
            continue
        model, reached = run(parts, counts, seed)
        if seed == SEEDS[0]:
            weights = {key: value.half() for key, value in model.state_dict().items()}
            save_file(weights, chosen.folder / "neural_ngram.safetensors")
        runs.append(reached)
        log.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    for reached in runs:
        print(f"seed {reached['seed']}: perplexity {reached['test'][-1]:.2f} on the test part")


if __name__ == "__main__":
    main()
