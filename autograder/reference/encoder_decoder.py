"""A recurrent encoder–decoder with and without attention, and the task that tells the two apart: reversal.

The arrangement is that of Luong et al. (2015, §3): the decoder's state is the query, what it found is joined to the
state before the output. The model without attention is the same network with the same parameters; what changes is
that every query is answered with the encoder's last state (Cho et al. 2014, §2.2).
"""

import torch
from torch import Tensor, nn

from autograder.data.generated.reversal import NUM_LETTERS, random_letters
from autograder.reference.attention import scaled_dot_product_attention

START = NUM_LETTERS
"""The symbol that the decoder reads before its first letter."""


class EncoderDecoder(nn.Module):
    """Reads a sequence of letters and writes another of any length.

    Args:
        hidden_size: width of every layer, D; even, since the encoder gives half of it to each direction.
        attend: answer each query with attention over the encoder's states; otherwise with the last state.
    """

    def __init__(self, hidden_size: int, attend: bool) -> None:
        super().__init__()
        self.attend = attend
        self.embedding = nn.Embedding(NUM_LETTERS + 1, hidden_size)
        self.encoder = nn.GRU(hidden_size, hidden_size // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.query_projection = nn.Linear(hidden_size, hidden_size, bias=False)
        self.join = nn.Linear(2 * hidden_size, hidden_size)
        self.output = nn.Linear(hidden_size, NUM_LETTERS)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Read the source, (B, S), in both directions.

        Returns:
            one state per letter (B, S, D), and the last state of each direction joined (B, D).
        """
        states, last = self.encoder(self.embedding(source))  # (B, S, D), (2, B, D/2)
        return states, last.transpose(0, 1).flatten(1)

    def decode(self, inputs: Tensor, states: Tensor, last: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Write on from the decoder's ``memory``, (1, B, D).

        Args:
            inputs: (B, T), the letters written so far that the decoder has not yet read.
            states: (B, S, D) and last: (B, D), as :meth:`encode` gives them.

        Returns:
            logits (B, T, 26), the new memory (1, B, D), and weights (B, T, S), without attention all on the last.
        """
        queries, memory = self.decoder(self.embedding(inputs), memory)  # (B, T, D)
        if self.attend:
            context, weights = scaled_dot_product_attention(self.query_projection(queries), states, states)
        else:
            context = self.query_projection(last).unsqueeze(1).expand_as(queries)  # the same answer every time
            weights = torch.eye(states.size(1))[-1].expand(*queries.shape[:2], -1)
        joined = torch.tanh(self.join(torch.cat([queries, context], dim=-1)))
        return self.output(joined), memory, weights

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, 26) for the target (B, T), each letter given the true ones before it."""
        states, last = self.encode(source)
        start = torch.full_like(target[:, :1], START)
        inputs = torch.cat([start, target[:, :-1]], dim=1)
        return self.decode(inputs, states, last, last.unsqueeze(0).contiguous())[0]

    @torch.no_grad()
    def write(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Write as many letters as the source, (B, S), has, each time the likeliest one.

        Returns:
            letters (B, S) and weights (B, S, S).
        """
        states, last = self.encode(source)
        memory, letter = last.unsqueeze(0).contiguous(), torch.full_like(source[:, :1], START)
        letters, weights = [], []
        for _ in range(source.size(1)):
            logits, memory, looked = self.decode(letter, states, last, memory)
            letter = logits.argmax(dim=-1)
            letters.append(letter)
            weights.append(looked)
        return torch.cat(letters, dim=1), torch.cat(weights, dim=1)


def train_reversal(
    attend: bool,
    seed: int,
    steps: int,
    learning_rate: float,
    hidden_size: int = 48,
    shortest: int = 3,
    longest: int = 12,
) -> EncoderDecoder:
    """Teach a new model to write its input backwards. Every step sees 64 new words of one random length."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = EncoderDecoder(hidden_size, attend)
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, fused=True)
    # The rate climbs for 50 steps, then falls in a straight line to 0.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 50, 1 - step / steps))
    for _ in range(steps):
        length = int(torch.randint(shortest, longest + 1, (), generator=generator))
        source = random_letters(64, length, generator)
        target = source.flip(1)
        loss = nn.functional.cross_entropy(model(source, target).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model


def reversal_accuracy(model: EncoderDecoder, length: int, words: int = 500, seed: int = 20_000) -> tuple[float, float]:
    """How well a model reverses words that it has not seen: (share of letters right, share of words all right)."""
    source = random_letters(words, length, torch.Generator().manual_seed(seed + length))
    right = model.write(source)[0] == source.flip(1)
    return right.float().mean().item(), right.all(dim=1).float().mean().item()
