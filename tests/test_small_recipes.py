"""The recipes of the small models: that they learn, and that what is kept is what was trained."""

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autograder.reference.recipes import ablations, recall, translator, vectors, vision, xor_cue
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.recipes.translator import Examples, Translator, load_pairs
from autograder.reference.training import evaluating


def test_no_day_and_no_verse_is_in_two_parts() -> None:
    for name, target in (("dates", 1), ("french", 0)):
        parts = load_pairs(name)
        days = {part: {pair[target] for pair in pairs} for part, pairs in parts.items()}
        few = 0.0 if name == "dates" else 0.03  # some verses are in the Bible twice
        assert len(days["train"] & days["test"]) <= few * len(days["test"])
        assert len(days["train"] & days["validation"]) <= few * len(days["validation"])
        assert min(map(len, parts.values())) > 1_000
    sides = [side for pair in parts["train"] for side in pair]
    assert max(len(side.split()) for side in sides) == 30
    assert all(any(map(str.isalpha, side)) for side in sides)
    assert not any(map(str.isdigit, "".join(sides)))  # no numbers of verses


def test_the_translator_learns_dates_and_is_kept(tmp_path: Path) -> None:
    recipe = translator.RECIPES["dates"]
    training = replace(recipe.training, steps=40, warmup_steps=10, evaluate_every=20, learning_rate=5e-3)
    made, about = translator.run("dates", tmp_path, training=training)
    assert about["validation_loss"] < 1.6  # ten digits and a stroke alone: 1.9
    made.save(tmp_path, "dates", about)
    kept = Translator.load(tmp_path, "dates")
    asked = [written for written, _ in load_pairs("dates")["test"][:8]]
    assert kept.translate(asked, 1) == pytest.approx(made.translate(asked, 1))
    assert all(len(answer) < 60 for answer in kept.translate(asked, 2))
    assert (tmp_path / "dates.csv").exists()


def test_what_is_padded_does_not_change_a_translation() -> None:
    pairs = load_pairs("dates")["train"][:50]
    made = translator.make(translator.RECIPES["dates"], pairs, 0)
    short, long = min(pairs, key=lambda pair: len(pair[0]))[0], max(pairs, key=lambda pair: len(pair[0]))[0]
    with evaluating(made.model):
        ids = [torch.tensor([*made.tokenizer.encode(text), 2]) for text in (short, long)]
        both = torch.zeros(2, len(ids[1]), dtype=torch.long)
        both[0, : len(ids[0])], both[1] = ids
        target = torch.tensor([[1, 60, 61]])
        alone = made.model(ids[0].unsqueeze(0), target)
        assert torch.allclose(made.model(both, target.expand(2, -1))[0], alone[0], atol=1e-5)
    examples = Examples(pairs, made.tokenizer, 2_048, 0)
    source, wanted = examples.batch(0)
    assert made.tokenizer.decode(i for i in wanted[0].tolist() if i > 2) in {iso for _, iso in pairs}
    assert (source == 2).sum(dim=1).eq(1).all()


def test_a_judgment_counts_what_is_exact() -> None:
    class Copies:
        def translate(self, sentences: list[str], beam: int, show: bool) -> list[str]:
            return [sentence.upper() for sentence in sentences]

    pairs = [("a b c d e", "A B C D E"), ("f g h i j", "f g h i j")]
    found = translator.judge(Copies(), pairs, 1)  # type: ignore[arg-type]
    assert found["exact"] == 0.5
    assert 0 < found["bleu"] < 100


def test_digits_are_told_from_few_steps_already() -> None:
    training = replace(vision.TRAINING["digits"], steps=120, warmup_steps=20, evaluate_every=60)
    _, right = vision.run("digits", training=training)
    assert right > 0.8
    pictures = vision.load_pictures("mnist")
    assert sum(len(part.labels) for part in pictures) == 5_000
    assert min(len(part.labels) for part in pictures) > 400
    assert pictures.train.images.shape[1:] == (1, 28, 28)


def test_words_that_keep_company_are_near(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    documents = [["red", "apple", "sweet"] * 20, ["blue", "sea", "deep"] * 20] * 30
    words, found = vectors.run(documents)
    assert sorted(words) == ["apple", "blue", "deep", "red", "sea", "sweet"]
    unit = torch.nn.functional.normalize(found, dim=1)
    cosine = dict(zip(words, unit @ unit[words.index("red")], strict=True))
    assert cosine["apple"] > cosine["sea"]
    assert "100%" in capsys.readouterr().err
    vectors.save(words, found, tmp_path)
    kept = load_file(tmp_path / "word_vectors.safetensors")["vectors"].float()
    assert torch.allclose(kept, unit, atol=1e-3)
    assert json.loads((tmp_path / "word_vectors.json").read_text()) == words


def test_both_readers_have_the_same_size_and_a_little_training_beats_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [
        sum(p.numel() for name, p in make(10, 8).named_parameters() if "lstm" in name or "layers" in name)
        for make in recall.MODELS.values()
    ]
    assert max(sizes) < 1.05 * min(sizes)
    monkeypatch.setattr(recall, "NUM_CELLS", 3)
    monkeypatch.setattr(recall, "NUM_VALUES", 4)
    for name in recall.MODELS:
        assert recall.run(name, 3e-3, seed=0, steps=150, batches=4) > 0.5, name


def test_the_log_of_recall_is_that_of_the_recipe_that_is_here() -> None:
    with Path(recall.__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == recall.COLUMNS
    for name in recall.MODELS:
        mine = [row for row in rows if row["model"] == name]
        assert {int(row["steps"]) for row in mine} == {recall.STEPS}
        assert {int(row["parameters"]) for row in mine} == {sum(p.numel() for p in recall.made(name).parameters())}
        chosen = {float(row["rate"]): float(row["accuracy"]) for row in mine if row["part"] == "choice"}
        assert set(chosen) == set(recall.RATES)
        tested = [row for row in mine if row["part"] == "test"]
        assert [int(row["seed"]) for row in tested] == list(recall.SEEDS)
        assert {float(row["rate"]) for row in tested} == {max(chosen, key=lambda rate: chosen[rate])}


def test_the_two_sides_are_seen_together_by_those_that_meet_alone() -> None:
    """What meets before the readout tells the sense, in the log and in a training that is done again."""
    log = {way["way"]: way for way in json.loads(xor_cue.LOG.read_text(encoding="utf-8"))["ways"]}
    assert set(log) == set(xor_cue.WAYS)
    attending, glued = log["self-attention, one layer"], log["one-sided, one layer"]
    assert min(attending["right"]) > 0.99
    assert max(glued["right"]) < 0.76
    assert xor_cue.run("self-attention, one layer", attending["rate"], 0, steps=200) > 0.95
    assert xor_cue.run("one-sided, one layer", glued["rate"], 0, steps=100) < 0.76


def test_one_sided_readers_do_not_see_the_other_side() -> None:
    torch.manual_seed(0)
    ids = xor_cue.batch(0, 0, 3).ids
    for way, knows in (("one-sided, two layers", False), ("coupled, two layers", True)):
        encoder, embedding = xor_cue.Reader(way).encoder, torch.nn.Embedding(11, xor_cue.WIDTH)
        other = ids.clone()
        other[:, -1] = (other[:, -1] + 1) % 8
        with torch.no_grad():
            before, after = (encoder(embedding(x))[:, 5, : xor_cue.WIDTH // 2] for x in (ids, other))
        assert torch.equal(before, after) != knows


def test_numbers_are_learned_from_few_steps_and_written_exactly() -> None:
    parts = ablations.numbers()
    assert not set(parts["train"]) & (set(parts["choice"]) | set(parts["test"]))
    assert not set(parts["choice"]) & set(parts["test"])
    source, target = ablations.encoded([2041, 7])
    words = [ablations.VOCABULARY[i] for i in source[0].tolist()]
    assert words == ["two", "thousand", "and", "forty", "one"]
    assert [ablations.VOCABULARY[i] for i in target[1].tolist()] == ["<start>", "7", "<end>", "<pad>", "<pad>", "<pad>"]
    rows = ablations.run("whole", 3e-3, 0, "test", steps=60)
    assert rows[-1]["loss"] < 2.2  # ten digits and an end alone: 2.4
    assert 0 <= rows[-1]["exact"] <= 1

    class Copies:
        config = ablations.whole().config

        def encode(self, source: torch.Tensor) -> torch.Tensor:
            return source

        def source_mask(self, source: torch.Tensor) -> None:
            return None

        def decode(self, written: torch.Tensor, memory: torch.Tensor, mask: None) -> torch.Tensor:
            known = torch.where(target[:, written.size(1)] == 9, 10, target[:, written.size(1)])
            return torch.nn.functional.one_hot(known, 20).float().unsqueeze(1)

    six_is_wrong = ablations.encoded([2045, 7, 6])
    target = six_is_wrong[1]
    assert ablations.exact(Copies(), *six_is_wrong) == pytest.approx(2 / 3)  # type: ignore[arg-type]


def test_each_part_is_missing_where_it_is_said_to_be() -> None:
    torch.manual_seed(0)
    source, order = torch.randint(13, 40, (1, 6)), torch.tensor([3, 0, 5, 1, 4, 2])
    made = {name: part.make().eval() for name, part in ablations.PARTS.items()}
    with torch.no_grad():
        for name, model in made.items():
            turned = model.encode(source[:, order]) - model.encode(source)[:, order]
            assert (turned.abs().max() < 1e-5) == (name == "no positions"), name
            counts = {
                kind: sum(type(m) is kind for m in model.modules()) for kind in (torch.nn.LayerNorm, ablations.Nothing)
            }
            assert (counts[torch.nn.LayerNorm] == 0) == (name == "no norms"), name
            assert counts[ablations.Nothing] == (4 if name == "no feed-forward" else 0), name
            heads = {layer.attention.num_heads for layer in model.encoder_layers}
            assert heads == ({1} if name == "one head" else {4}), name
        for name in ("whole", "no residual paths"):
            layer = made[name].encoder_layers[0]
            layer.attention.output_projection.weight.zero_()
            layer.feed_forward.contract.weight.zero_()
            x = torch.randn(1, 4, 64)
            gone = (layer(x) - layer(torch.zeros_like(x))).abs().max() < 1e-6
            assert gone == (name == "no residual paths")
    warmups = {name: part.warmup for name, part in ablations.PARTS.items()}
    assert all((warmup == 0) == name.endswith("no warm-up") for name, warmup in warmups.items())
    layers = {name: len(model.encoder_layers) for name, model in made.items()}
    assert all((number == ablations.DEEP) == name.startswith("deep") for name, number in layers.items())


def test_the_rival_with_lstms_is_as_large_and_is_kept(tmp_path: Path) -> None:
    pairs = load_pairs("french")["train"][:2_000]
    rivals = [translator.make(translator.RECIPES[name], pairs, 0) for name in ("french", "french_lstm")]
    one, other = (sum(p.numel() for p in made.model.parameters()) for made in rivals)
    assert 0.95 < one / other < 1.05
    rivals[1].save(tmp_path, "french_lstm", {})
    kept = Translator.load(tmp_path, "french_lstm")
    weights = dict(rivals[1].model.state_dict())
    assert all(torch.allclose(value, weights[name], atol=1e-3) for name, value in kept.model.state_dict().items())
    assert kept.translate([pairs[0][0]], 2)[0] is not None


def test_a_training_that_is_in_the_log_need_not_be_run_again(tmp_path: Path) -> None:
    columns = ("part", "rate", "step", "loss")
    log = RunLog(tmp_path / "new" / "log.csv", columns, key_size=2)
    assert log.rows_of("whole", 0.01) == []
    rows = log.add(("whole", 0.01), [(100, 0.5), (200, 0.25)])
    assert [row["loss"] for row in rows] == ["0.5", "0.25"]
    log.add(("one head", 0.01), [(100, 0.75)])
    again = RunLog(tmp_path / "new" / "log.csv", columns, key_size=2)
    assert again.rows_of("whole", 0.01) == log.rows_of("whole", 0.01) == rows
    assert again.rows_of("whole", 0.02) == []
    shipped = RunLog(Path(recall.__file__).with_suffix(".csv"), recall.COLUMNS, key_size=5)
    for name, seed in itertools.product(recall.MODELS, recall.SEEDS):
        assert sum(len(shipped.rows_of(name, seed, rate, recall.STEPS, "test")) for rate in recall.RATES) == 1
