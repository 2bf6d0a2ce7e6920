"""GPT-1's way to other tasks: cast them as one line of text, read it, and judge by its last token.

A start, a delimiter and an extract token turn a text, a pair or a choice into sequences that a language model can read
(Radford et al. 2018, §3.3 and figure 1). The last hidden state at the extract token goes through one new linear layer;
the language model goes on learning beside it (§3.2, eq. 5).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.gpt import GPT, language_model_loss


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of three tokens that no text holds; they are new when fine-tuning begins."""

    start: int
    delimiter: int
    extract: int


def format_classification(text: list[int], special: SpecialTokens) -> list[list[int]]:
    """One sequence: start, text, extract."""
    return [[special.start, *text, special.extract]]


def format_entailment(premise: list[int], hypothesis: list[int], special: SpecialTokens) -> list[list[int]]:
    """One sequence: start, premise, delimiter, hypothesis, extract."""
    return [[special.start, *premise, special.delimiter, *hypothesis, special.extract]]


def format_similarity(one: list[int], other: list[int], special: SpecialTokens) -> list[list[int]]:
    """Two sequences, since neither text comes first by nature: one and other, other and one."""
    return [*format_entailment(one, other, special), *format_entailment(other, one, special)]


def format_multiple_choice(context: list[int], answers: list[list[int]], special: SpecialTokens) -> list[list[int]]:
    """A sequence for each answer: start, context (with the question), delimiter, answer, extract."""
    return [sequence for answer in answers for sequence in format_entailment(context, answer, special)]


@dataclass(frozen=True)
class TaskBatch:
    """B examples of K sequences each, padded behind to the longest, T.

    Args:
        ids: (B, K, T). lengths: (B, K), so that the extract token stands at length − 1.
    """

    ids: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str) -> "TaskBatch":
        """The same on another device."""
        return TaskBatch(self.ids.to(device), self.lengths.to(device))


def task_batch(examples: list[list[list[int]]], padding: int = 0) -> TaskBatch:
    """Pad formatted examples to one length. What stands behind an extract token is never looked at.

    Raises:
        ValueError: if there is no example, or one has more sequences than another.
    """
    if len({len(sequences) for sequences in examples}) != 1:
        raise ValueError("a batch needs at least one example, and as many sequences in each: batch other tasks apart")
    lengths = torch.tensor([[len(sequence) for sequence in sequences] for sequences in examples])
    ids = torch.full((*lengths.shape, int(lengths.max())), padding)
    for b, sequences in enumerate(examples):
        for k, sequence in enumerate(sequences):
            ids[b, k, : len(sequence)] = torch.tensor(sequence)
    return TaskBatch(ids, lengths)


def add_special_tokens(model: GPT) -> SpecialTokens:
    """Give a pretrained model three more tokens, behind the others, with new embeddings (§4.1)."""
    old = model.token_embedding.weight
    V, D = old.shape
    new = nn.Embedding(V + 3, D, device=old.device, dtype=old.dtype)
    nn.init.normal_(new.weight, std=model.config.initial_std)
    with torch.no_grad():
        new.weight[:V] = old
    model.token_embedding = new
    model.config = replace(model.config, vocab_size=V + 3)
    return SpecialTokens(V, V + 1, V + 2)


class GPTForTask(nn.Module):
    """A pretrained GPT, and a linear layer on what it knows at the extract token.

    Args:
        model: the GPT; its weights are fine-tuned too.
        num_classes: number of classes; None for a choice between an example's own sequences.
        dropout: before the new layer, in training.
    """

    def __init__(self, model: GPT, num_classes: int | None, dropout: float = 0.1) -> None:
        super().__init__()
        self.model = model
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(model.config.d_model, num_classes or 1)
        nn.init.normal_(self.head.weight, std=model.config.initial_std)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: TaskBatch) -> Tensor:
        """Judge each example.

        Returns:
            class logits (B, classes), or (B, K) where a sequence is to be chosen. Several sequences of one example are
            added before they are classified (§3.3, similarity).
        """
        return self._judge(self._read(batch), batch)

    def with_language_model(self, batch: TaskBatch) -> tuple[Tensor, Tensor]:
        """Judge each example, and predict each next token, (B, K, T, V), for the auxiliary loss."""
        hidden = self._read(batch)
        return self._judge(hidden, batch), self.model.logits(hidden)

    def _read(self, batch: TaskBatch) -> Tensor:
        hidden = self.model.hidden_states(batch.ids.flatten(0, 1))[-1]  # (B·K, T, D)
        return hidden.unflatten(0, batch.lengths.shape)  # (B, K, T, D)

    def _judge(self, hidden: Tensor, batch: TaskBatch) -> Tensor:
        B, K, _, D = hidden.shape
        last = (batch.lengths - 1)[..., None, None].expand(B, K, 1, D)
        at_extract = hidden.gather(2, last).squeeze(2)  # (B, K, D)
        if self.num_classes is None:
            return self.head(self.dropout(at_extract)).squeeze(-1)
        return self.head(self.dropout(at_extract.sum(dim=1)))


def fine_tune_loss(
    class_logits: Tensor,
    labels: Tensor,
    language_model_logits: Tensor,
    ids: Tensor,
    auxiliary_weight: float = 0.5,
    lengths: Tensor | None = None,
) -> Tensor:
    """The task's loss plus λ times the language model's on the same texts (Radford et al. 2018, eq. 5).

    Args:
        class_logits: (B, classes). labels: (B,), the right class or sequence.
        language_model_logits: (B, T, V) or (B, K, T, V). ids: without the last axis.
        auxiliary_weight: λ; 0 leaves the task alone.
        lengths: (B,) or (B, K), where each sequence ends; what stands behind it is padding and does not count.

    Returns:
        a scalar. The language model's loss is a mean over all tokens of the batch.
    """
    auxiliary = language_model_loss(
        language_model_logits.flatten(0, -3), ids.flatten(0, -2), None if lengths is None else lengths.flatten()
    )
    return F.cross_entropy(class_logits, labels) + auxiliary_weight * auxiliary
