"""The Vision Transformer in the page of chapter 10: it says what PyTorch says, of what a reader draws."""

import json
import os
from collections.abc import Callable, Iterator

import pytest
import torch
from playwright.sync_api import Page

from autograder.in_page import digits_to_read, weights_script
from autograder.reference.pretrained import load_vit
from autograder.reference.transformer_layer import attention_weights
from autograder.reference.vit import VisionTransformer, attention_rollout

pytestmark = pytest.mark.skipif(os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1")


@pytest.fixture(scope="module")
def page(open_live: Callable[[str], Page]) -> Iterator[Page]:
    page = open_live("vision")
    page.evaluate("globalThis.vit = new VisionTransformer(pretrained.vit)")
    yield page
    page.close()


def by_pytorch(pixels: list[float], model: VisionTransformer | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (10,), and the rollout of the class token (N,)."""
    model = model or load_vit()
    size = model.config.image_size
    with torch.no_grad(), attention_weights(model) as weights:
        logits = model(torch.tensor(pixels).view(1, 1, size, size))[0]
    return logits, attention_rollout(weights)[0, 0, 1:]


def by_the_page(page: Page, pixels: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    found = page.evaluate(
        "pixels => { const { logits, attentions } = vit.read(pixels);"
        " return [logits, VisionTransformer.rollout(attentions)]; }",
        pixels,
    )
    return torch.tensor(found[0]), torch.tensor(found[1])


def told(page: Page) -> list[float]:
    """The probabilities on the page."""
    return [float(text) for text in page.locator("ol li span:last-child").all_inner_texts() if "." in text]


def stroke(page: Page, *points: tuple[float, float]) -> None:
    """Draw a line on the square, in shares of its side."""
    box = page.locator("canvas.ink").bounding_box()
    assert box
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def test_logits_and_rollout_are_those_of_pytorch(page: Page) -> None:
    pictures = [[gray / 255 for gray in digit["pixels"]] for digit in digits_to_read()]
    pictures += [[0.0] * 784, [1.0] * 784, torch.rand(784, generator=torch.Generator().manual_seed(0)).tolist()]
    for pixels in pictures:
        for mine, theirs in zip(by_the_page(page, pixels), by_pytorch(pixels), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-5)


def test_the_digits_that_lie_ready_are_one_of_each_kind_and_are_read_as_in_the_book(page: Page) -> None:
    digits = digits_to_read()
    assert [digit["label"] for digit in digits] == list(range(10))
    for digit in digits:
        page.locator("select").select_option(str(digit["label"]))
        expected = by_pytorch([gray / 255 for gray in digit["pixels"]])[0].softmax(dim=0)
        assert told(page) == pytest.approx(expected.tolist(), abs=0.001)
        assert page.inner_text("output").startswith(f"This is a {int(expected.argmax())}, ")


def test_a_drawn_one_is_read_wherever_and_however_large_it_is_drawn(page: Page) -> None:
    for x, top, bottom in ((0.5, 0.15, 0.85), (0.2, 0.1, 0.5), (0.8, 0.45, 0.8)):
        page.locator("button[name=clear]").click()
        stroke(page, (x, top), (x, bottom))
        assert page.inner_text("output").startswith("This is a 1, ")
        assert page.locator("ol li").count() == 10


def test_a_drawing_is_brought_to_the_size_and_the_middle_of_the_digits_of_mnist(page: Page) -> None:
    for left, top, width, height in ((10, 200, 30, 60), (100, 20, 150, 50), (140, 140, 2, 2)):
        ink = torch.zeros(280, 280)
        ink[top : top + height, left : left + width] = 1
        found = page.evaluate("ink => DrawingWidget.normalize(Float32Array.from(ink), 280)", ink.flatten().tolist())
        pixels = torch.tensor(found, dtype=torch.float32).view(28, 28)
        places = torch.arange(28.0) + 0.5
        assert (pixels.sum(dim=0) @ places / pixels.sum()).item() == pytest.approx(14, abs=0.5)
        assert (pixels.sum(dim=1) @ places / pixels.sum()).item() == pytest.approx(14, abs=0.5)
        if max(width, height) > 40:
            rows, columns = (pixels > 0.3).nonzero().T
            longer = max(rows.max() - rows.min(), columns.max() - columns.min()) + 1
            assert 19 <= longer <= 21
    assert page.evaluate("DrawingWidget.normalize(new Float32Array(280 * 280), 280)") is None


def test_an_empty_square_asks_for_a_digit_and_a_new_stroke_takes_an_example_away(page: Page) -> None:
    page.locator("select").select_option("8")
    page.locator("button[name=clear]").click()
    assert page.inner_text("output") == "Draw a digit in the left square."
    assert page.locator("ol li").count() == 0
    page.locator("select").select_option("8")
    stroke(page, (0.5, 0.2), (0.5, 0.8))
    assert page.locator("select").input_value() == ""
    assert page.inner_text("output").startswith("This is a 1, ")


def test_the_patches_can_be_left_out_of_the_picture(page: Page) -> None:
    page.locator("select").select_option("3")
    colors = "() => { const c = document.querySelector('canvas.seen'); const d = c.getContext('2d')"
    colors += ".getImageData(0, 0, c.width, c.height).data; let n = 0;"
    colors += " for (let k = 0; k < d.length; k += 4) n += d[k] > d[k + 2] + 20; return n; }"
    page.locator("[name=patches]").check()
    assert page.evaluate(colors) > 1_000
    page.locator("[name=patches]").uncheck()
    assert page.evaluate(colors) == 0
    page.locator("[name=patches]").check()


def test_the_weights_are_small_enough_for_a_page() -> None:
    model = load_vit()
    script = weights_script("vit", model.state_dict(), [])
    assert len(script) < 400_000
    assert json.loads(script.split("] = ", 1)[1].rstrip(";\n"))["vocabulary"] == []
