"""Writing with a language model: which token comes next, and next, and next.

The filters are proven equal to transformers' by ``tests/test_reference_sampling.py``, and writing with the cache equal
to reading everything anew before each token.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from autograder.reference.gpt import GPT
from autograder.reference.modern_decoder import ModernDecoder

LanguageModel = GPT | ModernDecoder


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest logits of each row, and what equals the last of them (Fan et al. 2018, §5).

    Args:
        logits: (..., V). k: at least 1; above V everything is kept.

    Returns:
        (..., V), the rest −inf.

    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"top_k is {k}; it must be at least 1")
    smallest_kept = logits.topk(min(k, logits.size(-1)), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < smallest_kept, -math.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest tokens whose probabilities add up to at least p (Holtzman et al. 2020, §3.1).

    It is the same to drop, from the least likely on, all that adds up to no more than 1 − p. The likeliest stays.

    Args:
        logits: (..., V). p: from 0 to 1.

    Returns:
        (..., V), the rest −inf.

    Raises:
        ValueError: if p is not from 0 to 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"top_p is {p}; it must be from 0 to 1")
    ascending, order = logits.sort(dim=-1)
    dropped = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - p
    dropped[..., -1] = False
    return logits.masked_fill(dropped.scatter(-1, order, dropped), -math.inf)


def sample(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one token for each row.

    Args:
        logits: (B, V).
        temperature: divides the logits: below 1 the likely becomes likelier. 0 takes the likeliest.
        top_k, top_p: filters, applied in this order after the temperature.
        generator: where the chance comes from.

    Returns:
        (B,) token ids.

    Raises:
        ValueError: if the temperature is negative or no number, or a filter's value is out of range.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature is {temperature}; it must be 0 (the likeliest token) or a number above 0")
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / temperature
    if top_k is not None:
        logits = top_k_filter(logits, top_k)
    if top_p is not None:
        logits = top_p_filter(logits, top_p)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(-1)


@torch.no_grad()
def stream(
    model: LanguageModel,
    prompt: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Tensor]:
    """Write on from a prompt, one token at a time, each given to the caller as soon as it is drawn.

    Every position is read once, until the context is full; from then on the latest ``context_size`` tokens are read
    anew before each token, since a token's position, and with it every key and value, changes.

    Args:
        model: is put into evaluation mode and, at the end, back.
        prompt: (B, T) token ids, T ≥ 1; texts of several lengths must be written one by one.
        max_new_tokens: how many tokens to write at most.
        temperature, top_k, top_p, generator: as for :func:`sample`.
        stop: a row that has written this token writes nothing else; when all rows have, writing ends.

    Yields:
        (B,) token ids.

    Raises:
        ValueError: if the prompt is not (B, T) with at least one token.
    """
    if prompt.dim() != 2 or prompt.numel() == 0:
        raise ValueError(
            f"the prompt has the shape {tuple(prompt.shape)}; it must be (texts, tokens), at least one each"
        )
    training = model.training
    model.train(False)
    try:
        context_size = model.config.context_size
        capacity = min(context_size, prompt.size(1) + max_new_tokens)
        window = new = prompt[:, -context_size:]
        cache = model.new_cache(prompt.size(0), capacity)
        done = torch.zeros(prompt.size(0), dtype=torch.bool, device=prompt.device)
        for _ in range(max_new_tokens):
            if cache[0].length == context_size:
                cache, new = model.new_cache(prompt.size(0), capacity), window
            logits = model.logits(model.hidden_states(new, cache)[-1][:, -1])
            token = sample(logits, temperature, top_k, top_p, generator)
            if stop is not None:
                token = token.masked_fill(done, stop)
                done |= token == stop
            yield token
            if stop is not None and done.all():
                return
            new = token.unsqueeze(1)
            window = torch.cat([window, new], dim=1)[:, -context_size:]
    finally:
        model.train(training)


def generate(
    model: LanguageModel,
    prompt: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Write on from a prompt; arguments and errors as for :func:`stream`.

    Returns:
        (B, T + N) token ids, the prompt first; N ≤ ``max_new_tokens``. Behind a row's first ``stop`` there is
        nothing but ``stop``.
    """
    written = list(stream(model, prompt, max_new_tokens, temperature, top_k, top_p, stop, generator))
    return torch.cat([prompt, *(token.unsqueeze(1) for token in written)], dim=1)
