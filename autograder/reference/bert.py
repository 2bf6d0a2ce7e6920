"""BERT: a Transformer's encoder that learns from words hidden on both sides (Devlin et al. 2019).

The encoder, its two pretraining heads, and the two ways of making a puzzle out of plain text: masked words and next
sentences. ``tests/test_reference_bert.py`` proves all of it equal to transformers' BertForPreTraining. Two options
depart from the paper, for models that are trained on little: norms inside the branches, and rotary positions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.rotary import RotaryPositions
from autograder.reference.transformer_layer import EncoderLayer

IGNORED = -100
"""The label of a position that is not to be predicted."""

Sentence = TypeVar("Sentence")


@dataclass(frozen=True)
class BertConfig:
    """The numbers that make a BERT; as they stand, those of BERT-base (§3).

    Attributes:
        vocab_size: number of tokens, V.
        d_model: width, D.
        num_layers: number of layers, L.
        num_heads: attention heads in each layer, H; must divide ``d_model``.
        d_ff: width inside the feed-forward networks.
        context_size: the most positions that can be read at once.
        num_segments: kinds of segments: the first and the second sentence.
        dropout: share that is set to 0 in training: of embeddings, attention weights and sublayers' outputs.
        norm_first: norms inside the branches, and one at the end, instead of after each sum.
        positions: a learned vector for each position, or queries and keys turned by their position.
        initial_std: spread of the weights before training.
        layer_norm_eps: added to the variance in the layer norms.
    """

    vocab_size: int = 30_522
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    d_ff: int = 3072
    context_size: int = 512
    num_segments: int = 2
    dropout: float = 0.1
    norm_first: bool = False
    positions: Literal["learned", "rotary"] = "learned"
    initial_std: float = 0.02
    layer_norm_eps: float = 1e-12


class BertEmbeddings(nn.Module):
    """The sum of three embeddings: of the token, of its position and of its segment (§3, figure 2)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        D = config.d_model
        self.word_embedding = nn.Embedding(config.vocab_size, D)
        self.segment_embedding = nn.Embedding(config.num_segments, D)
        self.position_embedding = nn.Embedding(config.context_size, D) if config.positions == "learned" else None
        self.norm = nn.LayerNorm(D, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Embed a batch.

        Args:
            ids: (B, T) token ids.
            segments: (B, T), 0 in the first sentence and 1 in the second; all 0 if not given.

        Returns:
            (B, T, D).
        """
        x = self.word_embedding(ids)  # (B, T, D)
        x = x + (self.segment_embedding.weight[0] if segments is None else self.segment_embedding(segments))
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[: ids.size(1)]
        return self.dropout(self.norm(x))


class Pooler(nn.Module):
    """Sums up a sentence in one vector: the first position's, through one more layer.

    The layer is in the published code; the paper has it in a footnote (§3, C).
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, T, D) → (B, D)."""
        return torch.tanh(self.dense(hidden[:, 0]))


class Bert(nn.Module):
    """The encoder, and the pooler that comes with it.

    Raises:
        ValueError: if ``num_heads`` does not divide ``d_model``.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        D, H = config.d_model, config.num_heads
        self.embeddings = BertEmbeddings(config)
        self.rotary_positions = RotaryPositions(D // H, config.context_size) if config.positions == "rotary" else None
        self.layers = nn.ModuleList(
            EncoderLayer(D, H, config.d_ff, config.dropout, config.norm_first, F.gelu, config.layer_norm_eps)
            for _ in range(config.num_layers)
        )
        self.final_norm = nn.LayerNorm(D, config.layer_norm_eps) if config.norm_first else nn.Identity()
        self.pooler = Pooler(D)
        initialize(self, config.initial_std)

    def forward(self, ids: Tensor, segments: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Read a batch.

        Args:
            ids: (B, T) token ids.
            segments: (B, T), 0 in the first sentence and 1 in the second; all 0 if not given.
            mask: (B, 1, 1, T), or (B, 1, T, T), True where looking is allowed; ``padding_mask`` makes one.

        Returns:
            (B, T, D), what the last layer made of each position.

        Raises:
            ValueError: if there are more than ``context_size`` positions, or the mask does not have four axes.
        """
        for x in self._states(ids, segments, mask):
            last = x
        return last

    def hidden_states(self, ids: Tensor, segments: Tensor | None = None, mask: Tensor | None = None) -> list[Tensor]:
        """As :meth:`forward`, but all L + 1 states: the embeddings, then what each layer made of them."""
        return list(self._states(ids, segments, mask))

    def _states(self, ids: Tensor, segments: Tensor | None, mask: Tensor | None) -> Iterator[Tensor]:
        T = ids.size(1)
        if self.config.context_size < T:
            raise ValueError(f"{T} positions do not fit into a context of {self.config.context_size}: shorten the text")
        if mask is not None and mask.dim() != 4:
            raise ValueError(f"the mask has shape {tuple(mask.shape)}: make it (B, 1, 1, T), as padding_mask does")
        if mask is not None and mask.all():
            mask = None  # attention without a mask is faster
        rotation = None if self.rotary_positions is None else self.rotary_positions(0, T)
        x = self.embeddings(ids, segments)  # (B, T, D)
        for layer in self.layers:
            yield x
            x = layer(x, mask, rotation)
        yield self.final_norm(x)


def initialize(model: nn.Module, std: float) -> None:
    """Draw all weights of linear maps and embeddings anew from N(0, std²); biases become 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


class MaskedLMHead(nn.Module):
    """Says which token stood at a position (§3.1, task 1).

    The output weights are the word embeddings, which is why :meth:`forward` is given them.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.norm = nn.LayerNorm(config.d_model, config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, embedding_weight: Tensor) -> Tensor:
        """Score every token.

        Args:
            hidden: (..., D), of any positions.
            embedding_weight: (V, D).

        Returns:
            logits (..., V).
        """
        return F.linear(self.norm(F.gelu(self.dense(hidden))), embedding_weight, self.bias)


class BertForPreTraining(nn.Module):
    """BERT with the heads for its two pretraining tasks: masked words and next sentences (§3.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = Bert(config)
        self.masked_lm_head = MaskedLMHead(config)
        self.next_sentence_head = nn.Linear(config.d_model, 2)
        initialize(self.masked_lm_head, config.initial_std)
        initialize(self.next_sentence_head, config.initial_std)

    def forward(self, ids: Tensor, segments: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits for the words, (B, T, V), and for the next sentence, (B, 2). Arguments as for :class:`Bert`."""
        hidden = self.bert(ids, segments, mask)
        return self.masked_lm_logits(hidden), self.next_sentence_head(self.bert.pooler(hidden))

    def masked_lm_logits(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) at any positions' last states (..., D): in training, those with a label are enough."""
        return self.masked_lm_head(hidden, self.bert.embeddings.word_embedding.weight)


def mask_tokens(
    ids: Tensor, special: Tensor, vocab_size: int, generator: torch.Generator, mask_id: int, rate: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Hide some tokens and ask for them (§3.1 and A.1).

    Each token that is not special is chosen with probability ``rate``. Of the chosen, 80 % become [MASK], 10 % a
    random token and 10 % stay what they are.

    Args:
        ids: (B, T) token ids.
        special: (B, T), True where a token is never chosen: [CLS], [SEP] and padding.
        vocab_size: number of tokens, V; a random one is any of them.
        generator: what the choices come from; on the device of ``ids``.
        mask_id: the id of [MASK].
        rate: share of the tokens that is chosen.

    Returns:
        what the model is to read (B, T), and labels (B, T): the true token where one was chosen, −100 elsewhere.
    """
    choice, kind = torch.rand(2, *ids.shape, generator=generator, device=ids.device)
    chosen = (choice < rate) & ~special
    random_ids = torch.randint(vocab_size, ids.shape, generator=generator, device=ids.device)
    inputs = torch.where(chosen & (kind < 0.8), mask_id, ids)
    inputs = torch.where(chosen & (kind >= 0.9), random_ids, inputs)
    return inputs, ids.masked_fill(~chosen, IGNORED)


def mlm_loss(hidden: Tensor, embedding_weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the tokens that were asked for; 0 if there is none.

    Args:
        hidden: (..., D), what comes before the output layer.
        embedding_weight: (V, D). bias: (V,). The output layer.
        labels: (...), −100 where nothing is asked; no logits are computed there.
    """
    asked = labels != IGNORED
    logits = F.linear(hidden[asked], embedding_weight, bias)  # (number asked, V)
    return F.cross_entropy(logits, labels[asked], reduction="sum") / asked.sum().clamp(min=1)


def sentence_pairs(
    documents: Sequence[Sequence[Sentence]], generator: torch.Generator
) -> list[tuple[Sentence, Sentence, int]]:
    """Make pairs for next-sentence prediction (§3.1, task 2).

    Every sentence but the last of its document begins a pair. With probability one half the second of the pair is the
    next sentence, otherwise any sentence of any other document, each document as likely as another.

    Args:
        documents: the sentences of each document, in order.
        generator: what the choices come from.

    Returns:
        (first, second, label) in the order of the text; the label is 0 if the second is the next one, otherwise 1.

    Raises:
        ValueError: if there are not two documents with sentences.
    """
    documents = [document for document in documents if document]
    if len(documents) < 2:
        raise ValueError("there is nothing to draw other sentences from: give two or more documents with sentences")

    def below(n: int) -> int:
        return int(torch.randint(n, (), generator=generator))

    pairs = []
    for number, document in enumerate(documents):
        for first, following in pairwise(document):
            if below(2) == 0:
                pairs.append((first, following, 0))
            else:
                other = documents[(number + 1 + below(len(documents) - 1)) % len(documents)]
                pairs.append((first, other[below(len(other))], 1))
    return pairs


def pack(first: Sequence[int], second: Sequence[int] | None, cls_id: int, sep_id: int) -> tuple[list[int], list[int]]:
    """[CLS] first [SEP], and if there is a second sentence, second [SEP] (figure 2).

    Returns:
        token ids, and segments of the same length.
    """
    ids = [cls_id, *first, sep_id]
    segments = [0] * len(ids)
    if second is not None:
        ids += [*second, sep_id]
        segments += [1] * (len(second) + 1)
    return ids, segments


def parameter_count(config: BertConfig) -> int:
    """How many numbers the encoder and its pooler learn: 109,482,240 for BERT-base."""
    V, D, inner = config.vocab_size, config.d_model, config.d_ff
    norm = 2 * D
    places = config.context_size if config.positions == "learned" else 0
    embeddings = (V + places + config.num_segments) * D + norm
    attention = 4 * (D * D + D)
    feed_forward = (D * inner + inner) + (inner * D + D)
    layers = config.num_layers * (attention + feed_forward + 2 * norm)
    final_norm = norm if config.norm_first else 0
    pooler = D * D + D
    return embeddings + layers + final_norm + pooler


PUBLISHED_NAMES = {
    "word_embedding.": "word_embeddings.",
    "position_embedding.": "position_embeddings.",
    "segment_embedding.": "token_type_embeddings.",
    "embeddings.norm.": "embeddings.LayerNorm.",
    "layers.": "encoder.layer.",
    "attention.query_projection.": "attention.self.query.",
    "attention.key_projection.": "attention.self.key.",
    "attention.value_projection.": "attention.self.value.",
    "attention.output_projection.": "attention.output.dense.",
    "attention_norm.": "attention.output.LayerNorm.",
    "feed_forward.expand.": "intermediate.dense.",
    "feed_forward.contract.": "output.dense.",
    "feed_forward_norm.": "output.LayerNorm.",
}
"""What parts of our parameters' names are called in published checkpoints."""


def published_name(name: str) -> str:
    """What a parameter of :class:`Bert` is called in published checkpoints."""
    for ours, theirs in PUBLISHED_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def load_pretrained(model: Bert, tensors: Mapping[str, Tensor]) -> None:
    """Give the model the weights of a published encoder.

    Args:
        model: of the checkpoint's sizes, with learned positions and post-norm.
        tensors: by their published names, with or without "bert." in front; those of pretraining heads are left out.

    Raises:
        ValueError: if a tensor is missing, is left over or has another shape. The model is unchanged then.
    """
    given = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    wanted = {published_name(name): parameter for name, parameter in model.named_parameters()}
    if missing := sorted(wanted.keys() - given.keys()):
        raise ValueError(f"the checkpoint has no {missing[0]}: give the model as many layers as it has")
    left_over = {name for name in given.keys() - wanted.keys() if not name.startswith("cls.")}
    if left_over := left_over - {"embeddings.position_ids"}:
        raise ValueError(f"the model has no place for {min(left_over)}: give it as many layers as the checkpoint has")
    for name, parameter in wanted.items():
        if parameter.shape != given[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(given[name].shape)}, the model's has {tuple(parameter.shape)}: give the "
                "model the checkpoint's sizes"
            )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(given[name])
