"""Downloads, against a server on this machine: whole, cut off, altered, resumed."""

import hashlib
import http.server
import threading

import pytest

from privlab.data import fetch
from privlab.data.catalogue import File

CONTENT = bytes(range(256)) * 4000


class Server(http.server.ThreadingHTTPServer):
    cut_after: int | None = None
    ranges = True
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
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
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
    from privlab import data

    def unreachable(*_arguments, **_options):
        raise ConnectionError("no route")

    monkeypatch.setattr(fetch, "download", unreachable)
    with pytest.raises(FileNotFoundError, match=r"ConnectionError: no route.*'patches' can stand in"):
        data.load("cifar10")


def test_the_progress_bar_counts_bytes(server, file, capsys):
    fetch.download(file, progress=True)
    assert "1.02M/1.02M" in capsys.readouterr().err
