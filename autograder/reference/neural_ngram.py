"""The first neural language model: a word predicted from the vectors of the words before it (Bengio et al. 2003).

Proven equal to the paper's formula, computed with numpy, by ``tests/test_reference_neural_ngram.py``. Axes: B batch,
C words of context (the paper's n − 1), E width of a word's vector, V words in the vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.training import in_bfloat16


class NeuralLanguageModel(nn.Module):
    """y = b + Wx + U tanh(d + Hx), x being the context's word vectors side by side (Bengio et al. 2003, §2, eq. 1).

    All words share one table of vectors, whatever their place in the context, so that what was learned of one word
    serves all that are like it. The places are told apart by H, which has columns of its own for each.

    Args:
        vocab_size: number of words, V, the marks included.
        context_size: number of words that are looked back at, C.
        embedding_size: width of a word's vector, E.
        hidden_size: width of the hidden layer.
        direct: connect the vectors with the output directly, too (the paper's W, which it finds of little use).
    """

    def __init__(
        self, vocab_size: int, context_size: int, embedding_size: int, hidden_size: int, direct: bool = False
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        nn.init.normal_(self.embedding.weight, std=0.1)  # from torch's own start, 1, rare words hardly move away
        self.hidden = nn.Linear(context_size * embedding_size, hidden_size)
        self.output = nn.Linear(hidden_size, vocab_size)
        self.direct = nn.Linear(context_size * embedding_size, vocab_size, bias=False) if direct else None

    def forward(self, ids: Tensor) -> Tensor:
        """Predict the next word.

        Args:
            ids: (B, C), the words before, the nearest last.

        Returns:
            logits (B, V).
        """
        x = self.embedding(ids).flatten(1)  # (B, C·E), the vectors side by side in the order of the text
        logits = self.output(torch.tanh(self.hidden(x)))  # (B, V)
        return logits if self.direct is None else logits + self.direct(x)


@dataclass(frozen=True)
class NeuralTraining:
    """How to train the model: plain epochs with AdamW, the rate falling to 0 in a straight line.

    Attributes:
        bfloat16: compute as :func:`~autograder.reference.training.in_bfloat16` does.
    """

    epochs: int = 3
    batch_size: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    seed: int = 0
    bfloat16: bool = False


def train_epochs(model: NeuralLanguageModel, windows: Tensor, training: NeuralTraining) -> Iterator[float]:
    """Train in place by maximum likelihood.

    Args:
        model: starts from the weights that it has.
        windows: (N, C + 1), every word of a text with the words before it, as ``NgramCounts.windows`` gives them.
        training: how.

    Yields:
        the mean loss over each epoch, after it, so that the caller can look at the model between epochs.
    """
    generator = torch.Generator().manual_seed(training.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), training.learning_rate, weight_decay=training.weight_decay, fused=True
    )
    steps = training.epochs * -(-len(windows) // training.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(training.epochs):
        total = 0.0
        for batch in torch.randperm(len(windows), generator=generator).split(training.batch_size):
            chosen = windows[batch]  # (B, C + 1)
            with in_bfloat16(windows.device.type, training.bfloat16):
                loss = F.cross_entropy(model(chosen[:, :-1]), chosen[:, -1])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        yield total / len(windows)


@torch.no_grad()
def log_probs(model: NeuralLanguageModel, windows: Tensor, batch_size: int = 1024) -> Tensor:
    """The natural logarithm of the probability of each window's last word: (N, C + 1) → (N,).

    What perplexity they come to, :func:`~autograder.reference.ngrams.perplexity` says.
    """
    parts = windows.split(batch_size)
    return torch.cat([-F.cross_entropy(model(part[:, :-1]), part[:, -1], reduction="none") for part in parts])
