"""The sandbox as a grader meets it: started as root or not, refused where there is none, clean between notebooks."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT, hand_in
from typer.testing import CliRunner

from autograder import cli
from autograder.checking.client.confine import Limits, can_filter_system_calls
from autograder.course import Course
from autograder.grading import sandbox as sandboxes
from autograder.grading.doctor import examine, is_protected
from autograder.grading.sandbox import NoSandbox, Sandbox, Session, demand_sandbox

sandbox_test = pytest.mark.skipif(os.environ.get("WIC_SKIP_SANDBOX") == "1", reason="there is no sandbox here")
SMALL = Limits(memory=600 << 20, processes=24)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=SMALL) as running:
        yield running


def said(session: Session, code: str) -> str:
    """What a cell prints."""
    texts: list[str] = []
    session.connection.send({"run": code}, timeout=10)
    session.connection.receive_reply(30, lambda output: texts.append(str(output.get("text", output.get("evalue")))))
    return "".join(texts).strip()


@sandbox_test
def test_a_notebook_finds_its_packages_and_none_of_ours(sandbox: Sandbox) -> None:
    with sandbox.open() as session:
        code = "import torch, numpy, matplotlib, tqdm, IPython\nprint(torch.__version__)"
        assert said(session, code) == torch.__version__
        for name in ("autograder.reference", "autograder.tasks.attention", "autograder.grading", "nbgrader", "pytest"):
            assert "No module named" in said(session, f"import {name}"), name
        assert said(session, "from autograder import check; check('causal_mask')").startswith("Checks are made by")


@sandbox_test
def test_a_notebook_reads_the_digits_and_cannot_import_the_package_that_carries_them(sandbox: Sandbox) -> None:
    with sandbox.open() as session:
        assert said(session, "from autograder.data import load\nprint(load('digits').images.shape)") == "(1797, 8, 8)"
        assert "No module named" in said(session, "import sklearn.linear_model")


@sandbox_test
def test_what_a_notebook_leaves_is_gone_for_the_next(sandbox: Sandbox) -> None:
    leave = "import os\nopen('/tmp/left', 'w').write('x'); open('/dev/shm/left', 'w').write('x')\n"
    daemon = "if os.fork() == 0:\n    os.setsid()\n    while True: pass"
    with sandbox.open() as session:
        said(session, leave + daemon)
        assert said(session, "print(len([p for p in os.listdir('/proc') if p.isdecimal()]))") == "2"
    with sandbox.open() as session:
        look = "import os\nprint(os.path.exists('/tmp/left'), os.path.exists('/dev/shm/left'))"
        assert said(session, look) == "False False"
        assert said(session, "print([p for p in os.listdir('/proc') if p.isdecimal()])") == "['1']"


@sandbox_test
def test_memory_of_all_processes_together_is_limited(sandbox: Sandbox) -> None:
    """Eight processes of 150 MB each, none of which passes a limit of its own."""
    code = (
        "import os, time\n"
        "for _ in range(8):\n"
        "    if os.fork() == 0:\n"
        "        kept = bytearray(os.urandom(1)) * (150 << 20)\n"
        "        time.sleep(20); os._exit(0)\n"
        "time.sleep(20)"
    )
    with sandbox.open() as session:
        with pytest.raises(EOFError):
            said(session, code)
        assert session.ran_out_of_memory()
    with sandbox.open() as session:
        assert said(session, "print(1)") == "1"


@sandbox_test
def test_a_child_that_cannot_be_shut_in_runs_nothing() -> None:
    impossible = Limits(scratch_bytes=-1)
    with (
        Sandbox(limits=impossible) as running,
        pytest.raises(sandboxes.SandboxError, match=r"could not be shut in: OSError.*mount"),
    ):
        running.open()


@sandbox_test
@pytest.mark.skipif(os.geteuid() != 0 if hasattr(os, "geteuid") else True, reason="only root can become somebody else")
def test_an_ordinary_user_can_grade_as_well(tmp_path: Path) -> None:
    """By the system's own Python, which an ordinary user can reach, with this environment's packages."""
    python = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    site = Path(torch.__file__).parent.parent
    readable = subprocess.run(["setpriv", "--reuid=4321", "--clear-groups", "--regid=4321", "test", "-r", str(site)])
    if not Path(python).exists() or readable.returncode:
        pytest.skip("there is no Python here that an ordinary user can reach")
    package = shutil.copytree(ROOT / "autograder", tmp_path / "autograder")
    for folder in [*tmp_path.parents[:3], tmp_path, package]:
        folder.chmod(0o755)
    look = "open('/proc/self/uid_map').read().split()[1]"
    code = (
        "from autograder.grading.sandbox import Sandbox, demand_sandbox\n"
        "demand_sandbox()\n"
        "with Sandbox() as sandbox, sandbox.open() as session:\n"
        f"    session.connection.send({{'run': \"print({look})\"}})\n"
        "    session.connection.receive_reply(30, lambda output: print(output['text'], end=''))\n"
    )
    environment = {"PATH": os.defpath, "PYTHONPATH": f"{tmp_path}:{site}", "PYTHONDONTWRITEBYTECODE": "1"}
    drop = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"]
    ran = subprocess.run([*drop, python, "-c", code], env=environment, cwd="/", capture_output=True, text=True)
    assert ran.stdout.strip() == "4321", ran.stderr


@sandbox_test
def test_the_doctor_finds_this_machine_safe(course: Course) -> None:
    findings = examine(course)
    assert is_protected(findings), findings
    names = {finding.name for finding in findings if finding.ok}
    assert {"network", "files", "writing", "processes", "rights"} <= names
    assert ("system calls" in names) == can_filter_system_calls()


def test_without_bubblewrap_grading_refuses_in_one_sentence(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_in(course, "ann", course.assignment("06-attention").release)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(sandboxes.UNSAFE, raising=False)
    with pytest.raises(NoSandbox, match=r"There is no sandbox .*--unsafe"):
        demand_sandbox()
    environment = {**os.environ, "PATH": "/nowhere"}
    command = [str(Path(sys.executable).parent / "autograder"), "grade", "--course", str(course.root)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert not course.verdicts_directory.exists()


def test_the_doctor_says_what_is_missing(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv(sandboxes.UNSAFE, raising=False)
    told = CliRunner().invoke(cli.app, ["doctor", "--course", str(course.root), "--json"])
    report = json.loads(told.stdout)
    assert (told.exit_code, report["protected"]) == (1, False)
    assert "apt-get install bubblewrap" in next(f["text"] for f in report["findings"] if f["name"] == "bubblewrap")


def test_unsafe_runs_without_a_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv(sandboxes.UNSAFE, "1")
    demand_sandbox()
    with Sandbox(confined=False) as running, running.open() as session:
        assert said(session, "print(1 + 1)") == "2"
        assert "No module named" in said(session, "import autograder.tasks")
