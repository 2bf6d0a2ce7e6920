"""The races of the reference models, at sizes so small that only their shape can be tested."""

import math
import time

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from autograder.benchmarks import bert, gpt
from autograder.benchmarks.bert import Race
from autograder.benchmarks.interleaved import demand_same_work, interleaved, lower_bound
from autograder.benchmarks.models import KINDS, races
from autograder.cli import app
from autograder.tables import print_races

SPREAD = {"median", "min", "max"}


def test_who_goes_first_changes_and_the_ratio_is_theirs_by_ours() -> None:
    order = []

    def ours() -> None:
        order.append("ours")
        time.sleep(0.01)

    def theirs() -> None:
        order.append("theirs")
        time.sleep(0.03)

    found = interleaved(ours, theirs, 5, seconds=0.015)
    assert order == ["ours", "theirs"] + ["ours", "theirs", "theirs", "ours"] * 5
    assert set(found["our_seconds"]) == set(found["their_seconds"]) == SPREAD
    assert 2 < found["ratio"]["median"] < 3.5
    assert found["ratio"]["min"] <= found["ratio"]["lower_bound"] <= found["ratio"]["median"]
    with pytest.raises(ValueError, match="must be at least 1"):
        interleaved(ours, theirs, 0)


def test_the_lower_bound_is_wide_where_the_values_are() -> None:
    assert lower_bound([1.0] * 9) == 1.0
    assert 0.5 < lower_bound([0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.5, 1.5]) <= 1.0
    assert lower_bound([0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]) == 0.5


@pytest.mark.parametrize("difference", [1e-3, math.inf, math.nan])
def test_different_work_is_not_timed(difference: float) -> None:
    with pytest.raises(RuntimeError, match="BERT at d = 5: the results differ by"):
        demand_same_work("BERT at d = 5", difference)
    demand_same_work("BERT at d = 5", 1e-5)


def test_each_race_says_what_was_raced_and_how_it_went() -> None:
    sizes = [Race(32, 12, 2, mode) for mode in ("plain", "padded", "dropout")]
    found = [*bert.races(1, sizes), *gpt.races(1, [(64, 8, 2)])]
    assert [(race["model"], race["mode"]) for race in found] == [
        ("BERT", "training, plain"),
        ("BERT", "training, padded"),
        ("BERT", "training, dropout"),
        ("GPT-2", "training"),
        ("GPT-2", "generation"),
        ("Llama", "training"),
        ("Llama", "generation"),
    ]
    for race in found:
        assert {"d_model", "T", "B", "our_seconds", "their_seconds", "ratio"} <= race.keys()
        assert race["difference"] < 1e-4
    with Console(record=True, width=120) as out:
        print_races(out, found)
    assert out.export_text().count("training") == 5


def test_races_run_on_one_thread_and_leave_the_number_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "gpt", lambda rounds: iter([{"model": str(torch.get_num_threads()), "rounds": rounds}]))
    before = torch.get_num_threads()
    assert list(races(["gpt"], 7)) == [{"kind": "gpt", "model": "1", "rounds": 7}]
    assert torch.get_num_threads() == before


def test_races_that_are_not_there_are_named() -> None:
    done = CliRunner().invoke(app, ["bench", "models", "bart"])
    assert done.exit_code == 2
    assert "There are no races of bart; there are bert, gpt, word-vectors, tokenizers." in " ".join(done.output.split())
