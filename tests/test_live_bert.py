"""BERT in plain JavaScript: what it puts into gaps in the reader's browser is what PyTorch would."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page

from autograder.book import ROOT
from autograder.in_page import write_models
from autograder.reference.pretrained import load_bert, load_tokenizer

LIVE = ROOT / "book" / "assets" / "live"
SENTENCES = [
    "The president of the [MASK] States spoke to Congress.",
    "They moved to New York and to [MASK] [MASK].",
    "Zoë's CAFÉ is in [MASK], 東京",
    "[MASK]",
]

pytestmark = pytest.mark.skipif(os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1")


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page with nothing but what chapter 8 has for the model, and the model's weights."""
    folder: Path = tmp_path_factory.mktemp("live")
    write_models(folder)
    chapter = (ROOT / "book" / "bert.md").read_text(encoding="utf-8")
    found = re.search(r"```\{raw\} html\n(.*?)```", chapter, re.DOTALL)
    assert found
    widget = found[1].replace("_static/live/bert-weights.js", "bert-weights.js").replace("_static/live", LIVE.as_uri())
    (folder / "page.html").write_text(f'<!doctype html><meta charset="utf-8">{widget}', encoding="utf-8")
    page = browser.new_page()
    page.goto((folder / "page.html").as_uri())
    page.locator("button").click()
    page.locator("ol li").first.wait_for()
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


def test_weights_that_do_not_come_can_be_asked_for_again(browser: Browser, page: Page) -> None:
    other = browser.new_page()
    other.route("**/bert-weights.js", lambda route: route.abort())
    other.goto(page.url)
    other.locator("button").click()
    other.get_by_text("could not be loaded").wait_for()
    other.unroute("**/bert-weights.js")
    other.locator("button").click()
    other.locator("ol li").first.wait_for()
    other.close()
