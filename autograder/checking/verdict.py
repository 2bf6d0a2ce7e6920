"""The record of what a submission got and why: what is kept as JSON and shown as cards and feedback."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Status = Literal["passed", "partial", "failed", "error", "timeout", "missing", "manual", "grader-error"]
STATUSES: tuple[Status, ...] = get_args(Status)
UNSETTLED: frozenset[Status] = frozenset({"timeout", "grader-error"})
"""What hangs on the machine and not on the answer: such a verdict is not final, the next run tries again."""


@dataclass(frozen=True)
class CaseVerdict:
    """What became of one comparison inside a task.

    Attributes:
        message: what is wrong, in the learner's terms; empty if it passed. Never shows an expected value.
        misconception: name of the known wrong answer that this one equals, if any.
        sentence: what is said about that, which ``message`` holds too.
        detail: what was got and what was expected; only ever filled at home.
        measured: the number that was made of the answer, where one was; such as a perplexity.
    """

    name: str
    passed: bool
    weight: float
    message: str = ""
    misconception: str | None = None
    sentence: str = ""
    detail: str = ""
    measured: float | None = None


@dataclass(frozen=True)
class TaskVerdict:
    """What a submission got for one task.

    Attributes:
        score: points, or None where a person must grade (``manual``, ``grader-error``).
        message: the sentence or two that a good teacher would say; empty if all is well.
        carried: the earlier tasks that lost points too and with whose worked answers this one was graded again, for
            better points: a mistake costs its points once.
    """

    task: str
    score: float | None
    max_score: float
    status: Status
    message: str = ""
    seconds: float = 0.0
    cases: tuple[CaseVerdict, ...] = ()
    carried: tuple[str, ...] = ()

    @staticmethod
    def from_json(record: dict[str, Any]) -> "TaskVerdict":
        cases = tuple(CaseVerdict(**case) for case in record["cases"])
        return TaskVerdict(**{**record, "cases": cases, "carried": tuple(record["carried"])})


@dataclass(frozen=True)
class Verdict:
    """What one submission got.

    Attributes:
        outputs: what each cell of the notebook that was run put out, as nbformat outputs, by the cell's position.
        notes: lines for the instructor: a process that died, a cell that was cut off.
    """

    assignment: str
    tasks: dict[str, TaskVerdict]
    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def score(self) -> float:
        """Automatic points."""
        return round(sum(t.score for t in self.tasks.values() if t.score is not None and t.status != "manual"), 6)

    @property
    def max_score(self) -> float:
        """Automatic points to be had; written answers count in :attr:`manual_max_score`."""
        return sum(t.max_score for t in self.tasks.values() if t.status != "manual")

    @property
    def manual_max_score(self) -> float:
        return sum(t.max_score for t in self.tasks.values() if t.status == "manual")

    @property
    def is_final(self) -> bool:
        return not any(task.status in UNSETTLED for task in self.tasks.values())

    def to_json(self) -> dict[str, Any]:
        """Everything, as it is kept."""
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> "Verdict":
        return Verdict(
            record["assignment"],
            {name: TaskVerdict.from_json(task) for name, task in record["tasks"].items()},
            {int(index): outputs for index, outputs in record["outputs"].items()},
            tuple(record["notes"]),
        )

    def report(self, student: str | None, repairs: list[str]) -> dict[str, Any]:
        """The submission as ``--json`` reports it (the contract of ``autograder grade`` and ``check``)."""
        return {
            "student": student,
            "assignment": self.assignment,
            "score": self.score,
            "max_score": self.max_score,
            "manual_max_score": self.manual_max_score,
            "repairs": repairs,
            "notes": list(self.notes),
            "tasks": {
                name: {
                    "score": task.score,
                    "max_score": task.max_score,
                    "status": task.status,
                    "message": task.message,
                    "carried": list(task.carried),
                    "seconds": round(task.seconds, 3),
                }
                for name, task in self.tasks.items()
            },
        }
