"""A Transformer that translates: dates as people write them into ISO 8601, or verses from English into French.

    python -m autograder.reference.recipes.translator dates --folder build/translator
    python -m autograder.reference.recipes.translator french --folder build/translator
    python -m autograder.reference.recipes.translator french_lstm --folder build/translator

The dates take a minute or two, letter by letter; the verses an hour, in byte-level pieces that both languages share.
The rival with LSTMs has as many parameters and as much time.
The log, the weights in 16 bits and what was reached are put into the folder; a run that is stopped is resumed.
"""

import argparse
import json
import random
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from autograder.data import load
from autograder.data.batches import LengthBatches, pad
from autograder.data.generated.dates import dates
from autograder.reference.byte_level_bpe import ByteLevelBPE, train_byte_level_bpe
from autograder.reference.decoding import beam_decode, greedy_decode
from autograder.reference.recurrent_translator import RecurrentConfig, RecurrentTranslator
from autograder.reference.training import TrainingConfig, evaluating, train
from autograder.reference.transformer import Transformer, TransformerConfig, label_smoothing_loss

Pairs = Sequence[tuple[str, str]]

PADDING, START, END = SPECIAL = ("<pad>", "<start>", "<end>")
"""Number 0, 1 and 2 of the vocabulary, as :class:`TransformerConfig` has them."""

BYTES = 256
LONGEST_VERSE = 30
"""Words on either side; longer verses are left out."""


@dataclass(frozen=True)
class Recipe:
    """How one of them is trained.

    Attributes:
        pairs: what is translated, see :func:`load_pairs`.
        kind: of the model.
        vocab_size: pieces of words; with ``BYTES`` and the special tokens alone, letters.
        max_tokens: in a batch, on either side.
        smoothing: ε of the loss.
        beam: sentences that are kept in writing; 1 is greedy.
    """

    pairs: str
    kind: str
    vocab_size: int
    d_model: int
    num_layers: int
    dropout: float
    training: TrainingConfig
    max_tokens: int
    smoothing: float
    beam: int


RECIPES = {
    "dates": Recipe(
        "dates", "transformer", BYTES + len(SPECIAL), 64, 2, 0.0,
        TrainingConfig(1_500, 3e-3, evaluate_every=250), 2_048, 0.0, beam=1,
    ),
    "french": Recipe(
        "french", "transformer", 4_000, 128, 3, 0.2,
        TrainingConfig(5_000, 6e-3, warmup_steps=300, evaluate_every=500), 2_048, 0.1, beam=4,
    ),
    "french_lstm": Recipe(
        "french", "lstm", 4_000, 184, 2, 0.2,
        TrainingConfig(6_000, 6e-3, warmup_steps=300, evaluate_every=500), 2_048, 0.1, beam=4,
    ),
}  # fmt: skip
KINDS: dict[str, tuple[Any, Any]] = {
    "transformer": (Transformer, TransformerConfig),
    "lstm": (RecurrentTranslator, RecurrentConfig),
}


def load_pairs(name: str) -> dict[str, Pairs]:
    """Source and target sentences of the parts "train", "validation" and "test".

    No day is in two parts of the dates, and no chapter in two parts of the verses.
    """
    if name == "dates":
        made = dates(24_000, np.random.default_rng(0))
        days = sorted({iso for _, iso in made})
        random.Random(0).shuffle(days)
        held_out = {day: ("validation", "test")[number % 2] for number, day in enumerate(days[:2_000])}
        parts: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
        for written, iso in made:
            parts[held_out.get(iso, "train")].append((written, iso))
        return dict(parts)
    split = load("french_pairs", allow_stand_in=False).split()

    def is_usable(side: str) -> bool:  # some verses stand for a gap, or say only where they are numbered otherwise
        return any(map(str.isalpha, side)) and len(side.split()) <= LONGEST_VERSE

    def without_numbers(side: str) -> str:  # (3:4) says that a verse has another number in the original
        return re.sub(r"\(\d+:\d+\w?\)\s*", "", side)

    parts_of_verses: dict[str, Pairs] = {}
    for part in ("train", "validation", "test"):
        pairs = [(without_numbers(source), without_numbers(target)) for source, target in getattr(split, part)]
        parts_of_verses[part] = [pair for pair in pairs if all(map(is_usable, pair))]
    return parts_of_verses


@dataclass(frozen=True)
class Translator:
    """A model with the pieces that it reads and writes."""

    model: Transformer | RecurrentTranslator
    tokenizer: ByteLevelBPE

    def translate(self, sentences: Sequence[str], beam: int = 4, show: bool = False) -> list[str]:
        """Write the best translation of each sentence that a beam finds; a beam of 1 is greedy.

        Sentences of like length are written together, since a batch takes as long as its longest; ``show`` a bar.
        """
        longest = self.model.config.max_length
        encoded = [[*self.tokenizer.encode(sentence), 2][:longest] for sentence in sentences]
        order = sorted(range(len(encoded)), key=lambda row: len(encoded[row]))
        found = [""] * len(sentences)
        with evaluating(self.model), tqdm(total=len(order), disable=not show, unit="sentence") as bar:
            for start in range(0, len(order), 32):
                rows = order[start : start + 32]
                source, _ = pad([encoded[row] for row in rows], 0)
                length = min(longest - 1, 2 * source.size(1) + 10)
                ids = (
                    greedy_decode(self.model, source, length)
                    if beam == 1
                    else beam_decode(self.model, source, beam, length)
                )
                for row, written in zip(rows, ids.tolist(), strict=True):
                    found[row] = self.tokenizer.decode(i for i in written if i > 2)
                bar.update(len(rows))
        return found

    def save(self, folder: Path, name: str, about: dict[str, Any]) -> None:
        """Write the weights in 16 bits, the tokenizer, and what there is to say about them."""
        self.tokenizer.save(folder / f"{name}_tokenizer.json")
        weights = {key: value.half() for key, value in self.model.state_dict().items()}
        save_file(weights, folder / f"{name}.safetensors")
        kind = next(name for name, (made_by, _) in KINDS.items() if isinstance(self.model, made_by))
        about = {"kind": kind, "config": asdict(self.model.config), **about}
        (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @staticmethod
    def load(folder: Path, name: str) -> "Translator":
        """What :meth:`save` wrote."""
        about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        make_model, make_config = KINDS[about["kind"]]
        model = make_model(make_config(**about["config"]))
        model.load_state_dict(load_file(folder / f"{name}.safetensors"))
        return Translator(model.eval(), ByteLevelBPE.load(folder / f"{name}_tokenizer.json"))


def make(recipe: Recipe, pairs: Pairs, seed: int) -> Translator:
    """A new model, and the pieces of the text that it is to learn from."""
    texts = (side for pair in pairs for side in pair)
    tokenizer = train_byte_level_bpe(texts, recipe.vocab_size, special_tokens=SPECIAL)
    torch.manual_seed(seed)
    D, V = recipe.d_model, len(tokenizer.vocabulary)
    if recipe.kind == "lstm":
        config = RecurrentConfig(V, D, recipe.num_layers, recipe.dropout)
        return Translator(RecurrentTranslator(config), tokenizer)
    return Translator(
        Transformer(TransformerConfig(V, D, recipe.num_layers, 4, 4 * D, recipe.dropout, norm_first=True)), tokenizer
    )


class Examples:
    """Pairs as token ids, in batches of like length."""

    def __init__(self, pairs: Pairs, tokenizer: ByteLevelBPE, max_tokens: int, seed: int) -> None:
        self.sources = [[*tokenizer.encode(source), 2] for source, _ in pairs]
        self.targets = [[1, *tokenizer.encode(target), 2] for _, target in pairs]
        lengths = [max(map(len, both)) for both in zip(self.sources, self.targets, strict=True)]
        self.batches = LengthBatches(lengths, max_tokens=max_tokens, granularity=4, seed=seed)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Sources (B, S) and targets (B, T), from the start token to the end."""
        chosen = self.batches.batch(step)
        return pad([self.sources[i] for i in chosen], 0)[0], pad([self.targets[i] for i in chosen], 0)[0]


def loss(model: Transformer | RecurrentTranslator, source: Tensor, target: Tensor, smoothing: float) -> Tensor:
    """Nats a token of the target, each given the source and the tokens before it."""
    return label_smoothing_loss(model(source, target[:, :-1]), target[:, 1:], smoothing, ignore_index=0)


def run(
    name: str, folder: Path | None = None, seed: int = 0, training: TrainingConfig | None = None
) -> tuple[Translator, dict[str, Any]]:
    """Train one of them; returns it and what it reached on the test part."""
    recipe = RECIPES[name]
    pairs = load_pairs(recipe.pairs)
    training = replace(training or recipe.training, seed=seed)
    translator = make(recipe, pairs["train"], seed)
    model = translator.model
    examples = {
        part: Examples(pairs[part], translator.tokenizer, recipe.max_tokens, seed) for part in ("train", "validation")
    }

    def loss_of_step(step: int) -> Tensor:
        return loss(model, *examples["train"].batch(step), recipe.smoothing)

    def evaluate() -> dict[str, float]:
        held_out = examples["validation"]
        losses = [loss(model, *held_out.batch(step), 0.0).item() for step in range(len(held_out.batches))]
        return {"loss": sum(losses) / len(losses)}

    history = train(model, loss_of_step, training, evaluate, recipe.max_tokens, folder, name)
    about = {
        "validation_loss": round(history.best_loss, 4),
        "best_step": history.best_step,
        "training": asdict(training),
        "seconds": round(history.rows[-1]["seconds"]),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    return translator, about | judge(translator, pairs["test"], recipe.beam)


def judge(translator: Translator, pairs: Pairs, beam: int, resamples: int = 200) -> dict[str, Any]:
    """How much of a test is translated right: the share that is exactly so, and BLEU (Papineni et al. 2002).

    ``bleu_interval`` holds 95 % of the scores on sentences drawn anew, with replacement (Koehn 2004, §3). ``examples``
    are the rows of the sentences at which a tenth, half and nine tenths of all have less than they, each by itself.
    """
    from sacrebleu import corpus_bleu, sentence_bleu  # an extra: the book's readers need it for this alone

    written = translator.translate([source for source, _ in pairs], beam, show=True)
    wanted = [target for _, target in pairs]
    exact = sum(one == other for one, other in zip(written, wanted, strict=True)) / len(wanted)

    def bleu(rows: Sequence[int]) -> float:
        return corpus_bleu([written[row] for row in rows], [[wanted[row] for row in rows]]).score

    drawn = np.random.default_rng(0).integers(len(pairs), size=(resamples, len(pairs))).tolist()
    interval = np.quantile([bleu(rows) for rows in drawn], [0.025, 0.975]).round(2).tolist()
    by_score = sorted(range(len(pairs)), key=lambda row: sentence_bleu(written[row], [wanted[row]]).score)
    return {
        "exact": round(exact, 4),
        "bleu": round(bleu(range(len(pairs))), 2),
        "bleu_interval": interval,
        "sentences": len(pairs),
        "examples": [by_score[int(share * len(pairs))] for share in (0.1, 0.5, 0.9)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", choices=list(RECIPES))
    parser.add_argument("--folder", type=Path, default=Path("build/translator"), help="where everything is kept")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rate", type=float, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    training = RECIPES[chosen.recipe].training
    training = replace(
        training, steps=chosen.steps or training.steps, learning_rate=chosen.rate or training.learning_rate
    )
    try:
        translator, about = run(chosen.recipe, chosen.folder, chosen.seed, training)
    except ValueError as error:  # what is in the folder is of another training
        parser.error(str(error))
    translator.save(chosen.folder, chosen.recipe, about)
    print(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
