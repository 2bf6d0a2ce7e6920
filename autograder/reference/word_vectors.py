"""Skip-gram and continuous bag of words with negative sampling (Mikolov et al. 2013a, 2013b).

First the parts as the papers give them, on pairs of words; then a training step that does the same for a whole
stretch of text with a few matrix products, its gradient written out by hand. ``tests/test_reference_word_vectors.py``
proves the step equal to autograd's gradient of the plain loss. Axes: B pairs, D width of a vector, K negative words,
V words in the vocabulary; N stretches of text, C places in the middle of each, L = C + 2·window places in all,
S negative words that a stretch shares.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def skip_gram_pairs(ids: Tensor, window: int) -> Tensor:
    """Every word with every word at most ``window`` places before or behind it: (B, 2), center and context."""
    T = len(ids)
    places = [(t, s) for t in range(T) for s in range(max(0, t - window), min(T, t + window + 1)) if s != t]
    return ids[torch.tensor(places, dtype=torch.long).view(-1, 2)]


def keep_probability(counts: Tensor, threshold: float = 1e-4) -> Tensor:
    """√(t/f), at most 1: how likely a word is kept, its share of the text being f (Mikolov et al. 2013b, §2.3, eq. 5).

    Args:
        counts: (V,), how often each word occurs.
        threshold: t. Words with a larger share lose part of their occurrences.

    Returns:
        (V,) probabilities. (The paper's program keeps a little more: √(t/f) + t/f.)
    """
    return (threshold * counts.sum() / counts).sqrt().clamp(max=1.0)


def negative_sampling_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    """From which negative words are drawn: in proportion to count^0.75 (Mikolov et al. 2013b, §2.2): (V,) → (V,)."""
    raised = counts.double() ** power
    return raised / raised.sum()


def negative_sampling_loss(center: Tensor, context: Tensor, negatives: Tensor) -> Tensor:
    """−log σ(u·v) − Σ log σ(−n·v): tell the true neighbor from random words (Mikolov et al. 2013b, §2.2, eq. 4).

    Args:
        center: (B, D), v, from the input table; for the bag of words the mean of the vectors around.
        context: (B, D), u, from the output table, of the words to be told.
        negatives: (B, K, D), n, from the output table.

    Returns:
        (B,), one loss per pair.
    """
    positive = F.logsigmoid((context * center).sum(dim=-1))  # (B,)
    negative = F.logsigmoid(-(negatives @ center.unsqueeze(-1)).squeeze(-1))  # (B, K)
    return -positive - negative.sum(dim=-1)


@dataclass(frozen=True)
class WordVectorConfig:
    """How to train.

    Attributes:
        embedding_size: width of a vector, D.
        window: the farthest context; for each center the window is drawn anew from 1 … window (2013a, §3.2).
        negatives: negative words per pair, K.
        epochs: how often the text is read.
        learning_rate: at the start; it falls in a straight line to ``final_rate`` (2013a, §4.2). The paper starts at
            0.025; on a few million words four times that learns more.
        final_rate: at the end.
        threshold: of :func:`keep_probability`.
        stretch: places in the middle of a stretch, C.
        shared: negative words that each stretch shares, S.
        batch: stretches in a step, N.
    """

    embedding_size: int = 100
    window: int = 5
    negatives: int = 5
    epochs: int = 5
    learning_rate: float = 0.1
    final_rate: float = 0.0001
    threshold: float = 1e-4
    stretch: int = 16
    shared: int = 32
    batch: int = 16


CONFIGS = {"skip-gram": WordVectorConfig(), "bag of words": WordVectorConfig(learning_rate=0.4)}
"""What suits each model. A bag of words learns one pair per place and shares its gradient among its words."""


@dataclass(frozen=True)
class Stretches:
    """Text cut into N stretches, with as many places more before and behind as a window reaches.

    Attributes:
        words: (N, L), word numbers. The C places in the middle are centers, all L are contexts.
        pairs: (N, C, L) boolean, True where the second place is in the window of the first.
    """

    words: Tensor
    pairs: Tensor

    def __getitem__(self, chosen: Tensor) -> "Stretches":
        return Stretches(self.words[chosen], self.pairs[chosen])


def cut_text(ids: Tensor, owners: Tensor, window: int, stretch: int, generator: torch.Generator) -> Stretches:
    """Cut a text into stretches and draw for every place how far its window reaches.

    Args:
        ids: (T,), word numbers. owners: (T,), the number of each word's document, 0 or more: no window reaches over
            its border.
        window: the farthest that a window reaches.
        stretch: C.
        generator: draws the windows.
    """
    ends = (window, window + -len(ids) % stretch)
    length = stretch + 2 * window
    words = F.pad(ids, ends).unfold(0, length, stretch)  # (N, L)
    owner = F.pad(owners, ends, value=-1).unfold(0, length, stretch)  # (N, L), −1 beyond the text
    place = torch.arange(length)
    distance = (place - place[window:-window].unsqueeze(1)).abs()  # (C, L)
    reach = torch.randint(1, window + 1, (len(words), stretch, 1), generator=generator)  # (N, C, 1)
    center_owner = owner[:, window:-window].unsqueeze(2)  # (N, C, 1)
    same_document = (center_owner == owner.unsqueeze(1)) & (center_owner >= 0)  # (N, C, L)
    return Stretches(words, same_document & (distance > 0) & (distance <= reach))


@torch.no_grad()
def skip_gram_step(
    inputs: Tensor, outputs: Tensor, text: Stretches, negatives: Tensor, weight: float, rate: float
) -> None:
    """Go one step down the gradient of the skip-gram loss of all pairs in some stretches.

    A stretch's pairs are told from the same S words, each of which counts K/S, so that on average the loss is that of
    K words drawn for every pair. So all products of a stretch are two matrices.

    Args:
        inputs, outputs: (V, D), the two tables, changed in place.
        text: N stretches.
        negatives: (N, S), word numbers.
        weight: K/S.
        rate: the learning rate.
    """
    window = (text.pairs.size(2) - text.pairs.size(1)) // 2
    centers = text.words[:, window:-window]  # (N, C)
    v, u, n = F.embedding(centers, inputs), F.embedding(text.words, outputs), F.embedding(negatives, outputs)
    pairs = text.pairs.to(v.dtype)  # (N, C, L)
    # The gradient of log σ(x) is σ(−x).
    pull = pairs * torch.sigmoid(-(v @ u.mT))  # (N, C, L)
    push = torch.sigmoid(v @ n.mT) * (weight * pairs.sum(dim=2, keepdim=True))  # (N, C, S)
    for table, ids, change in (
        (inputs, centers, pull @ u - push @ n),
        (outputs, text.words, pull.mT @ v),
        (outputs, negatives, -push.mT @ v),
    ):
        table.index_add_(0, ids.flatten(), change.flatten(0, 1), alpha=rate)


@torch.no_grad()
def bag_of_words_step(
    inputs: Tensor, outputs: Tensor, text: Stretches, negatives: Tensor, weight: float, rate: float
) -> None:
    """Go one step down the gradient of the loss of telling each center from the mean of the vectors in its window.

    The arguments are those of :func:`skip_gram_step`. (The papers' program lacks the mean's 1/size in the gradient;
    here it is; see İrsoy, Benton and Stratos 2021.)
    """
    window = (text.pairs.size(2) - text.pairs.size(1)) // 2
    centers = text.words[:, window:-window]  # (N, C)
    x, u, n = F.embedding(text.words, inputs), F.embedding(centers, outputs), F.embedding(negatives, outputs)
    size = text.pairs.sum(dim=2, keepdim=True).to(x.dtype)  # (N, C, 1)
    share = text.pairs / size.clamp(min=1)  # (N, C, L), each row sums to 1, or is all 0 where the window is empty
    mean = share @ x  # (N, C, D)
    pull = (size > 0) * torch.sigmoid(-(mean * u).sum(dim=2, keepdim=True))  # (N, C, 1)
    push = (size > 0) * torch.sigmoid(mean @ n.mT) * weight  # (N, C, S)
    for table, ids, change in (
        (inputs, text.words, share.mT @ (pull * u - push @ n)),
        (outputs, centers, pull * mean),
        (outputs, negatives, -push.mT @ mean),
    ):
        table.index_add_(0, ids.flatten(), change.flatten(0, 1), alpha=rate)


STEPS = {"skip-gram": skip_gram_step, "bag of words": bag_of_words_step}


def train_word_vectors(
    documents: Sequence[Tensor], counts: Tensor, config: WordVectorConfig, seed: int, model: str = "skip-gram"
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Train new vectors on a text.

    Args:
        documents: word numbers. counts: (V,), how often each word occurs in them.
        config: how.
        seed: of all that is drawn.
        model: ``"skip-gram"`` or ``"bag of words"``.

    Yields:
        about every hundredth of the way: how far it has come, from 0 to 1 (the last time 1), and the tables of input
        and output vectors, (V, D) each, as they are; they change when the training goes on. The input vectors are the
        word vectors.
    """
    step, generator = STEPS[model], torch.Generator().manual_seed(seed)
    inputs = (torch.rand(len(counts), config.embedding_size, generator=generator) - 0.5) / config.embedding_size
    outputs = torch.zeros_like(inputs)
    ids = torch.cat([*documents])
    owners = torch.arange(len(documents)).repeat_interleave(torch.tensor([len(document) for document in documents]))
    kept, distribution = keep_probability(counts, config.threshold)[ids], negative_sampling_distribution(counts)
    weight = config.negatives / config.shared
    for epoch in range(config.epochs):
        keep = torch.rand(len(ids), generator=generator) < kept
        text = cut_text(ids[keep], owners[keep], config.window, config.stretch, generator)
        batches = torch.randperm(len(text.words), generator=generator).split(config.batch)
        for number, chosen in enumerate(batches):
            progress = (epoch + number / len(batches)) / config.epochs
            rate = config.learning_rate + progress * (config.final_rate - config.learning_rate)
            drawn = len(chosen) * config.shared
            negatives = torch.multinomial(distribution, drawn, replacement=True, generator=generator)
            step(inputs, outputs, text[chosen], negatives.view(-1, config.shared), weight, rate)
            if number % (1 + len(batches) * config.epochs // 100) == 0:
                yield progress, inputs, outputs
    yield 1.0, inputs, outputs
