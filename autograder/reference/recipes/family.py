"""ELMo, BERT and GPT at one budget: one text, one tokenizer, as many tokens read, as many parameters.

    python -m autograder.reference.recipes.family gpt --folder build/family

The text is wikipedia's article leads and the addresses on the state of the union; the tokenizer cuts its words into
4,096 pieces. The models have within 5 % as many parameters outside the embeddings. A run that is stopped is resumed.
At its end the folder holds the weights in 16 bits, the log, and what there is to say about them. Beside the three
there are the two models that lie between ELMo and BERT, see ``recipes/exchange.py``.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.data import Texts, load
from autograder.data.batches import ShuffledChunks
from autograder.reference.bert import IGNORED, BertConfig, BertForPreTraining, mask_tokens
from autograder.reference.elmo import ELMo, ElmoConfig
from autograder.reference.gpt import GPT, GPTConfig
from autograder.reference.recipes.exchange import bert_with_lstms, elmo_without_lstms
from autograder.reference.training import TrainingConfig, evaluating, step_seed, train
from autograder.reference.wordpiece import WordPiece, train_wordpiece

TEXTS: tuple[Texts, ...] = ("wikipedia", "state_of_the_union")
PARTS = ("train", "validation", "test")
TOKENIZER = "tokenizer.json"
CONTEXT, BATCH = 128, 16
HELD_OUT_PIECES = 320
"""Of ``CONTEXT`` tokens each, in an evaluation."""

TRAINING = TrainingConfig(steps=12_000, learning_rate=4e-3, evaluate_every=500, checkpoint_every=250, bfloat16=True)
"""The learning rate is each model's own."""


@dataclass(frozen=True)
class Sizes:
    """What the three have in common; smaller in tests.

    Attributes:
        vocab_size: pieces of words, V.
        d_model: width of the Transformers, D.
        num_layers: of the Transformers.
        lstm_size: width of ELMo, whose two layers of LSTMs in two directions are to be as large as the Transformers.
        lstm_in_bert_size: of the LSTMs in BERT's place, likewise.
        masking: share of the tokens that BERT is asked for. The paper's 15 % start more slowly in a model this small.
        dropout: none in pretraining, which sees no text often enough to learn it by heart.
    """

    vocab_size: int = 4096
    d_model: int = 128
    num_layers: int = 4
    lstm_size: int = 157
    lstm_in_bert_size: int = 155
    masking: float = 0.3
    dropout: float = 0.0


def make_elmo(sizes: Sizes) -> ELMo:
    """Two language models of two layers each; a subword's vector stands where the paper's character network did."""
    D = sizes.lstm_size
    return ELMo(ElmoConfig(sizes.vocab_size, D, D, dropout=sizes.dropout, tie_embeddings=True))


def bert_config(sizes: Sizes) -> BertConfig:
    """An encoder that learns from little: norms inside the branches, rotary positions, a wide start."""
    D = sizes.d_model
    options: dict[str, Any] = {"norm_first": True, "positions": "rotary", "initial_std": 0.05}
    options["dropout"] = sizes.dropout
    return BertConfig(sizes.vocab_size, D, sizes.num_layers, 4, 4 * D, CONTEXT, **options)


def gpt_config(sizes: Sizes) -> GPTConfig:
    """The same as a decoder."""
    options: dict[str, Any] = {"positions": "rotary", "initial_std": 0.05, "dropout": sizes.dropout}
    return GPTConfig(sizes.vocab_size, CONTEXT, sizes.d_model, sizes.num_layers, 4, **options)


def make_elmo_without_lstms(sizes: Sizes) -> ELMo:
    """ELMo's two directions, each with half of the decoder's layers."""
    return elmo_without_lstms(replace(gpt_config(sizes), num_layers=sizes.num_layers // 2))


def make_bert_with_lstms(sizes: Sizes) -> BertForPreTraining:
    """BERT, with as many LSTMs as ELMo has."""
    return bert_with_lstms(bert_config(sizes), sizes.lstm_in_bert_size)


def mean_loss(logits: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy, in nats; a part of the logits at a time, which stays in the processor's cache.

    Args:
        logits: from (n, D) to (n, V).
        hidden: (N, D). targets: (N,).
    """
    parts = zip(hidden.split(512), targets.split(512), strict=True)
    return torch.stack([F.cross_entropy(logits(x), y, reduction="sum") for x, y in parts]).sum() / len(targets)


def elmo_loss(model: ELMo, ids: Tensor, seed: int, recipe: "Recipe") -> Tensor:
    """Nats a prediction: each token from those before it, and from those behind it; as ``bilm_loss``."""
    forward, backward = model.hidden_states(ids)[-1].chunk(2, dim=-1)  # each (B, T, D)
    hidden = torch.cat([forward[:, :-1], backward[:, 1:]])  # (2B, T − 1, D)
    targets = torch.cat([ids[:, 1:], ids[:, :-1]])
    return mean_loss(model.token_logits, hidden.flatten(0, 1), targets.flatten())


def bert_loss(model: BertForPreTraining, ids: Tensor, seed: int, recipe: "Recipe") -> Tensor:
    """Nats a hidden token, given all others; logits are computed where they are asked for alone."""
    numbers = recipe.tokenizer.ids
    special = ids == numbers["[SEP]"]
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = mask_tokens(
        ids, special, recipe.sizes.vocab_size, generator, numbers["[MASK]"], recipe.sizes.masking
    )
    asked = labels != IGNORED
    return F.cross_entropy(model.masked_lm_logits(model.bert(inputs)[asked]), labels[asked])


def gpt_loss(model: GPT, ids: Tensor, seed: int, recipe: "Recipe") -> Tensor:
    """Nats a token, given those before it; as ``language_model_loss``."""
    return mean_loss(model.logits, model.hidden_states(ids)[-1][:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@dataclass(frozen=True)
class Kind:
    """How one of the three is made, and what it learns from a batch of text (B, T).

    Attributes:
        learning_rate: the best of 0.002, 0.004 and 0.008 (for ELMo up to 0.032) after 1,000 steps, on validation.
    """

    make: Callable[[Sizes], Any]
    loss: Callable[[Any, Tensor, int, "Recipe"], Tensor]
    learning_rate: float


KINDS = {
    "elmo": Kind(make_elmo, elmo_loss, 16e-3),
    "bert": Kind(lambda sizes: BertForPreTraining(bert_config(sizes)), bert_loss, 4e-3),
    "gpt": Kind(lambda sizes: GPT(gpt_config(sizes)), gpt_loss, 4e-3),
    "elmo_without_lstms": Kind(make_elmo_without_lstms, elmo_loss, 4e-3),
    "bert_with_lstms": Kind(make_bert_with_lstms, bert_loss, 16e-3),
}

LEFT_OUT = ("embedding", "token_encoder", "output_bias", "masked_lm_head.bias", "pooler", "next_sentence_head")
"""Parameters that belong to single tokens, and BERT's for sentence pairs, which this recipe does not train."""


def parameters_outside_embeddings(model: nn.Module) -> int:
    """How many numbers read the context, which is what the budget is about."""
    return sum(p.numel() for name, p in model.named_parameters() if not any(part in name for part in LEFT_OUT))


@dataclass(frozen=True)
class Recipe:
    """The text as tokens, and what all three share.

    Attributes:
        tokens: (N,) of each part of the split, a [SEP] behind every document.
    """

    tokenizer: WordPiece
    tokens: dict[str, Tensor]
    sizes: Sizes

    @staticmethod
    def prepare(folder: Path, names: tuple[Texts, ...] = TEXTS) -> "Recipe":
        """Learn the tokenizer from the training part, unless it is in the folder already, and cut all text."""
        folder.mkdir(parents=True, exist_ok=True)
        splits = [load(name, allow_stand_in=False).split() for name in names]
        texts = {part: [d.text for split in splits for d in getattr(split, part)] for part in PARTS}
        return Recipe.of(texts, folder, Sizes())

    @staticmethod
    def of(texts: dict[str, list[str]], folder: Path, sizes: Sizes) -> "Recipe":
        """The same for any texts."""
        kept = folder / TOKENIZER
        if not kept.exists():
            print(f"Learning {sizes.vocab_size} pieces of words ...", flush=True)
            train_wordpiece(texts["train"], sizes.vocab_size, limit_alphabet=200).save(kept)
        tokenizer = WordPiece.load(kept)
        print("Cutting the text ...", flush=True)
        end = [tokenizer.ids["[SEP]"]]
        tokens = {
            part: torch.tensor([number for text in texts[part] for number in tokenizer.encode(text) + end])
            for part in PARTS
        }
        return Recipe(tokenizer, tokens, sizes)

    def held_out(self, name: str, model: nn.Module, part: str) -> float:
        """A model's loss, in nats, on the first pieces of "validation" or "test"; BERT is asked for the same tokens."""
        tokens = self.tokens[part]
        count = min(HELD_OUT_PIECES, len(tokens) // CONTEXT)
        batches = tokens[: count * CONTEXT].view(-1, CONTEXT).split(BATCH)
        with evaluating(model):
            losses = [
                KINDS[name].loss(model, ids, number, self).item() * len(ids) for number, ids in enumerate(batches)
            ]
        return sum(losses) / count

    def begin(self, name: str, seed: int) -> tuple[nn.Module, Callable[[int], Tensor]]:
        """One of the three with the weights that a seed gives it, and its loss at each step of a training."""
        kind = KINDS[name]
        torch.manual_seed(seed)
        model = kind.make(self.sizes)
        pieces = ShuffledChunks(self.tokens["train"], BATCH, CONTEXT, seed)

        def loss_of_step(step: int) -> Tensor:
            ids, _ = pieces.batch(step)
            return kind.loss(model, ids, step_seed(seed, step), self)

        return model, loss_of_step

    def pretrain(self, name: str, folder: Path, training: TrainingConfig) -> dict[str, Any]:
        """Train one of the three and keep it in the folder; returns what there is to say about it."""
        model, loss_of_step = self.begin(name, training.seed)

        def evaluate() -> dict[str, float]:
            return {"loss": self.held_out(name, model, "validation")}

        history = train(model, loss_of_step, training, evaluate, BATCH * CONTEXT, folder, name)
        test_loss = self.held_out(name, model, "test")
        about = {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "parameters_outside_embeddings": parameters_outside_embeddings(model),
            "sizes": asdict(self.sizes),
            "training": asdict(training),
            "tokens_read": training.steps * BATCH * CONTEXT,
            "best_step": history.best_step,
            "validation_loss": round(history.best_loss, 4),
            "test_loss": round(test_loss, 4),
            "torch": torch.__version__.split("+")[0],
        }
        save_file({key: value.half() for key, value in model.state_dict().items()}, folder / f"{name}.safetensors")
        (folder / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        return about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", choices=list(KINDS))
    parser.add_argument("--folder", type=Path, default=Path("build/family"), help="where everything is kept")
    parser.add_argument("--steps", type=int, default=TRAINING.steps, help=f"of {BATCH * CONTEXT} tokens each")
    parser.add_argument("--rate", type=float, help="the highest learning rate, if not the model's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    rate = chosen.rate or KINDS[chosen.model].learning_rate
    training = replace(TRAINING, steps=chosen.steps, learning_rate=rate, seed=chosen.seed)
    try:
        recipe = Recipe.prepare(chosen.folder)
        about = recipe.pretrain(chosen.model, chosen.folder, training)
    except ValueError as error:  # what is in the folder is of another training
        parser.error(str(error))
    print(json.dumps(about, indent=1))


if __name__ == "__main__":
    main()
