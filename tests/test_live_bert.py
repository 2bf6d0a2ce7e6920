"""BERT in plain JavaScript: what it puts into gaps in the reader's browser is what PyTorch would."""

import os
from collections.abc import Callable, Iterator

import pytest
import torch
from playwright.sync_api import Page

from autograder.reference.pretrained import load_bert, load_tokenizer

SENTENCES = [
    "The president of the [MASK] States spoke to Congress.",
    "They moved to New York and to [MASK] [MASK].",
    "Zoë's CAFÉ is in [MASK], 東京",
    "[MASK]",
]

pytestmark = pytest.mark.skipif(os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1")


@pytest.fixture(scope="module")
def page(open_live: Callable[[str], Page]) -> Iterator[Page]:
    page = open_live("bert")
    page.evaluate("globalThis.bert = new Bert(pretrained.bert)")
    yield page
    page.close()


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_probabilities_are_those_of_pytorch(page: Page, sentence: str) -> None:
    model, tokenizer = load_bert(), load_tokenizer()
    end, gap = tokenizer.ids["[SEP]"], tokenizer.ids["[MASK]"]
    parts = sentence.split("[MASK]")
    ids = [end, *tokenizer.encode(parts[0])]
    for part in parts[1:]:
        ids += [gap, *tokenizer.encode(part)]
    ids = torch.tensor([[*ids, end]])
    with torch.no_grad():
        expected = model.masked_lm_logits(model.bert(ids)[ids == gap]).softmax(dim=-1)
    found = page.evaluate('text => bert.fill(["[SEP]", ...bert.tokenize(text), "[SEP]"]).map(p => [...p])', sentence)
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-3, atol=1e-5)


def test_what_is_shown_is_what_it_says(page: Page) -> None:
    page.locator("input").fill("it is one of the ___ cities in the world .")
    assert page.locator("output").text_content() == "it is one of the [MASK] cities in the world ."
    first = page.locator("ol li").first
    assert first.locator("span").last.text_content() == "largest"
    assert float(first.locator(".number").text_content() or 0) == pytest.approx(0.51, abs=0.05)


def test_two_gaps_have_two_lists_and_an_example_can_be_chosen(page: Page) -> None:
    page.locator("select").select_option(index=3)
    assert page.locator(".gaps ol").count() == 2
    assert "new york" in (page.locator("output").text_content() or "")


def test_a_sentence_without_a_gap_and_one_that_is_too_long_are_answered(page: Page) -> None:
    page.locator("input").fill("There is nothing to fill.")
    assert "no gap" in (page.locator("output").text_content() or "")
    page.locator("input").fill("word " * 59 + "___ and more")
    assert "too long" in (page.locator("output").text_content() or "")
    assert page.locator("ol li").count() == 0
