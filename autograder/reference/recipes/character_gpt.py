"""A GPT that writes letter by letter, with the numbers of nanoGPT's recipe for a machine without a GPU.

4 layers, 4 heads, width 128, a context of 64 characters, batches of 12, 2,000 steps, no dropout: nanoGPT's README
gives a held-out loss of 1.88 nats a character for these numbers on its text of Shakespeare's plays, of which the first
nine tenths are for training. Run it on that text, or any other, with

    python -m autograder.reference.recipes.character_gpt --corpus PATH

or without ``--corpus`` on the first million characters of the King James Bible. It takes about two minutes on two
threads. The log and the model are put into ``build/character_gpt``; a run that is stopped is resumed.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from autograder.data import load
from autograder.data.batches import RandomWindows
from autograder.reference.gpt import GPT, GPTConfig
from autograder.reference.sampling import stream
from autograder.reference.training import TrainingConfig, train

CONTEXT, BATCH = 64, 12
MILLION = 1_000_000
SHORTEST = 10 * (CONTEXT + 1)
"""Characters of which the last tenth is just long enough to be measured on."""

TRAINING = TrainingConfig(
    steps=2_000, learning_rate=4e-3, weight_decay=0.1, betas=(0.9, 0.99), evaluate_every=250, checkpoint_every=250
)


def king_james() -> str:
    """The first million characters of the King James Bible."""
    return "\n".join(document.text for document in load("king_james", allow_stand_in=False).documents)[:MILLION]


class Characters:
    """The characters of a text as whole numbers, in the order of their code points."""

    def __init__(self, text: str) -> None:
        self.characters = sorted(set(text))
        self._number = {character: i for i, character in enumerate(self.characters)}

    def encode(self, text: str) -> Tensor:
        """(N,) for a text of N characters."""
        return torch.tensor([self._number[character] for character in text])

    def decode(self, ids: list[int]) -> str:
        return "".join(self.characters[i] for i in ids)


def make_model(vocab_size: int, seed: int = 0) -> GPT:
    torch.manual_seed(seed)
    return GPT(GPTConfig(vocab_size, CONTEXT, d_model=128, num_layers=4, num_heads=4))


def held_out_loss(model: GPT, ids: Tensor, batch_size: int = 64) -> float:
    """Mean loss in nats a character, over all of a text that is cut into pieces of the length of the context."""
    pieces = (len(ids) - 1) // CONTEXT
    inputs, targets = (part[: pieces * CONTEXT].view(pieces, CONTEXT) for part in (ids[:-1], ids[1:]))
    total = 0.0
    for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        total += F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / targets.numel()


def run(text: str, folder: Path, training: TrainingConfig = TRAINING) -> tuple[GPT, Characters, float]:
    """Train on the first nine tenths of a text; returns the model, its characters and the loss on the rest."""
    characters = Characters(text)
    ids = characters.encode(text)
    cut = len(ids) * 9 // 10
    model = make_model(len(characters.characters), training.seed)
    windows = RandomWindows(ids[:cut], BATCH, CONTEXT, training.seed)

    def loss_of_step(step: int) -> Tensor:
        inputs, targets = windows.batch(step)
        return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    name = f"characters-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    history = train(
        model, loss_of_step, training, lambda: {"loss": held_out_loss(model, ids[cut:])}, BATCH * CONTEXT, folder, name
    )
    return model, characters, history.best_loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, help="a text file; by default the King James Bible")
    parser.add_argument("--folder", type=Path, default=Path("build/character_gpt"), help="where to keep log and model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=TRAINING.steps)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    try:
        text = chosen.corpus.read_text(encoding="utf-8") if chosen.corpus else king_james()
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"{chosen.corpus} cannot be read as text in UTF-8: {error}")
    if len(text) < SHORTEST:
        parser.error(f"{chosen.corpus} is too short: {SHORTEST} characters are the least.")
    training = replace(TRAINING, seed=chosen.seed, steps=chosen.steps)
    try:
        model, characters, loss = run(text, chosen.folder / f"seed-{chosen.seed}", training)
    except ValueError as error:  # what is in the folder is of another training
        parser.error(str(error))
    print(f"held-out loss: {loss:.3f} nats a character")
    chance = torch.Generator().manual_seed(chosen.seed)
    for token in stream(model, characters.encode(text[:1])[None], 300, temperature=0.8, generator=chance):
        print(characters.decode(token.tolist()), end="", flush=True)
    print()


if __name__ == "__main__":
    main()
