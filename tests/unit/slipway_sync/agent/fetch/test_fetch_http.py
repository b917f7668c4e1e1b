"""The agent and static web servers: what it brings, and what it does not believe."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_stores import ALLOW
from slipway_sync.agent.fetch import transfer
from slipway_sync.exports import ExitCode, revision
from slipway_sync.stores.backends.index_document import parse_index
from small_exports import SHARD_1, contents, tree, write
from static_server import StaticServer, indexed


@pytest.fixture
def server() -> Iterator[StaticServer]:
    with StaticServer(exports()) as it:
        yield it


def exports(**sizes: int) -> dict[str, bytes]:
    return indexed({f"7/{name}": data for name, data in contents(**sizes).items()})


def planned(server: StaticServer) -> str:
    return revision(parse_index(server.files["m/index.json"]).versions["7"])


def agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "slipway_sync.agent", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"},
    )


def fetch(server: StaticServer, volume: Path, *more: str, wanted: str = "") -> tuple[int, Any]:
    done = agent(
        "fetch",
        f"--source={server.url}/m",
        "--directory=7",
        "--version=7",
        f"--revision={wanted or planned(server)}",
        f"--destination={volume}",
        "--tries=2",
        "--first-pause=0.01",
        ALLOW,
        *more,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("ranges", [True, False])
def test_a_version_is_brought_verified(
    server: StaticServer, tmp_path: Path, *, ranges: bool
) -> None:
    server.ranges = ranges
    assert fetch(server, tmp_path)[0] == ExitCode.SYNCED
    assert tree(tmp_path / "7") == contents()
    asked = len(server.asked)
    code, last = fetch(server, tmp_path)
    assert (code, len(server.asked)) == (ExitCode.SYNCED, asked), "nothing is asked twice"
    assert "was already on the volume" in last["message"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_large_file_comes_in_parts_or_in_one_stream(tmp_path: Path, *, ranges: bool) -> None:
    files = exports(size=transfer.PART * 5 // 2)
    with StaticServer(files, ranges=ranges) as server:
        assert fetch(server, tmp_path)[0] == ExitCode.SYNCED
        asked = [
            it.headers.get("range", "")
            for it in server.asked
            if it.path.endswith(SHARD_1) and it.headers.get("range") != "bytes=0-0"
        ]
    assert (tmp_path / "7" / SHARD_1).read_bytes() == files[f"m/7/{SHARD_1}"]
    assert sorted(asked) == (
        ["bytes=0-16777215", "bytes=16777216-33554431", "bytes=33554432-41943039"]
        if ranges
        else [""]
    )


def test_an_altered_file_is_rejected_by_name(server: StaticServer, tmp_path: Path) -> None:
    server.files["m/7/assets/words.txt"] = b"apple\nBANANA\n"
    code, last = fetch(server, tmp_path)
    assert code == ExitCode.REJECTED
    assert (last["reason"], last["object"]) == ("WrongChecksum", "assets/words.txt")
    assert "assets/words.txt does not match the source: its SHA-256 is" in last["message"]
    assert not (tmp_path / "7").exists()


def test_a_file_altered_on_the_way_is_brought_again(server: StaticServer, tmp_path: Path) -> None:
    right = server.files["m/7/assets/words.txt"]
    server.files["m/7/assets/words.txt"] = right[::-1]

    def mend(_: str) -> None:
        if server.paths().count("/m/7/assets/words.txt") == 2:
            server.files["m/7/assets/words.txt"] = right

    server.before = mend
    assert fetch(server, tmp_path)[0] == ExitCode.SYNCED
    assert tree(tmp_path / "7") == contents()


def test_an_index_that_changes_meanwhile_is_said_and_nothing_is_installed(
    server: StaticServer, tmp_path: Path
) -> None:
    wanted = planned(server)

    def change(path: str) -> None:
        if path.endswith("words.txt"):
            files = {name: data for name, data in contents().items() if "words" not in name}
            server.files |= indexed(
                {f"7/{name}": data for name, data in files.items()}
                | {"7/assets/words.txt": b"Apple\nbanana\n"}
            )

    server.before = change
    code, last = fetch(server, tmp_path, wanted=wanted)
    assert (code, last["reason"]) == (ExitCode.REVISION_MOVED, "RevisionMoved")
    assert last["object"] == "assets/words.txt"
    assert not (tmp_path / "7").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda files: files.pop("m/7/assets/words.txt"), "the server has no such file"),
        (
            lambda files: files.update({"m/7/assets/words.txt": b"short"}),
            "the file there has 5 bytes, not 13",
        ),
    ],
)
def test_a_missing_or_short_file_is_rejected_by_name_until_it_is_right(
    server: StaticServer, tmp_path: Path, spoil: Callable[[dict[str, bytes]], Any], said: str
) -> None:
    wanted = planned(server)
    spoil(server.files)
    code, last = fetch(server, tmp_path)
    assert (code, last["reason"]) == (ExitCode.REJECTED, "ObjectDiffers")
    assert last["object"] == "assets/words.txt"
    assert f"7/assets/words.txt does not match index.json: {said}" in last["message"]
    server.files |= exports()
    assert fetch(server, tmp_path, wanted=wanted)[0] == ExitCode.SYNCED, "no hand is needed"


def test_credentials_come_from_files_and_stand_in_no_line(
    server: StaticServer, tmp_path: Path
) -> None:
    server.authorization = "Bearer the-token-itself"
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "HTTP_BEARER_TOKEN").write_text("the-token-itself\n")
    code, last = fetch(server, tmp_path / "volume", f"--credentials={keys}")
    assert code == ExitCode.SYNCED
    assert "the-token-itself" not in json.dumps(last)
    (keys / "HTTP_BEARER_TOKEN").unlink()
    code, last = fetch(server, tmp_path / "other", f"--credentials={keys}")
    assert code == ExitCode.ACCESS_DENIED
    assert "holds none of HTTP_BEARER_TOKEN, HTTP_USERNAME" in last["message"]


def test_an_index_of_a_directory_is_written_and_served(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for version in ("1", "00000002"):
        write(models / version, contents(seed=int(version)))
    (models / "notes").mkdir()
    (models / "notes" / "x").write_text("no version")
    done = agent("index", str(models))
    assert done.returncode == 0, done.stderr
    document = (models / "index.json").read_bytes()
    assert set(parse_index(document).versions) == {"1", "00000002"}
    assert json.loads(done.stdout)["event"] == "indexed"
    assert agent("index", str(models), "--output=-").stdout.encode() == document
    assert not (models / "index.json").stat().st_mode & 0o111
    assert sorted(path.name for path in models.iterdir()) == [
        "00000002",
        "1",
        "index.json",
        "notes",
    ]
    served = {f"m/{path}": data for path, data in tree(models).items()}
    with StaticServer(served) as server:
        wanted = revision(parse_index(document).versions["00000002"])
        done = agent(
            "fetch", f"--source={server.url}/m", "--directory=00000002", "--version=2",
            f"--revision={wanted}", f"--destination={tmp_path / 'volume'}", ALLOW,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert tree(tmp_path / "volume" / "2") == contents(seed=2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "does not exist"),
        (lambda path: path.mkdir(), "contains no version: its children must be directories"),
        (
            lambda path: write(path / "1", {"a\tb": b""}),
            r"'a\tb' contains a control character: rename it",
        ),
    ],
)
def test_what_cannot_be_indexed_is_said(
    tmp_path: Path, make: Callable[[Path], Any], said: str
) -> None:
    make(tmp_path / "models")
    done = agent("index", str(tmp_path / "models"))
    assert done.returncode == ExitCode.USAGE
    assert said in done.stderr
    assert not (tmp_path / "models" / "index.json").exists()


def test_an_index_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "models" / "1", contents())
    (tmp_path / "models" / "index.json").mkdir()
    done = agent("index", str(tmp_path / "models"))
    assert done.returncode == ExitCode.VOLUME_ERROR
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_file()] == []
