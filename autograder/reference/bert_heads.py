"""One pretrained encoder, four kinds of task: a small head on BERT for each (Devlin et al. 2019, §4 and figure 4).

Each is an encoder and one linear map, trained together; ``tests/test_reference_bert.py`` proves them equal to
transformers' BertForTokenClassification, BertForSequenceClassification and BertForQuestionAnswering.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.bert import IGNORED, Bert, initialize


class TokenClassifier(nn.Module):
    """A label for every token, as in finding names (§5.3)."""

    def __init__(self, bert: Bert, num_labels: int) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(bert.config.dropout)
        self.classifier = nn.Linear(bert.config.d_model, num_labels)
        initialize(self.classifier, bert.config.initial_std)

    def forward(self, ids: Tensor, segments: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits (B, T, number of labels). Arguments as for ``Bert``."""
        return self.classifier(self.dropout(self.bert(ids, segments, mask)))


class SentenceClassifier(nn.Module):
    """A label for a sentence, or for a pair of sentences told apart by their segments (§4.1)."""

    def __init__(self, bert: Bert, num_labels: int) -> None:
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(bert.config.dropout)
        self.classifier = nn.Linear(bert.config.d_model, num_labels)
        initialize(self.classifier, bert.config.initial_std)

    def forward(self, ids: Tensor, segments: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits (B, number of labels). Arguments as for ``Bert``."""
        return self.classifier(self.dropout(self.bert.pooler(self.bert(ids, segments, mask))))


class SpanFinder(nn.Module):
    """Where an answer begins and ends in the text beside the question (§4.2)."""

    def __init__(self, bert: Bert) -> None:
        super().__init__()
        self.bert = bert
        self.classifier = nn.Linear(bert.config.d_model, 2)
        initialize(self.classifier, bert.config.initial_std)

    def forward(self, ids: Tensor, segments: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits of the first and of the last token of the answer, each (B, T). Arguments as for ``Bert``."""
        start, end = self.classifier(self.bert(ids, segments, mask)).unbind(dim=-1)
        return start, end


def label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the labels that are there; 0 if there is none.

    Args:
        logits: (..., C). labels: (...), −100 where there is none.
    """
    total = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def span_loss(start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """The mean of the two losses of a span (§4.2).

    Args:
        start, end: logits (B, T).
        first, last: (B,), the true positions, −100 where there is no answer.
    """
    return (label_loss(start, first) + label_loss(end, last)) / 2


def best_span(start: Tensor, end: Tensor, max_length: int) -> tuple[Tensor, Tensor]:
    """The span with the highest sum of logits that is in order and not too long (§4.2).

    Args:
        start, end: logits (B, T), −∞ where no answer may begin or end.
        max_length: the most tokens that an answer has.

    Returns:
        first and last position, each (B,), with first ≤ last < first + ``max_length``.

    Raises:
        ValueError: if ``max_length`` is less than 1.
    """
    if max_length < 1:
        raise ValueError(f"max_length is {max_length}; it must be at least 1")
    T = start.size(1)
    allowed = torch.ones(T, T, dtype=torch.bool, device=start.device).triu().tril(max_length - 1)
    scores = (start.unsqueeze(2) + end.unsqueeze(1)).masked_fill(~allowed, -math.inf)  # (B, T, T): first, last
    best = scores.flatten(1).argmax(dim=1)
    return best // T, best % T
