"""The sample class: known mistakes get known points, and nobody is talked round."""

import html
import re

import nbformat
from conftest import GradedClass

from autograder.checking.tasks import tasks_of
from autograder.grading.explain import explain
from autograder.grading.grade import grade
from autograder.grading.gradebook import open_gradebook

NEEDS = {"multi_head_attention": {"scaled_dot_product_attention", "split_heads", "merge_heads"}}
"""Tasks whose answers call the student's own answers to other tasks."""


def test_there_are_24_students_and_every_one_has_a_report(sample: GradedClass) -> None:
    assert len(sample.students) == len(sample.graded.reports) == 24
    assert sample.graded.complete
    assert sample.graded.warnings == []
    kinds = [s.kind for s in sample.students]
    assert (kinds.count("perfect"), kinds.count("empty"), kinds.count("damaged")) == (3, 2, 3)


def test_every_task_of_every_student_got_what_it_deserves(sample: GradedClass) -> None:
    tasks = tasks_of(sample.assignment)
    for student in sample.students:
        if student.name == "samir":
            continue
        report = sample.report(student.name)["tasks"]
        for name, task in tasks.items():
            got = report[name]
            wrong_before = NEEDS.get(name, set()) & {*student.mistakes, *student.unanswered}
            if name in student.unanswered:
                assert got["score"] == 0, (student.name, name)
            elif name in student.mistakes:
                assert got["score"] < got["max_score"], (student.name, name)
                if not wrong_before:
                    sentence = next(m.sentence for m in task.misconceptions if m.name == student.mistakes[name])
                    assert sentence in got["message"], (student.name, name)
            elif not wrong_before:
                assert got["score"] == got["max_score"], (student.name, name, got["message"])
        assert report["permutation_why"]["status"] == "manual"
        assert report["permutation_why"]["score"] is None


def test_damaged_notebooks_are_mended_and_the_mends_are_told(sample: GradedClass) -> None:
    damaged = [s for s in sample.students if s.kind == "damaged"]
    told = {s.name: " ".join(sample.report(s.name)["repairs"]) for s in damaged}
    assert "more than once" in told["quinn"] or "second copy" in told["quinn"]
    assert "byte order mark" in told["rosa"]
    assert "renamed to attention.ipynb" in told["rosa"]
    assert "cannot be read: the file is cut off" in told["samir"]
    assert sample.report("samir")["score"] == 0
    assert {t["status"] for t in sample.report("samir")["tasks"].values()} == {"missing", "manual"}


def test_what_arrived_is_kept_byte_for_byte(sample: GradedClass) -> None:
    for student in sample.students:
        for name, data in student.files.items():
            assert (sample.course.received_directory / student.name / "06-attention" / name).read_bytes() == data


def test_the_gradebook_has_the_same_points(sample: GradedClass) -> None:
    with open_gradebook(sample.course) as gradebook:
        for report in sample.graded.reports:
            notebook = gradebook.find_submission_notebook("attention", "06-attention", report["student"])
            entered = {grade.name: grade for grade in notebook.grades}
            for name, task in report["tasks"].items():
                if task["status"] != "manual":
                    assert entered[name].auto_score == task["score"], (report["student"], name)
                    assert not entered[name].needs_manual_grade
            answered = report["student"] not in ("carla", "chen", "tara", "uri", "samir")
            if answered and report["student"] in [s.name for s in sample.students if s.kind == "perfect"]:
                assert entered["permutation_why"].needs_manual_grade


def test_feedback_pages_say_what_was_wrong_and_show_no_expected_value(sample: GradedClass) -> None:
    tasks = tasks_of(sample.assignment)
    for student in sample.students:
        page = sample.course.feedback_directory / student.name / "06-attention" / "attention.html"
        text = page.read_text()
        assert "expected" not in re.sub(r"(?s)<style.*?</style>", "", text).lower().replace("unexpected", "")
        for name, mistake in student.mistakes.items():
            sentence = next(m.sentence for m in tasks[name].misconceptions if m.name == mistake)
            if sentence in sample.report(student.name)["tasks"][name]["message"]:
                plain = html.unescape(re.sub(r"<[^>]+>", "", text))
                assert sentence.split(".")[0].replace("`", "") in plain, (student.name, name)


def test_feedback_pages_ask_no_other_host(sample: GradedClass) -> None:
    for page in sample.course.feedback_directory.glob("*/*/*.html"):
        loads = re.findall(r"""(?:src|href)\s*=\s*["'](https?:)?//[^"']*["'][^>]*>""", page.read_text())
        scripts = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"'](?:https?:)?//", page.read_text())
        assert scripts == [], (page, loads)


def test_a_second_run_makes_nothing_anew(sample: GradedClass) -> None:
    before = {p: p.stat().st_mtime_ns for p in sample.course.verdicts_directory.rglob("*.json")}
    again = grade(sample.course, [sample.assignment])
    assert [r["score"] for r in again.reports] == [r["score"] for r in sample.graded.reports]
    assert {p: p.stat().st_mtime_ns for p in sample.course.verdicts_directory.rglob("*.json")} == before


def test_a_verdict_is_replayed_to_the_same_points(sample: GradedClass) -> None:
    student = next(s for s in sample.students if s.kind == "some mistakes")
    told = explain(sample.course, student.name, next(iter(student.mistakes)))
    assert told["agrees"]
    assert any(case["detail"] for case in told["replayed"]["cases"])
    assert not any(case["detail"] for case in told["kept"]["cases"])


def test_the_seed_is_secret_and_stays(sample: GradedClass) -> None:
    path = sample.course.root / ".secret_seed"
    assert len(path.read_bytes()) == 32
    assert path.stat().st_mode & 0o077 == 0


def test_nothing_of_the_solution_is_in_the_release(sample: GradedClass) -> None:
    released = nbformat.writes(sample.assignment.release)
    for mark in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN", "MARK SCHEME"):
        assert mark not in released
    for cell in sample.assignment.solution.cells:
        if "### BEGIN SOLUTION" in cell.source:
            body = cell.source.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
            for line in body.strip().splitlines():
                assert line.strip() not in released or len(line.strip()) < 25, line
