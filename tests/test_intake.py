"""From what arrives to what can be graded."""

import io
import json
import zipfile
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import nbformat
import pytest
from conftest import hand_in
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder.course import Assignment, Course, nbgrader_metadata, read_notebook
from autograder.grading.demo import sample_class
from autograder.grading.grade import grade
from autograder.grading.intake import Submission, collect
from autograder.grading.mend import mend
from autograder.grading.reading import MAX_CELLS, Unreadable

Cells = list[dict[str, Any]]


def content_of(assignment: Assignment) -> dict[str, Any]:
    """The released notebook as JSON, its first task answered."""
    content = json.loads(nbformat.writes(assignment.release))
    answer = content["cells"][position(content["cells"], "additive_scores_answer")]
    answer["source"] = "class AdditiveAttention(nn.Module):\n    mine = 'mine'\n"
    return content


def position(cells: Cells, grade_id: str) -> int:
    return next(i for i, c in enumerate(cells) if c["metadata"].get("nbgrader", {}).get("grade_id") == grade_id)


def collect_one(course: Course, assignment: Assignment) -> Submission:
    (submission,) = collect(course, [assignment]).submissions
    return submission


def strip_all(cells: Cells) -> None:
    for cell in cells:
        cell["metadata"] = {}
        del cell["id"]


def duplicate_answer(cells: Cells) -> None:
    i = position(cells, "additive_scores_answer")
    cells.insert(i + 1, {**deepcopy(cells[i]), "id": "copy"})


def duplicate_check(cells: Cells) -> None:
    i = position(cells, "additive_scores")
    cells.insert(i + 1, {**deepcopy(cells[i]), "id": "copy"})


def delete(grade_id: str) -> Callable[[Cells], None]:
    def change(cells: Cells) -> None:
        del cells[position(cells, grade_id)]

    return change


def swap(cells: Cells) -> None:
    i, j = position(cells, "additive_scores"), position(cells, "padding_mask")
    cells[i], cells[j] = cells[j], cells[i]


def rewrite_check(cells: Cells) -> None:
    cells[position(cells, "additive_scores")]["source"] = "pass"


def huge_output(cells: Cells) -> None:
    i = position(cells, "additive_scores_answer")
    cells[i]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 20_000_000}]


DAMAGE: dict[str, tuple[Callable[[Cells], None], str]] = {
    "metadata": (strip_all, "Cells had lost nbgrader's metadata"),
    "answer twice": (duplicate_answer, "answer cell additive_scores_answer was there more than once"),
    "check twice": (duplicate_check, "A second copy of the check cell additive_scores was taken away"),
    "check gone": (delete("additive_scores"), "check cells were missing and were put back: additive_scores."),
    "answer gone": (
        delete("padding_mask_answer"),
        "Answer cells were missing and were put back unanswered: padding_mask_answer",
    ),
    "order": (swap, "Cells had changed places"),
    "check rewritten": (rewrite_check, "The check cell additive_scores was changed; its text was restored"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_mended_and_said(assignment: Assignment, name: str) -> None:
    content = content_of(assignment)
    damage, told = DAMAGE[name]
    damage(content["cells"])
    mended = mend(json.dumps(content).encode(), assignment)
    assert any(told in repair for repair in mended.repairs), mended.repairs
    ours = [c for c in mended.notebook.cells if nbgrader_metadata(c)]
    released = [c for c in assignment.release.cells if nbgrader_metadata(c)]
    assert [c.metadata.nbgrader for c in ours] == [c.metadata.nbgrader for c in released]
    for made, wanted in zip(ours, released, strict=True):
        if nbgrader_metadata(wanted).get("locked"):
            assert made.source == wanted.source
    (answer,) = [c for c in ours if nbgrader_metadata(c)["grade_id"] == "additive_scores_answer"]
    assert "'mine'" in answer.source
    assert nbformat.validate(mended.notebook) is None


def test_an_undamaged_notebook_needs_no_repair(assignment: Assignment) -> None:
    assert mend(json.dumps(content_of(assignment)).encode(), assignment).repairs == []


def test_outputs_are_dropped(assignment: Assignment) -> None:
    content = content_of(assignment)
    huge_output(content["cells"])
    mended = mend(json.dumps(content).encode(), assignment)
    assert len(nbformat.writes(mended.notebook)) < 1_000_000


@pytest.mark.parametrize("minor", [0, 4])
def test_an_older_format_is_brought_up_to_date(assignment: Assignment, minor: int) -> None:
    content = content_of(assignment)
    for cell in content["cells"]:
        del cell["id"]
    content["nbformat_minor"] = minor
    mended = mend(json.dumps(content).encode(), assignment)
    assert "brought up to date" in mended.repairs[0]


def test_format_3_is_read(assignment: Assignment) -> None:
    old = nbformat.convert(nbformat.reads(json.dumps(content_of(assignment)), as_version=4), 3)
    mended = mend(json.dumps(old).encode(), assignment)
    assert any("'mine'" in c.source for c in mended.notebook.cells if nbgrader_metadata(c).get("solution"))


def test_marks_of_other_systems_are_taken_away(assignment: Assignment) -> None:
    content = content_of(assignment)
    content["metadata"]["kernelspec"] = {"name": "conda-env-mine", "display_name": "Mine", "language": "python"}
    data = b"\xef\xbb\xbf" + json.dumps(content, indent=1).replace("\n", "\r\n").encode()
    mended = mend(data, assignment)
    assert len(mended.repairs) == 2
    assert mended.notebook.metadata.kernelspec == assignment.release.metadata.kernelspec


UNREADABLE = {
    "empty": b"",
    "cut off": b'{"cells": [{"cell_type": "code", "sou',
    "web page": b"<!DOCTYPE html><html></html>",
    "a list": b"[1, 2]",
    "no cells": b'{"nbformat": 4}',
    "too many": json.dumps({"cells": [{}] * (MAX_CELLS + 1)}).encode(),
    "too deep": b"[" * 1_000_000,
    "binary": bytes(range(256)) * 10,
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_notebook_is_refused_in_a_sentence(assignment: Assignment, name: str) -> None:
    with pytest.raises(Unreadable):
        mend(UNREADABLE[name], assignment)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("cell_type", "id", "metadata", "source", "outputs", "attachments", "input", "execution_count")
cells = values | st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, values))


@settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(odd=st.lists(cells, max_size=4), metadata=values, nbgrader=values, deep=st.integers(0, 900))
def test_no_notebook_is_odd_enough_to_stop_the_intake(
    assignment: Assignment, odd: list[Any], metadata: Any, nbgrader: Any, deep: int
) -> None:
    content = content_of(assignment)
    nested: Any = 1
    for _ in range(deep):
        nested = [nested]
    content["cells"][8]["metadata"]["nbgrader"] = nbgrader
    content["cells"][5:5] = [
        *odd,
        {"cell_type": "code", "source": "1", "metadata": {"nbgrader": nbgrader, "x": nested}},
    ]
    content["metadata"] = metadata
    mended = mend(json.dumps(content).encode(), assignment)
    assert nbformat.validate(nbformat.reads(nbformat.writes(mended.notebook), as_version=4)) is None


def test_what_arrived_is_kept_byte_for_byte(course: Course, assignment: Assignment) -> None:
    path = hand_in(course, "ann", json.dumps(content_of(assignment)).encode() + b"\r\n")
    before = path.read_bytes()
    submission = collect_one(course, assignment)
    assert path.read_bytes() == before
    assert submission.path == course.submitted_directory / "ann" / assignment.name / "attention.ipynb"


def test_collecting_twice_changes_nothing(course: Course, assignment: Assignment) -> None:
    hand_in(course, "ann", json.dumps(content_of(assignment)).encode())
    first = collect_one(course, assignment)
    before = first.path.stat().st_mtime_ns
    assert collect_one(course, assignment) == first
    assert first.path.stat().st_mtime_ns == before


def test_what_is_put_into_submitted_is_kept_and_mended(course: Course, assignment: Assignment) -> None:
    direct = course.submitted_directory / "ann" / assignment.name / "my attention.ipynb"
    direct.parent.mkdir(parents=True)
    content = content_of(assignment)
    strip_all(content["cells"])
    direct.write_text(json.dumps(content))
    submission = collect_one(course, assignment)
    assert (course.received_directory / "ann" / assignment.name / direct.name).read_text() == json.dumps(content)
    assert not direct.exists()
    assert len(submission.repairs) >= 2


def test_a_flat_folder_and_a_zip_of_a_learning_platform_are_taken(course: Course, assignment: Assignment) -> None:
    data = json.dumps(content_of(assignment)).encode()
    course.received_directory.mkdir()
    (course.received_directory / "ann_attention.ipynb").write_bytes(data)
    with zipfile.ZipFile(course.received_directory / "export.zip", "w") as archive:
        archive.writestr("bob_123_attention.ipynb", data)
        archive.writestr("cora_5_assignsubmission_file/attention.ipynb", data)
    found = collect(course, [assignment])
    assert [s.student for s in found.submissions] == ["ann", "bob", "cora"]


def test_a_zip_in_a_students_folder_is_opened(course: Course, assignment: Assignment) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("work/attention.ipynb", json.dumps(content_of(assignment)))
    hand_in(course, "ann", packed.getvalue(), "work.zip")
    assert "came out of the zip file" in collect_one(course, assignment).repairs[0]


def test_a_zip_writes_nothing_outside(course: Course, assignment: Assignment) -> None:
    course.received_directory.mkdir()
    data = json.dumps(content_of(assignment))
    with zipfile.ZipFile(course.received_directory / "evil.zip", "w") as archive:
        archive.writestr(f"../../{assignment.name}/ann.ipynb", data)
        archive.writestr(f"/tmp/{assignment.name}/bob.ipynb", data)
        link = zipfile.ZipInfo(f"{assignment.name}/cora.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    found = collect(course, [assignment])
    assert found.submissions == []
    assert len(found.warnings) == 3


def test_a_damaged_zip_stops_nobody(course: Course, assignment: Assignment) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("attention.ipynb", json.dumps(content_of(assignment)))
    broken = bytearray(packed.getvalue())
    broken[200:260] = bytes(60)
    hand_in(course, "ann", bytes(broken), "work.zip")
    hand_in(course, "bob", json.dumps(content_of(assignment)).encode())
    found = collect(course, [assignment])
    assert [bool(s.problem) for s in found.submissions] == [True, False]


def test_an_unreadable_file_is_kept_and_counts_as_unanswered(course: Course, assignment: Assignment) -> None:
    path = hand_in(course, "ann", b"{")
    submission = collect_one(course, assignment)
    assert "cannot be read" in submission.problem
    assert path.read_bytes() == b"{"
    assert len(read_notebook(submission.path).cells) == len(assignment.release.cells)


def reversed_and_merged(cells: Cells) -> None:
    """All marks gone, answers merged with their checks, and the whole from the end to the beginning."""
    for i in range(len(cells) - 1, 0, -1):
        if cells[i]["source"].startswith("check(") and cells[i - 1]["cell_type"] == "code":
            cells[i - 1]["source"] += "\n\n" + cells.pop(i)["source"]
    strip_all(cells)
    cells.reverse()


def at_the_end(cells: Cells) -> None:
    """All answers in new cells at the end of the notebook, the last first; their own cells are stubs."""
    answers = [c for c in cells if c["metadata"].get("nbgrader", {}).get("solution") and c["cell_type"] == "code"]
    for number, cell in enumerate(reversed(answers)):
        cells.append({**deepcopy(cell), "id": f"mine-{number}", "metadata": {}})
        cell["source"] = "raise NotImplementedError()"


def halved_and_swapped(cells: Cells) -> None:
    """Each answer cut in two in the middle of its body, and with the id and the metadata of the next answer."""
    answers = [c for c in cells if c["metadata"].get("nbgrader", {}).get("solution") and c["cell_type"] == "code"]
    marks = [(c["id"], c["metadata"]) for c in answers]
    for cell, (identity, metadata) in zip(answers, [*marks[1:], marks[0]], strict=True):
        cell.update(id=identity, metadata=metadata)
        lines = cell["source"].splitlines(keepends=True)
        cut = next(i for i in range(len(lines) - 1, 0, -1) if lines[i].startswith("    ") and lines[i].strip())
        cells.insert(cells.index(cell) + 1, {**deepcopy(cell), "id": f"{identity}-2", "source": "".join(lines[cut:])})
        cell["source"] = "".join(lines[:cut])


def one_script(cells: Cells) -> str:
    """The code alone, as a script without marks."""
    return "\n\n\n".join(c["source"] for c in cells if c["cell_type"] == "code" and "check(" not in c["source"])


def unfounded_claims(cells: Cells) -> None:
    """Nothing answered, and metadata that promises points."""
    for cell in cells:
        about = cell["metadata"].setdefault("nbgrader", {})
        about.update(points=1000, grade=True, locked=False, solution=False)
        cell["source"] = cell["source"].replace("check(", "print(")
    cells.append({**deepcopy(cells[-1]), "id": "bonus", "metadata": {"nbgrader": {"grade_id": "bonus", "points": 9}}})


def test_tangled_submissions_get_the_points_of_their_answers(course: Course, assignment: Assignment) -> None:
    """Graded to the end: who answered everything gets everything, however it lies about; a claim gets nothing."""
    perfect = json.loads(next(iter(sample_class(assignment)[0].files.values())))
    for cell in perfect["cells"]:
        cell["source"] = "".join(cell["source"])
    for student, damage in {"ann": reversed_and_merged, "bob": at_the_end, "cora": halved_and_swapped}.items():
        content = deepcopy(perfect)
        damage(content["cells"])
        hand_in(course, student, json.dumps(content).encode("utf-16"))
    hand_in(course, "dan", one_script(perfect["cells"]).encode(), "attention.py")
    claims = json.loads(nbformat.writes(assignment.release, split_lines=False))
    unfounded_claims(claims["cells"])
    hand_in(course, "eve", json.dumps(claims).encode())
    reports = {report["student"]: report for report in grade(course, [assignment]).reports}
    for student in ("ann", "bob", "cora", "dan"):
        report = reports[student]
        assert report["score"] == report["max_score"], (student, report["tasks"], report["repairs"])
    assert reports["eve"]["score"] == 0
    assert "Points or flags" in " ".join(reports["eve"]["repairs"])
