"""The two models between ELMo and BERT: what each place may look at, and what of the padding is seen."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from autograder.reference.attention import padding_mask
from autograder.reference.bert import BertForPreTraining
from autograder.reference.elmo import ELMo
from autograder.reference.recipes.family import KINDS, Sizes

SIZES = Sizes(vocab_size=30, d_model=16, num_layers=4, lstm_size=13, lstm_in_bert_size=11)
T, PLACE = 9, 4

Last = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def glued() -> ELMo:
    torch.manual_seed(0)
    return KINDS["elmo_without_lstms"].make(SIZES).eval()


@pytest.fixture(scope="module")
def coupled() -> BertForPreTraining:
    torch.manual_seed(0)
    return KINDS["bert_with_lstms"].make(SIZES).eval()


def moved(last: Last) -> Tensor:
    """Which places' vectors change, beyond rounding, when the token at ``PLACE`` is exchanged; (T,) boolean."""
    ids = torch.arange(5, 5 + T).unsqueeze(0)
    other = ids.clone()
    other[0, PLACE] = 29
    with torch.no_grad():
        return (last(ids) - last(other)).abs().amax(dim=-1)[0] > 1e-6


def test_without_lstms_each_direction_still_looks_to_its_own_side_alone(glued: ELMo) -> None:
    D = SIZES.d_model
    forward = moved(lambda ids: glued.hidden_states(ids)[-1][..., :D])
    backward = moved(lambda ids: glued.hidden_states(ids)[-1][..., D:])
    places = torch.arange(T)
    assert torch.equal(forward, places >= PLACE)
    assert torch.equal(backward, places <= PLACE)
    assert len(glued.hidden_states(torch.arange(5).unsqueeze(0))) == 3


def test_with_lstms_every_place_sees_every_place(coupled: BertForPreTraining) -> None:
    assert moved(coupled.bert).all()


@pytest.mark.parametrize("name", ["glued", "coupled"])
def test_padding_is_not_read(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    text, longer = torch.arange(5, 9), torch.arange(10, 17)
    ids = torch.stack([torch.cat([text, torch.zeros(3, dtype=torch.long)]), longer])
    lengths = torch.tensor([4, 7])
    with torch.no_grad():
        if name == "glued":
            alone, together = model.hidden_states(text.unsqueeze(0))[-1], model.hidden_states(ids, lengths)[-1]
        else:
            alone, together = model.bert(text.unsqueeze(0)), model.bert(ids, mask=padding_mask(lengths, 7))
    torch.testing.assert_close(together[:1, :4], alone)


@pytest.mark.parametrize("name", ["elmo_without_lstms", "bert_with_lstms"])
def test_all_weights_learn(name: str) -> None:
    torch.manual_seed(0)
    model = KINDS[name].make(SIZES)
    ids = torch.randint(5, 30, (3, T))
    if name == "elmo_without_lstms":
        forward, backward = model(ids)
        (forward.sum() * 1e-3 + backward.logsumexp(dim=-1).sum() + forward.logsumexp(dim=-1).sum()).backward()
    else:
        model.masked_lm_logits(model.bert(ids)).logsumexp(dim=-1).sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    allowed = ("pooler", "next_sentence_head", "segment_embedding.weight")
    assert [n for n in idle if not any(part in n for part in allowed)] == []
