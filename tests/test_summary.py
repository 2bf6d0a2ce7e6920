"""What an instructor sees of a class: figures, a picture, and how far a run is."""

import io
import json
import random
from collections import Counter
from dataclasses import asdict, replace

import matplotlib.image
import pytest
from conftest import ASSIGNMENT, GradedClass
from rich.console import Console

from autograder import live
from autograder.checking.tasks import tasks_of
from autograder.checking.verdict import CaseVerdict, Verdict
from autograder.course import Course
from autograder.grading.enter import Change
from autograder.grading.store import latest_verdict
from autograder.grading.summary import SHARES, draw, picture_path, summarize
from autograder.tables import bars, print_changes, print_graded, print_mistakes


@pytest.fixture(scope="module")
def verdicts(sample: GradedClass) -> list[Verdict]:
    found = [latest_verdict(sample.course, student.name, ASSIGNMENT) for student in sample.students]
    return [verdict for verdict in found if verdict is not None]


def made_up(verdicts: list[Verdict], sample: GradedClass, number: int) -> list[Verdict]:
    """A large class: the small one over and over, with other mistakes and here and there a failure of ours."""
    draw_from = random.Random(2018)
    tasks = tasks_of(sample.assignment)
    found = []
    for _ in range(number):
        verdict = draw_from.choice(verdicts)
        changed = dict(verdict.tasks)
        for name, task in tasks.items():
            luck = draw_from.random()
            mistake = draw_from.choice(task.misconceptions)
            case = CaseVerdict("a case", False, 1.0, "wrong", mistake.name, sentence=mistake.sentence)
            if luck < 0.3:
                score = draw_from.choice([0.0, 0.25, 0.5, 0.75]) * changed[name].max_score
                changed[name] = replace(changed[name], score=score, status="partial", cases=(case,))
            elif luck < 0.32:
                changed[name] = replace(changed[name], score=None, status="grader-error", cases=())
        found.append(replace(verdict, tasks=changed))
    return found


def test_every_mistake_that_was_made_is_counted_once_for_each_student(
    sample: GradedClass, verdicts: list[Verdict]
) -> None:
    made = Counter((task, name) for student in sample.students for task, name in student.mistakes.items())
    made = Counter({key: n for key, n in made.items() if key[0] != "multi_head_attention"})  # built on other answers
    unread = next(student for student in sample.students if student.name == "samir")
    made.subtract(unread.mistakes.items())
    found = {(m.task, m.name): m.students for m in summarize(sample.assignment, verdicts).mistakes}
    assert {key: found.get(key, 0) for key, n in made.items() if n > 0} == {k: n for k, n in made.items() if n > 0}


def test_mistakes_stand_in_their_order_with_what_is_said_about_them(
    sample: GradedClass, verdicts: list[Verdict]
) -> None:
    mistakes = summarize(sample.assignment, made_up(verdicts, sample, 200)).mistakes
    counts = [mistake.students for mistake in mistakes]
    assert counts == sorted(counts, reverse=True)
    tasks = tasks_of(sample.assignment)
    for mistake in mistakes:
        assert mistake.sentence in {m.sentence for m in tasks[mistake.task].misconceptions if m.name == mistake.name}


def test_everybody_is_in_each_distribution_once(sample: GradedClass, verdicts: list[Verdict]) -> None:
    summary = summarize(sample.assignment, verdicts)
    assert sum(summary.histogram) == summary.submissions == 24
    assert [task.task for task in summary.tasks] == [n for n, t in verdicts[0].tasks.items() if t.status != "manual"]
    for task in summary.tasks:
        assert sum(task.histogram) == sum(task.students.values()) == 24
        assert list(task.students) == list(SHARES)
        full = sum(v.tasks[task.task].score == task.max_score for v in verdicts)
        assert task.students["all points"] == full
    assert summary.mean == pytest.approx(sum(v.score for v in verdicts) / 24)
    json.dumps(asdict(summary))


def test_a_failure_of_ours_is_no_zero_in_the_mean(sample: GradedClass, verdicts: list[Verdict]) -> None:
    one = verdicts[0]
    ours = replace(one, tasks={n: replace(t, score=None, status="grader-error") for n, t in one.tasks.items()})
    summary = summarize(sample.assignment, [one, ours])
    for task in summary.tasks:
        assert (task.mean, task.students["to be graded by hand"]) == (one.tasks[task.task].score, 1)


@pytest.mark.parametrize("number", [0, 1, 24, 1000])
def test_the_picture_is_drawn_for_a_class_of_any_size(
    sample: GradedClass, verdicts: list[Verdict], course: Course, number: int
) -> None:
    class_of = made_up(verdicts, sample, number) or [v for v in verdicts if not v.score][:1]
    path = draw(course, summarize(sample.assignment, class_of))
    assert path == picture_path(course, ASSIGNMENT)
    image = matplotlib.image.imread(path)
    height, width, _ = image.shape
    assert width == 1654  # A4 at 200 dots an inch
    assert 0.5 < height / width < 1.6
    assert image[..., :3].min() < 0.2
    assert (image[:, -30:, :3] == 1).all(), "something runs out of the page"
    assert (image[:, :30, :3] == 1).all()


def test_a_line_of_bars() -> None:
    assert bars([0, 0]) == "  "
    assert bars([0, 1, 1000]) == " ▁█"
    assert bars([8, 4, 0]) == "█▄ "


def printed(width: int = 80) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=False), text


def test_the_tables_name_the_mistakes_and_the_picture(sample: GradedClass) -> None:
    console, text = printed(300)
    print_graded(console, sample.graded)
    (summary,) = sample.graded.summaries
    for mistake in summary.mistakes[:10]:
        assert mistake.sentence in text.getvalue()
    assert str(sample.graded.pictures[0]) in text.getvalue()
    assert sample.graded.pictures[0].is_file()
    assert "scaled_dot_product_attention" in text.getvalue()


def test_a_sentence_in_brackets_is_printed_as_it_is(sample: GradedClass) -> None:
    console, text = printed()
    (summary,) = sample.graded.summaries
    odd = replace(summary.mistakes[0], sentence="Use [bold]x[-1][/bold].")
    print_mistakes(console, replace(summary, mistakes=(odd,)))
    assert "[bold]x[-1][/bold]" in text.getvalue()


def test_changes_are_listed_with_what_stays() -> None:
    console, text = printed()
    print_changes(console, [Change("ann", ASSIGNMENT, "causal_mask", 6, None, 5.5)], dry_run=True)
    row = next(line for line in text.getvalue().splitlines() if "ann" in line).split()
    assert row == ["ann", ASSIGNMENT, "causal_mask", "6", "!", "5.5"]
    console, text = printed()
    print_changes(console, [Change(f"s{i}", ASSIGNMENT, "t", 0, 1) for i in range(200)], dry_run=False)
    assert "and 140 more" in text.getvalue()


def test_a_log_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    console, text = printed()
    with live.live_progress(console) as told:
        told.begin("Grading", 100)
        for i in range(100):
            clock[0] += 1.0
            told.step("ann: something is odd" if i == 7 else "")
    assert text.getvalue().splitlines() == [
        "Grading: 100 submissions ...",
        "  ann: something is odd",
        "Grading: 15 of 100, 60 a minute, 1 min left",
        "Grading: 30 of 100, 60 a minute, 1 min left",
        "Grading: 45 of 100, 60 a minute, less than a minute left",
        "Grading: 60 of 100, 60 a minute, less than a minute left",
        "Grading: 75 of 100, 60 a minute, less than a minute left",
        "Grading: 90 of 100, 60 a minute, less than a minute left",
        "Grading: 100 of 100, 60 a minute",
    ]


def test_a_terminal_gets_a_bar_with_the_rate_and_the_failures() -> None:
    text = io.StringIO()
    console = Console(file=text, width=100, force_terminal=True)
    with live.live_progress(console) as told:
        told.begin("Collecting", 0)
        told.step("")
        told.begin("Grading", 3)
        for line in ("", "bob: the disk is on fire", ""):
            told.step(line)
    assert "bob: the disk is on fire" in text.getvalue()
    assert "a minute" in text.getvalue()
    assert "3/3" in text.getvalue()
    assert "1/1" in text.getvalue(), "a stage that is over is full"
