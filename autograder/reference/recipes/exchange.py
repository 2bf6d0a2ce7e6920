"""ELMo with the decoder's layers in place of its LSTMs, and BERT with LSTMs in place of the encoder's layers.

Between ELMo and BERT two things changed: what reads, and what it is asked for. These are the two models that lie
between them, by one exchange each, for ``recipes/family.py`` to train at the same budget.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from autograder.reference.bert import BertConfig, BertForPreTraining
from autograder.reference.elmo import ELMo, ElmoConfig
from autograder.reference.gpt import GPT, GPTConfig
from autograder.reference.recurrent import reverse
from autograder.reference.rotary import Rotation


class CausalDirection(nn.Module):
    """One direction of an ELMo that reads by looking back; it stands where ``OneDirection`` did.

    Args:
        config: of the decoder whose layers these are.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        gpt = GPT(replace(config, vocab_size=1, positions="rotary"))
        self.rotary_positions, self.layers, self.final_norm = gpt.rotary_positions, gpt.layers, gpt.final_norm

    def forward(self, x: Tensor) -> list[Tensor]:
        """Read x (B, T, D) from left to right; returns the outputs of each layer, (B, T, D)."""
        rotation = self.rotary_positions(0, x.size(1))
        states = []
        for layer in self.layers:
            x = layer(x, rotation)
            states.append(x)
        return [*states[:-1], self.final_norm(states[-1])]


def elmo_without_lstms(config: GPTConfig) -> ELMo:
    """Two decoders that never see each other, joined as ELMo joins its LSTMs; each has all of ``config``'s layers."""
    model = ELMo(
        ElmoConfig(
            config.vocab_size,
            config.d_model,
            config.d_model,
            num_layers=1,
            dropout=config.dropout,
            tie_embeddings=True,
            initial_std=config.initial_std,
        )
    )
    model.forward_model, model.backward_model = CausalDirection(config), CausalDirection(config)
    return model


class TwoDirections(nn.Module):
    """An LSTM from each side, which meet in one linear map; stands where the encoder's layer did.

    Args:
        d_model: width, D. hidden_size: of each LSTM. dropout: share of what is added that is set to 0 in training.
    """

    def __init__(self, d_model: int, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.from_left = nn.LSTM(d_model, hidden_size, batch_first=True)
        self.from_right = nn.LSTM(d_model, hidden_size, batch_first=True)
        self.projection = nn.Linear(2 * hidden_size, d_model)
        self.dropout = nn.Dropout(dropout)
        for lstm in (self.from_left, self.from_right):  # the forget gates stand open, as ELMo's
            nn.init.ones_(lstm.get_parameter("bias_ih_l0")[hidden_size : 2 * hidden_size])

    def forward(self, x: Tensor, mask: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """(B, T, D) → (B, T, D).

        Args:
            x: (B, T, D).
            mask: (B, 1, 1, T), True at the tokens of a text, which come first; all are if not given.
            rotation: not needed, since an LSTM knows the order.
        """
        B, T, _ = x.shape
        lengths = torch.full((B,), T) if mask is None else mask.view(B, T).sum(dim=1)
        y = self.norm(x)
        left, _ = self.from_left(y)
        right, _ = self.from_right(reverse(y, lengths))
        return x + self.dropout(self.projection(torch.cat([left, reverse(right, lengths)], dim=-1)))


def bert_with_lstms(config: BertConfig, hidden_size: int, num_layers: int = 2) -> BertForPreTraining:
    """BERT, with layers in which two LSTMs read.

    Args:
        config: what stays of BERT. hidden_size: of each LSTM. num_layers: of two LSTMs each.
    """
    model = BertForPreTraining(config)
    model.bert.layers = nn.ModuleList(
        TwoDirections(config.d_model, hidden_size, config.dropout) for _ in range(num_layers)
    )
    return model
