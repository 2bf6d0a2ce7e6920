"""ELMo: a word's vector from two language models, one that reads forward and one that reads backward.

The two-direction language model and the mix of its layers are those of Peters et al. (2018, §3); the vectors of words
from their characters go back to Kim et al. (2016) and Jozefowicz et al. (2016). Every text is read from a state of
zeros: what comes before a window could be carried into the forward direction alone, since the backward direction comes
from the text behind. Axes: B batch, T positions, W characters of a word, D width, V vocabulary.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.recurrent import reverse
from autograder.reference.training import evaluating

IGNORED = -100
"""A target that cross-entropy does not count."""

NUM_CHARACTERS = 259
PADDING, WORD_START, WORD_END = 0, 257, 258
"""Behind the end of a word, before its first byte and after its last; byte b is 1 + b."""


def character_ids(sentences: Sequence[Sequence[str]], longest: int = 50) -> Tensor:
    """Write each word as the bytes of its UTF-8, padded to (B, T, W).

    Args:
        sentences: B lists of words.
        longest: what a word has beyond so many characters, its start and end included, is cut off.
    """
    spelled = [
        [[WORD_START, *(1 + byte for byte in word.encode()[: longest - 2]), WORD_END] for word in sentence]
        for sentence in sentences
    ]
    T, W = max(len(sentence) for sentence in spelled), max(len(word) for sentence in spelled for word in sentence)
    ids = torch.full((len(spelled), T, W), PADDING)
    for b, sentence in enumerate(spelled):
        for t, word in enumerate(sentence):
            ids[b, t, : len(word)] = torch.tensor(word)
    return ids


class Highway(nn.Module):
    """A layer that decides for each number how much to transform and how much to pass on (Srivastava et al. 2015).

    t · relu(W x + b) + (1 − t) · x with the gate t = sigmoid(U x + d). At the start d is −2, which passes on most.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(size, size)
        self.gate = nn.Linear(size, size)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) → (..., size)."""
        t = torch.sigmoid(self.gate(x))
        return t * F.relu(self.transform(x)) + (1 - t) * x


class CharacterEncoder(nn.Module):
    """A vector for a word from its characters: filters, the strongest answer of each, highway layers, a projection.

    After Kim et al. (2016, §2.2 and §2.3), with the projection of Jozefowicz et al. (2016). A filter is laid on at
    every character of a word, and sees zeros where it reaches beyond the last.

    Args:
        d_model: width of a word's vector, D.
        filters: how many filters for each number of characters that they look at.
        num_highways: number of highway layers.
        character_size: width of a character's vector, C.
    """

    def __init__(
        self, d_model: int, filters: Mapping[int, int], num_highways: int = 2, character_size: int = 16
    ) -> None:
        super().__init__()
        num_filters = sum(filters.values())
        self.widths = list(filters)
        self.embedding = nn.Embedding(NUM_CHARACTERS, character_size)
        self.convolutions = nn.ModuleList(nn.Conv1d(character_size, n, width) for width, n in filters.items())
        self.highways = nn.Sequential(*(Highway(num_filters) for _ in range(num_highways)))
        self.projection = nn.Linear(num_filters, d_model)

    def forward(self, characters: Tensor) -> Tensor:
        """Encode words.

        Args:
            characters: (B, T, W), from :func:`character_ids`.

        Returns:
            (B, T, D); how far a word was padded makes no difference.
        """
        B, T, _ = characters.shape
        words = characters.flatten(0, 1)  # (B·T, W)
        inside = (words != PADDING).unsqueeze(1)
        x = self.embedding(words).transpose(1, 2).masked_fill(~inside, 0.0)  # (B·T, C, W)
        strongest = []
        for width, convolution in zip(self.widths, self.convolutions, strict=True):
            answers = convolution(F.pad(x, (0, width - 1)))  # (B·T, n, W)
            # −inf never is the largest, and relu makes it 0 where a word has no characters at all.
            strongest.append(F.relu(answers.masked_fill(~inside, -torch.inf).amax(dim=-1)))
        return self.projection(self.highways(torch.cat(strongest, dim=-1))).view(B, T, -1)


@dataclass(frozen=True)
class ElmoConfig:
    """The numbers that make an ELMo; as they stand, but for ``vocab_size``, those of the paper (§3.4).

    Attributes:
        vocab_size: number of tokens that are predicted, V.
        d_model: width of a token's vector and of each direction's outputs, D.
        hidden_size: width of an LSTM's memory, D or more. If it is more, what an LSTM puts out and reads back is
            projected to D (Sak et al. 2014).
        num_layers: LSTMs in each direction, L.
        dropout: share that is set to 0 in training: of the input of each LSTM and of the softmax layer.
        tie_embeddings: predict with the vectors of the tokens; needs a vector for each token.
        initial_std: spread of the embeddings and the softmax weights before training.
    """

    vocab_size: int
    d_model: int = 512
    hidden_size: int = 4096
    num_layers: int = 2
    dropout: float = 0.1
    tie_embeddings: bool = False
    initial_std: float = 0.05


class OneDirection(nn.Module):
    """LSTMs one above the other; from the second on, each adds to its input (§3.4).

    Raises:
        ValueError: if ``hidden_size`` is less than ``d_model``.
    """

    def __init__(self, config: ElmoConfig) -> None:
        super().__init__()
        D, H = config.d_model, config.hidden_size
        if H < D:
            raise ValueError(f"hidden_size ({H}) must be at least d_model ({D})")
        self.lstms = nn.ModuleList(
            nn.LSTM(D, H, batch_first=True, proj_size=0 if H == D else D) for _ in range(config.num_layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        for name, bias in self.named_parameters():
            if "bias_ih" in name:  # At the start the forget gates stand open (Jozefowicz et al. 2015).
                nn.init.ones_(bias[H : 2 * H])

    def forward(self, x: Tensor) -> list[Tensor]:
        """Read x (B, T, D) from left to right; returns the outputs of each layer, (B, T, D)."""
        layers: list[Tensor] = []
        with warnings.catch_warnings():
            # oneDNN has no LSTM with a projection; torch then takes its own, as is right, but says so.
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            for lstm in self.lstms:
                outputs, _ = lstm(self.dropout(x))
                x = x + outputs if layers else outputs
                layers.append(x)
        return layers


class ELMo(nn.Module):
    """Two language models that never see each other, above the same tokens and below the same softmax (§3.1).

    Args:
        config: the numbers.
        token_encoder: makes a vector (B, T, D) of each token, for example a ``CharacterEncoder``; if not given, an
            embedding of ``vocab_size`` tokens.

    Raises:
        ValueError: if embeddings are to be tied and the token encoder has none, or if ``hidden_size`` is less than
            ``d_model``.
    """

    def __init__(self, config: ElmoConfig, token_encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        V, D, std = config.vocab_size, config.d_model, config.initial_std
        if token_encoder is None:
            token_encoder = nn.Embedding(V, D)
            nn.init.normal_(token_encoder.weight, std=std)
        if config.tie_embeddings and not isinstance(token_encoder, nn.Embedding):
            raise ValueError("Only an embedding has a vector for each token to be tied: set tie_embeddings=False.")
        self.token_encoder = token_encoder
        self.forward_model: nn.Module = OneDirection(config)
        self.backward_model: nn.Module = OneDirection(config)
        self.dropout = nn.Dropout(config.dropout)
        self.output_weight = None if config.tie_embeddings else nn.Parameter(torch.empty(V, D).normal_(std=std))
        self.output_bias = nn.Parameter(torch.zeros(V))

    @property
    def parameters_outside_embeddings(self) -> int:
        """The size of both directions without what belongs to the tokens and to the softmax."""
        return sum(
            parameter.numel() for model in (self.forward_model, self.backward_model) for parameter in model.parameters()
        )

    def hidden_states(self, tokens: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
        """What each layer makes of the tokens in their context.

        Args:
            tokens: what the token encoder reads: (B, T) token ids, or (B, T, W) characters.
            lengths: (B,), where each text ends; all at T if not given.

        Returns:
            L + 1 tensors (B, T, 2D), 0 behind the end of a text: first the token's own vector twice, then each layer's
            forward and backward outputs joined.
        """
        x = self.token_encoder(tokens)  # (B, T, D)
        B, T, _ = x.shape
        if lengths is None:
            lengths = torch.full((B,), T, device=x.device)
        forward = [x, *self.forward_model(x)]
        backward = [x, *(reverse(layer, lengths) for layer in self.backward_model(reverse(x, lengths)))]
        outside = (torch.arange(T, device=x.device) >= lengths.unsqueeze(1)).unsqueeze(-1)  # (B, T, 1)
        return [torch.cat(both, dim=-1).masked_fill(outside, 0.0) for both in zip(forward, backward, strict=True)]

    def logits(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What both directions predict, from the last of :meth:`hidden_states`, (B, T, 2D); as :meth:`forward`."""
        forward, backward = hidden.chunk(2, dim=-1)  # each (B, T, D)
        return self.token_logits(forward), self.token_logits(backward)

    def token_logits(self, hidden: Tensor) -> Tensor:
        """Scores of all tokens, (..., V), from one direction's last outputs, (..., D)."""
        weight = self.token_encoder.get_parameter("weight") if self.output_weight is None else self.output_weight
        return F.linear(self.dropout(hidden), weight, self.output_bias)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Predict every token twice. Arguments as :meth:`hidden_states`.

        Returns:
            forward logits (B, T, V): those at position t are for the token at t + 1;
            backward logits (B, T, V): those at position t are for the token at t − 1.
        """
        return self.logits(self.hidden_states(tokens, lengths)[-1])


def bilm_targets(ids: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What each direction is to predict at each position.

    Args:
        ids: (B, T). lengths: (B,), where each text ends; all at T if not given.

    Returns:
        the token that follows and the token before, each (B, T); ``IGNORED`` where there is none.
    """
    B, T = ids.shape
    if lengths is None:
        lengths = torch.full((B,), T, device=ids.device)
    positions, ends = torch.arange(T, device=ids.device), lengths.unsqueeze(1)
    following = F.pad(ids[:, 1:], (0, 1)).masked_fill(positions + 1 >= ends, IGNORED)
    before = F.pad(ids[:, :-1], (1, 0)).masked_fill((positions == 0) | (positions >= ends), IGNORED)
    return following, before


def bilm_loss(forward_logits: Tensor, backward_logits: Tensor, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean cross-entropy, in nats, of all predictions in both directions (§3.1, per prediction).

    Args:
        forward_logits, backward_logits: (B, T, V), as the model gives them. ids, lengths: as in :func:`bilm_targets`.

    Returns:
        a scalar; both directions count alike, since each predicts all tokens of a text but one.
    """
    following, before = bilm_targets(ids, lengths)
    losses = [
        F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)
        for logits, targets in ((forward_logits, following), (backward_logits, before))
    ]
    return (losses[0] + losses[1]) / 2


class ScalarMix(nn.Module):
    """A weighted sum of the layers, γ Σ softmax(w)ₗ hₗ, whose weights a task learns (§3.2, eq. 1).

    Args:
        num_layers: how many layers are mixed: L + 1 for all of an ELMo.
    """

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(num_layers))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Mix tensors of one shape.

        Raises:
            ValueError: if there are not ``num_layers`` of them.
        """
        if len(layers) != len(self.weights):
            raise ValueError(f"{len(layers)} layers came to a mix of {len(self.weights)}: hand in that many")
        shares = self.weights.softmax(dim=0)
        return self.gamma * sum(share * layer for share, layer in zip(shares, layers, strict=True))


def elmo_features(model: ELMo, scalar_mix: ScalarMix, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Vectors of words in context for a task, (B, T, 2D): the mix learns, the language model stays as it is (§3.3)."""
    with evaluating(model):
        layers = model.hidden_states(tokens, lengths)
    return scalar_mix(layers)
