"""What to tell a student beside the score: the messages of the verdict that is kept, and what a person wrote."""

from autograder.course import Course
from autograder.grading.export.scores import Result
from autograder.grading.export.tables import number


def kept_messages(course: Course, result: Result) -> dict[str, str]:
    """The message on each task, where there is one."""
    from autograder.grading.store import latest_verdict  # which takes torch; scores alone come at once

    if not result.handed_in:
        return {}
    verdict = latest_verdict(course, result.student.id, result.assignment)
    tasks = verdict.tasks if verdict is not None else {}
    return {name: readable(task.message) for name, task in tasks.items() if task.message}


def feedback_lines(course: Course, result: Result) -> list[str]:
    """Feedback on a submission, a line for each task and each comment."""
    messages = kept_messages(course, result)
    lines = []
    for task in result.tasks:
        points = "still to be graded" if task.needs_manual else f"{number(task.score)}/{number(task.max_score)}"
        lines.append(f"{task.name}: {points}. {messages.get(task.name, '')}".rstrip())
    lines += [f"Comment on {name}: {readable(text)}" for name, text in result.comments.items()]
    if result.late_penalty:
        lines.append(f"Late: {number(result.late_penalty)} points taken off.")
    return lines


def readable(text: str) -> str:
    """Text that every encoding of Unicode can carry."""
    return text.encode("utf-8", "replace").decode("utf-8")
