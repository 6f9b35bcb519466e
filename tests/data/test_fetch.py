"""Downloads, against a server on this machine: whole, cut off, altered, resumed."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from privlab import cli, data
from privlab.data import fetch
from privlab.data.catalogue import File

CONTENT = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    cut_after: int | None = None
    ranges = True
    gate: threading.Event  # what is left after the first half comes when it is set
    content = CONTENT
    asked: list


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range", "bytes=0-")
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if server.ranges else 0
        server.asked.append(start)
        if start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut_after is not None:
            self.wfile.write(body[: server.cut_after])
            self.wfile.flush()
            self.connection.close()
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        server.gate.wait(60)
        with contextlib.suppress(OSError):  # who asked may be gone
            self.wfile.write(body[half:])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked, running.gate = [], threading.Event()
        running.gate.set()
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.gate.set()
        running.shutdown()


@pytest.fixture
def file(server):
    return File(
        "set/file.bin",
        f"http://127.0.0.1:{server.server_address[1]}/file.bin",
        f"md5:{hashlib.md5(CONTENT).hexdigest()}",
        1.0,
    )


def test_a_whole_download_is_checked_and_cached(server, file):
    found = fetch.download(file, progress=False)
    assert found.path == fetch.cache_folder() / "set/file.bin"
    assert found.path.read_bytes() == CONTENT
    assert found.source == "publisher"
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    fetch.download(file, progress=False)
    assert server.asked == [0]  # the second call asked nobody


def test_a_cut_off_download_keeps_what_came_and_goes_on_there(server, file):
    server.cut_after = 300_000
    with pytest.raises(OSError, match=r".+"):
        fetch.download(file, progress=False)
    part = fetch.cache_folder() / "set/file.bin.part"
    came = part.stat().st_size
    assert 0 < came <= 300_000
    assert part.read_bytes() == CONTENT[:came]
    server.cut_after = None
    assert fetch.download(file, progress=False).path.read_bytes() == CONTENT
    assert server.asked == [0, came]
    assert not part.exists()


def test_a_complete_part_is_taken_without_asking_for_more(server, file):
    part = fetch.cache_folder() / "set/file.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    assert fetch.download(file, progress=False).path.read_bytes() == CONTENT


def test_a_server_that_cannot_resume_sends_the_whole_again(server, file):
    server.ranges = False
    part = fetch.cache_folder() / "set/file.bin.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else")
    assert fetch.download(file, progress=False).path.read_bytes() == CONTENT


def test_an_altered_download_is_refused_with_both_checksums_and_not_kept(server, file):
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(ValueError, match=hashlib.md5(CONTENT).hexdigest()) as error:
        fetch.download(file, progress=False)
    assert hashlib.md5(server.content).hexdigest() in str(error.value)
    assert [path.name for path in (fetch.cache_folder() / "set").iterdir()] in ([], ["file.bin.lock"])
    server.content = CONTENT
    assert fetch.download(file, progress=False).path.read_bytes() == CONTENT


def test_an_address_that_does_not_answer_is_an_error_that_names_the_stand_in(monkeypatch):

    def unreachable(*_arguments, **_options):
        raise ConnectionError("no route")

    monkeypatch.setattr(fetch, "download", unreachable)
    with pytest.raises(FileNotFoundError, match=r"ConnectionError: no route.*'patches' can stand in"):
        data.load("cifar10")


def test_the_progress_bar_counts_bytes(server, file, capsys):
    fetch.download(file, progress=True)
    assert "1.02M/1.02M" in capsys.readouterr().err


def test_an_overlong_part_is_thrown_away_and_the_whole_fetched(server, file):
    for kept in (CONTENT + b"more", b"wrong" + CONTENT[5:9000]):
        part = fetch.cache_folder() / "set/file.bin.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(kept)
        found = fetch.download(file, progress=False)
        assert found.path.read_bytes() == CONTENT
        found.path.unlink()
        assert not part.exists()


@pytest.mark.parametrize("sent", [CONTENT + b"more", CONTENT[:-9], b"<html>log in</html>"])
def test_what_is_longer_shorter_or_something_else_is_never_taken_for_the_publishers(server, file, sent):
    server.content = sent
    with pytest.raises(ValueError, match=f"^{file.url} sent another file than the publisher's, which was not kept"):
        fetch.download(file, progress=False)
    assert not (fetch.cache_folder() / "set/file.bin").exists()


def test_a_file_of_the_cache_that_is_not_the_publishers_is_not_taken_either(server, file):
    path = fetch.cache_folder() / "set/file.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT + b"more")
    with pytest.raises(ValueError, match="delete it and fetch it again"):
        fetch.download(file, progress=False)
    assert server.asked == []


PROGRAM = """
import sys
from privlab.data import fetch
from privlab.data.catalogue import File
print(fetch.download(File("set/file.bin", sys.argv[1], sys.argv[2], 1.0)).path)
"""


def downloading(file, said):
    """A process of its own that downloads, and says so in a file."""
    command = [sys.executable, "-c", PROGRAM, file.url, file.checksum]
    with said.open("w") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=stream)


def _until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("that did not come to pass in a minute")


def test_of_two_processes_one_downloads_and_the_other_waits(server, file, tmp_path):
    server.gate.clear()
    said = [tmp_path / "one.txt", tmp_path / "two.txt"]
    processes = [downloading(file, place) for place in said]
    _until(lambda: sum("another process is downloading it; waiting" in place.read_text() for place in said) == 1)
    server.gate.set()
    assert [process.wait(60) for process in processes] == [0, 0], [place.read_text() for place in said]
    assert server.asked == [0]
    target = fetch.cache_folder() / "set/file.bin"
    assert target.read_bytes() == CONTENT
    assert all(str(target) in place.read_text() for place in said)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_download_that_was_stopped_or_killed_leaves_nothing_broken(server, file, end, tmp_path):
    server.gate.clear()
    part = fetch.cache_folder() / "set/file.bin.part"
    process = downloading(file, tmp_path / "said.txt")
    _until(lambda: part.exists() and part.stat().st_size)
    process.send_signal(end)
    assert process.wait(60) != 0
    assert not (fetch.cache_folder() / "set/file.bin").exists()
    server.gate.set()
    assert fetch.download(file, progress=False).path.read_bytes() == CONTENT
    assert len(server.asked) == 2
    assert server.asked[1] > 0  # it went on where it was


@pytest.fixture
def known(file, monkeypatch):
    """The catalogue's MNIST, of one file, at this machine's server."""
    entry = dataclasses.replace(data.CATALOGUE["mnist"], files=(file,))
    monkeypatch.setitem(data.CATALOGUE, "mnist", entry)
    return entry


def test_fetching_ahead_says_where_the_files_are_and_does_nothing_twice(server, known, capsys):
    path = fetch.cache_folder() / "set/file.bin"
    assert cli.main(["data", "fetch", "mnist", "digits"]) == 0
    said = capsys.readouterr()
    assert f"mnist: fetched, 1.0 MB\n  {path}\ndigits: embedded, nothing to fetch\n" == said.out
    assert "1.02M/1.02M" in said.err
    assert data.prefetch("mnist") == ([path], True)
    assert cli.main(["data", "fetch", "--json", "mnist"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "mnist",
        "files": [str(path)],
        "megabytes": len(CONTENT) / 1e6,
        "was_here": True,
    }
    assert server.asked == [0]


def test_fetching_ahead_tells_a_typing_mistake_first_and_offline_the_address(server, known, capsys):
    assert cli.main(["data", "fetch", "mnist", "Cifar-10"]) == 2
    assert "did you mean 'cifar10'" in capsys.readouterr().err
    assert server.asked == []
    server.shutdown()
    server.server_close()
    assert cli.main(["data", "fetch", "mnist"]) == 2
    error = capsys.readouterr().err
    assert f"then at {known.files[0].url} (ConnectionError: " in error
    assert "'digits' can stand in" in error
    with pytest.raises(FileNotFoundError, match="not downloaded yet: `privlab data fetch mnist` does"):
        data.load("mnist", download=False)
    assert cli.main(["data", "fetch", "photos"]) == 2
    assert "it has no address to download from" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_told(file, monkeypatch, tmp_path, known):
    (tmp_path / "taken").write_text("a file where a folder should be")
    monkeypatch.setenv("PRIVLAB_CACHE", str(tmp_path / "taken"))
    with pytest.raises(FileNotFoundError, match=r"mnist is not here: .*taken"):
        data.load("mnist")


def test_the_cache_may_be_in_the_home_folder(monkeypatch):
    monkeypatch.setenv("PRIVLAB_CACHE", "~/somewhere")
    assert fetch.cache_folder().is_absolute()
