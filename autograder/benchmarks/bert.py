"""The reference BERT against transformers' with its fused attention: one step of training, forward and backward."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autograder.benchmarks.interleaved import demand_same_work, interleaved
from autograder.reference.attention import padding_mask
from autograder.reference.bert import Bert, BertConfig, load_pretrained


@dataclass(frozen=True)
class Race:
    """One size and way of working.

    Attributes:
        d_model: width; heads are 64 wide, or 32 in the smallest model.
        T: positions.
        B: texts.
        mode: "plain": no padding and no dropout; "padded": texts of different lengths; "dropout": 10 %.
    """

    d_model: int
    T: int
    B: int
    mode: str


RACES = tuple(
    Race(d_model, T, B, mode)
    for d_model, T, B in ((128, 64, 16), (128, 512, 4), (256, 128, 8), (512, 64, 16), (512, 512, 2))
    for mode in ("plain", "padded", "dropout")
)
NUM_LAYERS = 4


def races(rounds: int, sizes: Sequence[Race] = RACES) -> Iterator[dict[str, Any]]:
    """Run every race, both models with the same weights on the same texts.

    Yields:
        for each: its settings, and the times and their ratio as :func:`interleaved` gives them.

    Raises:
        RuntimeError: if the two models disagree, for then they do not do the same work.
    """
    for race in sizes:
        ours, theirs, gap = contestants(race)
        demand_same_work(f"BERT at d = {race.d_model}, T = {race.T}", gap)
        yield {
            "model": "BERT",
            "mode": f"training, {race.mode}",
            "d_model": race.d_model,
            "T": race.T,
            "B": race.B,
            "difference": gap,
            **interleaved(ours, theirs, rounds),
        }


def contestants(race: Race) -> tuple[Callable[[], object], Callable[[], object], float]:
    """One training step of each model, and the largest difference between their outputs without dropout."""
    import transformers

    num_heads = max(4, race.d_model // 64)
    config = BertConfig(
        vocab_size=4000,
        d_model=race.d_model,
        num_layers=NUM_LAYERS,
        num_heads=num_heads,
        d_ff=4 * race.d_model,
        dropout=0.1 if race.mode == "dropout" else 0.0,
    )
    torch.manual_seed(0)
    their_model = transformers.AutoModel.from_config(
        transformers.BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            num_hidden_layers=config.num_layers,
            num_attention_heads=num_heads,
            intermediate_size=config.d_ff,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        ),
        attn_implementation="sdpa",
    )
    our_model = Bert(config)
    load_pretrained(our_model, their_model.state_dict())

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, config.vocab_size, (race.B, race.T), generator=generator)
    lengths = torch.full((race.B,), race.T)
    if race.mode == "padded":
        lengths = torch.randint(race.T // 2, race.T + 1, (race.B,), generator=generator)
    mask = padding_mask(lengths, race.T)
    their_mask = mask[:, 0, 0].long()
    hidden_gradient = torch.randn(race.B, race.T, race.d_model, generator=generator) * mask[:, 0, 0].unsqueeze(-1)
    pooled_gradient = torch.randn(race.B, race.d_model, generator=generator)

    def our_outputs() -> tuple[Tensor, Tensor]:
        hidden = our_model(ids, mask=mask)
        return hidden, our_model.pooler(hidden)

    def their_outputs() -> tuple[Tensor, Tensor]:
        answer = their_model(input_ids=ids, attention_mask=their_mask)
        return answer.last_hidden_state, answer.pooler_output

    def our_step() -> None:
        our_model.zero_grad(set_to_none=True)
        torch.autograd.backward(our_outputs(), (hidden_gradient, pooled_gradient))

    def their_step() -> None:
        their_model.zero_grad(set_to_none=True)
        torch.autograd.backward(their_outputs(), (hidden_gradient, pooled_gradient))

    our_model.eval()
    their_model.eval()
    with torch.no_grad():
        gap = max((a - b).abs().max().item() for a, b in zip(our_outputs(), their_outputs(), strict=True))
    our_model.train()
    their_model.train()
    return our_step, their_step, gap
