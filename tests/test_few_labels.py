"""One stage or two: the tasks, what reads them, who competes, and that nothing is computed twice."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import f1_score

from autograder.reference.pretrained import load_tokenizer
from autograder.reference.recipes import few_label_tasks, few_labels
from autograder.reference.recipes.counting_rivals import Bigrams, CountedVectors, Words, labels_of, regress
from autograder.reference.recipes.family import KINDS, Recipe, Sizes
from autograder.reference.recipes.few_label_tasks import (
    EXCHANGED,
    FAMILY,
    IGNORED,
    WAYS,
    Corpus,
    Example,
    Kind,
    Task,
    accuracy,
    drawn,
    exact_spans,
    f1,
    tag_f1,
)
from autograder.reference.recipes.few_labels import (
    Batch,
    Judge,
    Learner,
    Remembered,
    Results,
    Setting,
    all_layers,
    compete,
    judged,
    learn,
    table,
)
from autograder.reference.training import evaluating
from autograder.reference.wordpiece import WordPiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENIZER = WordPiece([*SPECIAL, *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")], SPECIAL)
Score = Callable[[np.ndarray, np.ndarray], float]
SIZES = Sizes(vocab_size=len(TOKENIZER.vocabulary), d_model=16, num_layers=2, lstm_size=13)


def sentences(count: int, seed: int) -> list[list[str]]:
    generator = np.random.default_rng(seed)
    return [["".join(generator.choice(list("abcdefgh"), size=2)) for _ in range(6)] for _ in range(count)]


def task_of(of_words: bool) -> Task:
    """Which words begin with a or b; or is the first word one of them."""
    parts = {}
    for seed, (part, count) in enumerate({"train": 1_200, "validation": 50, "test": 100}.items()):
        labels = [[int(word[0] in "ab") for word in words] for words in sentences(count, seed)]
        parts[part] = [
            Example(words, of_each if of_words else of_each[:1])
            for words, of_each in zip(sentences(count, seed), labels, strict=True)
        ]
    kind: Kind = "words" if of_words else "text"
    return Task("task", kind, 2, parts, (20, 50), accuracy, "neighbors" if of_words else "order")


@pytest.fixture(scope="module")
def bible(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("bible")
    TOKENIZER.save(folder / "tokenizer.json")  # learning one is another test's business
    return few_label_tasks.basic_english(folder)


def test_no_verse_is_in_two_parts_and_all_labels_have_their_word(bible: Corpus) -> None:
    for task in bible.tasks:
        seen = [{" ".join(sorted(example.words)) for example in part} for part in task.parts.values()]
        few = 0.01 * few_label_tasks.TEST  # some verses are in the Bible twice
        assert len(seen[0] & seen[2]) <= few
        assert len(seen[1] & seen[2]) <= few
        assert [len(part) for part in task.parts.values()] == [4_000, 500, 1_000]
        for part in task.parts.values():
            for example in part:
                assert len(example.labels) == (len(example.words) if task.kind == "words" else 1)
                assert 1 <= len(example.words) <= few_label_tasks.LONGEST
    names, swapped = bible.tasks
    assert 0.4 < labels_of(swapped.parts["test"]).mean() < 0.6
    assert 0.02 < labels_of(names.parts["test"]).mean() < 0.15
    assert all(word == word.lower() for example in names.parts["test"] for word in example.words)


def test_the_text_to_learn_from_holds_no_verse_of_the_test(bible: Corpus) -> None:
    learned = {" ".join(words) for words in bible.words}
    tested = [" ".join(example.words) for example in bible.tasks[0].parts["test"]]
    assert sum(verse in learned for verse in tested) < 0.01 * len(tested)


def test_the_grammar_asks_for_one_noun_and_for_sentences(tmp_path: Path) -> None:
    corpus = few_label_tasks.small_grammar(tmp_path)
    sense, agreement = corpus.tasks
    assert corpus.recipe.tokenizer.ids["[UNK]"] not in corpus.recipe.tokens["train"]
    assert all(sum(label != IGNORED for label in example.labels) == 1 for example in sense.parts["test"])
    assert labels_of(agreement.parts["test"]).mean() == 0.5
    assert labels_of(sense.parts["train"]).max() == sense.num_labels - 1


def test_a_larger_draw_holds_the_smaller_and_another_seed_draws_others() -> None:
    task = task_of(True)
    assert drawn(task, 50, 3)[:20] == drawn(task, 20, 3)
    assert drawn(task, 20, 3) != drawn(task, 20, 4)


def test_the_scores_are_those_of_the_library() -> None:
    generator = np.random.default_rng(0)
    predicted, labels = generator.integers(2, size=(2, 200))
    assert f1(predicted, labels) == pytest.approx(f1_score(labels, predicted))
    assert accuracy(predicted, labels) == (predicted == labels).mean()
    assert f1(np.zeros(5), np.ones(5)) == 0


def test_a_word_is_the_mean_of_its_pieces() -> None:
    batch = Batch.of([Example(["ab", "c"], [1, IGNORED]), Example(["d", "e", "fgh"], [0, 0, 1])], TOKENIZER, "words")
    assert TOKENIZER.decode(batch.ids[0, :5].tolist()) == "[SEP] ab c [SEP]"
    assert batch.lengths.tolist() == [5, 7]
    assert batch.labels.tolist() == [[1, IGNORED, IGNORED], [0, 0, 1]]
    x = torch.randn(2, 7, 4)
    words = batch.words @ x
    assert torch.allclose(words[0, 0], x[0, 1:3].mean(dim=0))
    assert torch.allclose(words[1, 2], x[1, 3:6].mean(dim=0))
    assert not words[0, 2].any()


@pytest.mark.parametrize("of_words", [True, False])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_judge_does_not_see_the_padding(kind: str, of_words: bool) -> None:
    task = task_of(of_words)
    judge = Judge(KINDS[kind].make(SIZES), task)
    torch.nn.init.normal_(judge.head.weight)
    short, long = task.parts["test"][0], Example(["abcdefgh"] * 5, [0] * 5 if of_words else [0])
    with evaluating(judge):
        alone = judge(Batch.of([short], TOKENIZER, task.kind))
        together = judge(Batch.of([short, long], TOKENIZER, task.kind))
    assert torch.allclose(alone[0], together[0, : len(alone[0])], atol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_is_remembered_is_what_the_layers_make(kind: str) -> None:
    model, batch = KINDS[kind].make(SIZES), Batch.of(task_of(True).parts["test"][:5], TOKENIZER, "words")
    longer = Batch.of([Example(["abcdefgh"] * 5, [0] * 5), *task_of(True).parts["test"][3:7]], TOKENIZER, "words")
    remembered = Remembered(model)
    for b in (batch, longer, batch):
        inside = (torch.arange(b.ids.size(1)) < b.lengths.unsqueeze(1)).unsqueeze(-1)
        with evaluating(model):
            right = all_layers(model, b)
        found = remembered.layers(b)
        assert len(found) == len(right)
        for one, other in zip(found, right, strict=True):
            assert torch.allclose(one, other * inside, atol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_all_learn_and_a_frozen_model_stays_as_it_is(kind: str) -> None:
    task = task_of(True)
    for changes in (True, False):
        torch.manual_seed(0)
        model = KINDS[kind].make(SIZES)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        taught = model if changes else Remembered(model)
        judge = learn(taught, task, drawn(task, 200, 0), TOKENIZER, Setting(3e-3), seed=0)
        same = all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert same is not changes
        right = accuracy(judged(judge, task.parts["test"], TOKENIZER), labels_of(task.parts["test"]))
        assert right > (0.95 if changes else 0.78), (changes, right)  # three words in four begin with another letter


def test_whole_sentences_are_judged_too() -> None:
    task = task_of(False)
    torch.manual_seed(0)
    judge = learn(KINDS["bert"].make(SIZES), task, drawn(task, 1000, 0), TOKENIZER, Setting(3e-3), seed=0)
    assert accuracy(judged(judge, task.parts["test"], TOKENIZER), labels_of(task.parts["test"])) > 0.8


@pytest.mark.parametrize("rival", [Words, CountedVectors])
def test_the_rivals_learn_about_words(rival: type[Words] | type[CountedVectors]) -> None:
    task = task_of(True)
    texts = [example.words for example in task.parts["train"]]
    reader = rival(task, texts)
    taught = drawn(task, 1000, 0)
    judge = regress(reader(taught), labels_of(taught), 10.0)
    right = accuracy(judge.predict(reader(task.parts["test"])), labels_of(task.parts["test"]))
    majority = 1 - labels_of(task.parts["test"]).mean()
    assert right > majority + 0.1 if rival is Words else right > majority - 0.1
    sense = replace(task, cue="sentence")
    assert rival(sense, texts)(taught).shape[0] == len(labels_of(taught))


def matching(kind: Kind) -> Task:
    """Do both texts begin with the same letter; or which two words of the first begin as the second does?"""
    parts = {}
    for seed, (part, count) in enumerate({"train": 1_500, "validation": 50, "test": 200}.items()):
        generator = np.random.default_rng(seed)
        parts[part] = []
        for _ in range(count):
            letters = generator.permutation(list("abcd"))
            if kind == "pair":
                label = int(generator.integers(2))
                second = letters[0] if label else letters[1]
                parts[part].append(Example([letters[0]], [label], [second]))
            else:
                place = int(generator.integers(3))
                words = [letter for letter in letters[:3] for _ in range(2)]
                parts[part].append(Example(words, [2 * place, 2 * place + 1], [letters[place]]))
    return Task("task", kind, 2, parts, (20,), accuracy, "bag" if kind == "pair" else "span")


@pytest.mark.parametrize(("kind", "score"), [("pair", accuracy), ("span", exact_spans)])
def test_pairs_and_spans_are_learned_by_networks_and_by_counting(kind: Kind, score: Score) -> None:
    task = matching(kind)
    torch.manual_seed(0)
    taught, tested = drawn(task, 1000, 0), task.parts["test"]
    judge = learn(KINDS["bert"].make(SIZES), task, taught, TOKENIZER, Setting(3e-3), seed=0)
    assert score(judged(judge, tested, TOKENIZER), labels_of(tested)) > 0.9
    (counter,) = few_labels.counters(task, [["a"]])
    assert score(counter.predict(taught, Setting(100.0), 0, tested), labels_of(tested)) > 0.9


def test_the_second_text_is_told_from_the_first() -> None:
    batch = Batch.of([Example(["ab"], [0], ["cd", "e"]), Example(["a"], [1], ["b"])], TOKENIZER, "pair", "[CLS]")
    assert TOKENIZER.decode(batch.ids[0].tolist()) == "[CLS] ab [SEP] cd e [SEP]"
    assert batch.segments.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]]
    x = torch.randn(2, batch.ids.size(1), 4)
    assert torch.allclose((batch.second.unsqueeze(1) @ x)[0, 0], x[0, 4:7].mean(dim=0))
    assert batch.labels.tolist() == [0, 1]


def test_spans_and_tags_are_scored_by_hand() -> None:
    assert exact_spans(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == 0.5
    assert tag_f1(np.array([0, 1, 2, 2, 0]), np.array([0, 1, 1, 2, 2])) == pytest.approx(2 * 2 / (3 + 4))


@pytest.fixture(scope="module")
def english(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("english")
    TOKENIZER.save(folder / "tokenizer.json")
    return few_label_tasks.english(folder)


def test_the_log_has_every_learner_at_every_number_of_labels_and_seed() -> None:
    curves = few_labels.curves(few_labels.read_rows())
    learners = {("bert", way) for way in WAYS} | {("elmo", "frozen"), ("minilm", "frozen"), ("counting", "counting")}
    for task in {task for task, _, _ in curves}:
        assert {(learner, way) for of, learner, way in curves if of == task} == learners
    for scores in curves.values():
        assert {count: len(found) for count, found in scores.items()} == dict.fromkeys((20, 50, 200, 1000), 3)


@pytest.mark.parametrize(
    ("name", "learner", "way"), [("entities", "counted vectors", "counting"), ("pairs", "elmo", "frozen")]
)
def test_a_row_of_the_log_comes_out_again(english: Corpus, tmp_path: Path, name: str, learner: str, way: str) -> None:
    corpus = replace(english, recipe=replace(english.recipe, tokenizer=load_tokenizer()))
    task = next(task for task in corpus.tasks if task.name == name)
    (who,) = (
        found
        for found in few_labels.counters(task, corpus.words) + few_labels.networks(task, corpus, tmp_path)
        if (found.name, found.way) == (learner, way)
    )
    asked = {"task": name, "learner": learner, "way": way, "labels": 20, "seed": 0, "part": "test"}
    row = next(row for row in few_labels.read_rows() if asked.items() <= row.items())
    predicted = who.predict(drawn(task, 20, 0), Setting(row["rate"]), 0, task.parts["test"])
    assert task.score(predicted, labels_of(task.parts["test"])) == pytest.approx(row["score"], abs=0.02)


def test_the_four_kinds_of_task_have_their_examples(english: Corpus) -> None:
    corpus = english
    assert [task.kind for task in corpus.tasks] == ["text", "pair", "words", "span"]
    for task in corpus.tasks:
        assert len(task.parts["validation"]) == 500
        assert len(task.parts["test"]) >= 800
        assert len(task.parts["train"]) >= 2_000
        for part in task.parts.values():
            assert all(word == word.lower() for example in part[:200] for word in (*example.words, *example.second))
        texts = [{(*e.words, "|", *e.second) for e in part} for part in task.parts.values()]
        assert len(texts[0] & texts[2]) <= 0.25 * len(texts[2]), task.name  # some of the shortest pairs come twice
    questions = corpus.tasks[3].parts["test"]
    assert all(0 <= e.labels[0] <= e.labels[1] < min(len(e.words), e.labels[0] + 4) for e in questions)


def test_bigrams_see_an_exchange() -> None:
    texts = [["the", "cat", "sat", "on", "a", "mat", "and", "slept"]] * 100
    order = Bigrams(task_of(False), texts)
    intact = Example(texts[0], [0])
    exchanged = Example(["the", "sat", "cat", "on", "a", "mat", "slept", "and"], [1])
    judge = regress(order([intact, exchanged] * 10), np.array([0, 1] * 10), 1.0)
    assert judge.predict(order([intact, exchanged])).tolist() == [0, 1]
    assert np.isfinite(order([Example(["new"], [0])])).all()


def test_the_best_setting_on_validation_is_tested_and_nothing_is_computed_twice(tmp_path: Path) -> None:
    calls: list[tuple[int, Setting, int]] = []

    def predict(examples: Sequence[Example], setting: Setting, seed: int, others: Sequence[Example]) -> np.ndarray:
        calls.append((len(examples), setting, seed))
        labels = labels_of(others)
        return labels if setting.rate == 2.0 else 1 - labels

    task = task_of(False)
    learner = Learner("somebody", "counting", [Setting(1.0), Setting(2.0), Setting(3.0)], predict)
    results = Results(tmp_path / "results.csv")
    compete(task, [learner], results)
    chosen = calls[3:]
    assert {setting for _, setting, _ in chosen} == {Setting(2.0)}
    assert [(count, seed) for count, _, seed in chosen] == [(count, seed) for count in (20, 50) for seed in range(3)]
    assert all(seed not in few_labels.LABEL_SEEDS for _, _, seed in calls[:3])
    again = Results(tmp_path / "results.csv")
    compete(task, [learner], again)
    assert len(calls) == 3 + 6
    assert again.rows == results.rows
    assert "1.000 ±0.000" in table(again.rows)


def test_a_curve_is_that_of_the_setting_and_of_the_way_of_counting_that_were_best_on_validation() -> None:
    def row(learner: str, way: str, part: str, score: float, rate: float = 1.0, seed: int = 0) -> few_labels.Row:
        return {
            "task": "t",
            "learner": learner,
            "way": way,
            "labels": 20,
            "seed": seed,
            "rate": rate,
            "steps": 0 if way == "counting" else few_labels.STEPS[20],
            "part": part,
            "score": score,
        }

    rows = [
        *(row("pairs of words", "counting", part, score) for part, score in (("validation", 0.8), ("test", 0.5))),
        *(row("words", "counting", part, score) for part, score in (("validation", 0.6), ("test", 0.9))),
        *(row("bert", "frozen", "validation", score, rate) for rate, score in ((1.0, 0.7), (2.0, 0.8), (3.0, 0.8))),
        row("bert", "frozen", "test", 0.9, 1.0),
        *(row("bert", "frozen", "test", score, 2.0, seed) for seed, score in enumerate((0.7, 0.75))),
    ]
    assert few_labels.curves(rows) == {
        ("t", "counting", "counting"): {20: [0.5]},
        ("t", "bert", "frozen"): {20: [0.7, 0.75]},
    }


def test_networks_start_from_the_pretrained_weights_unless_they_start_from_scratch(tmp_path: Path) -> None:
    task = task_of(True)
    ways = dict.fromkeys(FAMILY, WAYS) | dict.fromkeys(EXCHANGED, WAYS[:1])
    corpus = Corpus(Recipe(TOKENIZER, {}, SIZES), [], [task], ways)
    for seed in few_labels.PRETRAINING_SEEDS:
        for kind in KINDS:
            (tmp_path / f"seed-{seed}").mkdir(exist_ok=True)
            nothing = {key: torch.full_like(v, torch.nan) for key, v in KINDS[kind].make(SIZES).state_dict().items()}
            save_file(nothing, tmp_path / f"seed-{seed}" / f"{kind}.safetensors")
    learners = few_labels.networks(task, corpus, tmp_path)
    assert len({(learner.name, learner.way) for learner in learners}) == 3 * 3 + 2
    for learner in learners:
        if learner.way == "from scratch":
            learner.predict(drawn(task, 20, 0), Setting(1e-3), 0, task.parts["test"])
        else:
            with pytest.raises(FloatingPointError):
                learner.predict(drawn(task, 20, 0), Setting(1e-3), 0, task.parts["test"])
