"""What ELMo, BERT and GPT know about one hidden word: the question that can be put to all three alike.

    python -m autograder.reference.recipes.cloze --folder build/family

Their losses cannot be compared, since they are asked for different things: a word after what is before it, a word
between two texts, a third of all words at once. Here each is asked for the same words of held-out text, one at a time.
BERT reads [MASK] there. GPT reads what is before. ELMo reads both, but each direction alone, and both opinions are
multiplied: if what is before and what is behind were independent given the word w,

    p(w | before, behind) ∝ p(w | before) · p(w | behind) / p(w).
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from autograder.reference.bert import BertForPreTraining
from autograder.reference.elmo import ELMo
from autograder.reference.gpt import GPT
from autograder.reference.pretrained import load_bert, load_elmo, load_gpt
from autograder.reference.recipes.family import CONTEXT, Recipe
from autograder.reference.training import evaluating

QUESTIONS, MARGIN = 2_000, 32
"""How many words are hidden, each in a piece of text of its own with at least so many tokens on both sides."""


def questions(tokens: Tensor, count: int, seed: int, never: int) -> tuple[Tensor, Tensor]:
    """Pieces of text and the place of the hidden word in each.

    Args:
        tokens: held-out text, (N,).
        count: the most questions; no two share a token.
        never: a token that is not asked for, [SEP].

    Returns:
        ids (Q, T) and places (Q,).
    """
    pieces = tokens[: len(tokens) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    generator = torch.Generator().manual_seed(seed)
    chosen = pieces[torch.randperm(len(pieces), generator=generator)[:count]]
    may = torch.zeros(chosen.shape)
    may[:, MARGIN : CONTEXT - MARGIN] = 1.0
    may[chosen == never] = 0.0
    return chosen, may.multinomial(1, generator=generator).squeeze(1)


def token_log_probs(tokens: Tensor, vocab_size: int) -> Tensor:
    """log p(w), (V,), by counting the training text; each token once more than it occurs."""
    return (torch.bincount(tokens, minlength=vocab_size) + 1.0).log().log_softmax(dim=0)


def opinions(model: nn.Module, ids: Tensor, places: Tensor, mask_id: int, log_prior: Tensor) -> dict[str, Tensor]:
    """Log-probabilities (Q, V) of the hidden word, by all the ways to ask a model.

    Args:
        ids: (Q, T), with the hidden word, which no model is shown. places: (Q,).
        log_prior: (V,), from :func:`token_log_probs`.
    """
    rows = torch.arange(len(ids))
    if isinstance(model, BertForPreTraining):
        hidden = model.bert(ids.index_put((rows, places), torch.tensor(mask_id)))[rows, places]
        return {"bert": model.masked_lm_logits(hidden).log_softmax(dim=-1)}
    if isinstance(model, ELMo):
        forward, backward = model(ids)
        before = forward[rows, places - 1].log_softmax(dim=-1)
        behind = backward[rows, places + 1].log_softmax(dim=-1)
        both = (before + behind - log_prior).log_softmax(dim=-1)
        return {"elmo": both, "elmo, before": before, "elmo, behind": behind}
    assert isinstance(model, GPT)
    return {"gpt": model(ids)[rows, places - 1].log_softmax(dim=-1)}


def compare(models: Mapping[str, nn.Module], recipe: Recipe, seed: int = 0) -> dict[str, dict[str, float]]:
    """Ask all models the same questions.

    Returns:
        for each way of asking: ``nats``, the mean of −log p of the hidden words, and ``right``, the share of the
        questions whose likeliest answer is right, each with its standard error; ``single words`` is p(w) alone.
    """
    numbers = recipe.tokenizer.ids
    ids, places = questions(recipe.tokens["test"], QUESTIONS, seed, numbers["[SEP]"])
    hidden = ids[torch.arange(len(ids)), places]
    log_prior = token_log_probs(recipe.tokens["train"], recipe.sizes.vocab_size)
    found = {"single words": log_prior.expand(len(ids), -1)}
    for model in models.values():
        with evaluating(model):
            parts = [
                opinions(model, *part, numbers["[MASK]"], log_prior)
                for part in zip(ids.split(50), places.split(50), strict=True)
            ]
        found |= {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: _score(log_probs, hidden) for name, log_probs in found.items()}


def _score(log_probs: Tensor, hidden: Tensor) -> dict[str, float]:
    nats = -log_probs.gather(1, hidden.unsqueeze(1)).squeeze(1).double()
    right = (log_probs.argmax(dim=1) == hidden).double()
    by = {"nats": nats, "right": right}
    errors = {f"{name}_error": values.std() / np.sqrt(len(values)) for name, values in by.items()}
    return {name: round(float(value.mean()), 4) for name, value in (by | errors).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/family"), help="where the three models are")
    chosen = parser.parse_args()
    try:
        models = {
            kind: load(chosen.folder) for kind, load in (("elmo", load_elmo), ("bert", load_bert), ("gpt", load_gpt))
        }
    except FileNotFoundError as error:
        parser.error(str(error))
    found = compare(models, Recipe.prepare(chosen.folder))
    (chosen.folder / "cloze.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, scores in found.items():
        print(f"{name:14}{scores['nats']:7.3f} ±{scores['nats_error']:.3f} nats {scores['right']:7.3f} right")


if __name__ == "__main__":
    main()
