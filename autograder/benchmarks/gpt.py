"""Our GPT against transformers' GPT-2, and our modern decoder against its Llama: training steps and writing."""

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.benchmarks.interleaved import demand_same_work, interleaved
from autograder.reference import gpt, modern_decoder
from autograder.reference.sampling import LanguageModel, generate

VOCAB_SIZE, NUM_LAYERS, HEAD_SIZE = 4096, 4, 32
SHAPES = ((128, 64, 16), (128, 256, 8), (128, 512, 4), (256, 64, 16), (256, 256, 4), (512, 128, 8), (512, 512, 2))
"""Width, length and batch: (d, T, B)."""
NEW_TOKENS = 32


def gpt_pair(d_model: int, context_size: int) -> tuple[gpt.GPT, Any]:
    """A GPT of ours and transformers' GPT-2 with its attention by SDPA, the same shape and weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    num_heads = d_model // HEAD_SIZE
    described = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_positions=context_size,
        n_embd=d_model,
        n_layer=NUM_LAYERS,
        n_head=num_heads,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = GPT2LMHeadModel(described)
    theirs.set_attn_implementation("sdpa")
    ours = gpt.GPT(gpt.GPTConfig(VOCAB_SIZE, context_size, d_model, NUM_LAYERS, num_heads))
    gpt.load_published_weights(ours, theirs.state_dict())
    return ours, theirs


def modern_pair(d_model: int, context_size: int) -> tuple[modern_decoder.ModernDecoder, Any]:
    """A modern decoder of ours and transformers' Llama with its attention by SDPA, the same shape and weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    num_heads = d_model // HEAD_SIZE
    config = modern_decoder.ModernDecoderConfig(
        VOCAB_SIZE, context_size, d_model, d_model * 8 // 3, NUM_LAYERS, num_heads, num_heads // 2
    )
    described = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=d_model,
        intermediate_size=config.feed_forward_size,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=num_heads,
        num_key_value_heads=config.num_key_value_heads,
        max_position_embeddings=context_size,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    theirs = LlamaForCausalLM(described)
    theirs.set_attn_implementation("sdpa")
    ours = modern_decoder.ModernDecoder(config)
    modern_decoder.load_published_weights(ours, theirs.state_dict())
    return ours, theirs


PAIRS: dict[str, Callable[[int, int], tuple[LanguageModel, Any]]] = {
    "GPT-2": gpt_pair,
    "Llama": modern_pair,
}


def training_step(model: nn.Module, logits: Callable[[Tensor], Tensor], ids: Tensor) -> Callable[[], Tensor]:
    """Forward and backward of the language model's loss, by the same loss function for both."""

    def step() -> Tensor:
        model.zero_grad()
        loss = F.cross_entropy(logits(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        return loss.detach()

    return step


def race(name: str, mode: str, d_model: int, T: int, B: int, rounds: int) -> dict[str, Any]:
    """One race at one shape.

    Args:
        name: ``"GPT-2"`` or ``"Llama"``.
        mode: ``"training"``, one step forward and backward on B texts of T tokens, or ``"generation"`` of 32 tokens
            after B prompts of T tokens, the likeliest each time, with the cache.
        rounds: how many pairs of times to take.

    Returns:
        what was raced, the largest difference between the two sides' results, and what
        :func:`~autograder.benchmarks.interleaved.interleaved` measured.
    """
    torch.manual_seed(0)
    ours, theirs = PAIRS[name](d_model, T + NEW_TOKENS)
    prompt = torch.randint(VOCAB_SIZE, (B, T + 1))
    if mode == "training":
        our_work = training_step(ours, ours, prompt)
        their_work = training_step(theirs, lambda ids: theirs(ids, use_cache=False).logits, prompt)
    else:
        prompt = prompt[:, 1:]
        theirs.eval()
        everything = torch.ones_like(prompt)

        def our_work() -> Tensor:
            return generate(ours, prompt, NEW_TOKENS, temperature=0)

        def their_work() -> Tensor:
            return theirs.generate(
                prompt, attention_mask=everything, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
            )

    difference = (our_work() - their_work()).abs().max().item()
    demand_same_work(f"{name}, {mode}, at d = {d_model}, T = {T}", difference)
    timed = interleaved(our_work, their_work, rounds)
    return {"model": name, "mode": mode, "d_model": d_model, "T": T, "B": B, "difference": difference, **timed}


def races(rounds: int, shapes: Sequence[tuple[int, int, int]] = SHAPES) -> Iterator[dict[str, Any]]:
    """All races, one after the other."""
    for name in PAIRS:
        for mode in ("training", "generation"):
            for d_model, T, B in shapes:
                yield race(name, mode, d_model, T, B, rounds)
                gc.collect()
