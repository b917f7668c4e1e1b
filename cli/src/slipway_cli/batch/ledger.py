"""The answers of a batch on disk: each row's once, in order, whatever kills the process.

Answers and errors are appended to `OUT.partial` and `ERRORS.partial`. Now and then both are synced, and only then a
third file, `OUT.state`, says how many rows they hold and how long they are: it is replaced as a whole. A process that
goes on cuts both files to that length, and asks again for what came later. At the end the files get their names.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from slipway_cli.errors import CliError, UsageError

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row.

    Attributes:
        number: Of the row, from 1.
        record: What is written for it.
        failed: Whether it is an error.
    """

    number: int
    record: Mapping[str, Any]
    failed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """What is on disk for certain.

    Attributes:
        rows: How many rows, from the first one on.
        failed: How many of these have an error.
        answer_bytes: Length of `OUT.partial`.
        error_bytes: Length of `ERRORS.partial`.
        finished: Whether there are no more rows.
    """

    rows: int = 0
    failed: int = 0
    answer_bytes: int = 0
    error_bytes: int = 0
    finished: bool = False


class Files:
    """Every change of a disk that a ledger makes; tests end the process at each."""

    def write(self, file: BinaryIO, data: bytes) -> None:
        """Append all of it."""
        file.write(data)
        file.flush()

    def sync(self, file: BinaryIO) -> None:
        """Return when it is on the disk."""
        os.fsync(file.fileno())

    def truncate(self, file: BinaryIO, length: int) -> None:
        """Cut a file, and go to its end."""
        file.truncate(length)
        file.seek(length)

    def create(self, path: Path, data: bytes) -> None:
        """Write a whole file, also to the disk."""
        with path.open("wb") as file:
            self.write(file, data)
            self.sync(file)

    def rename(self, path: Path, target: Path) -> None:
        """Give a file its name, also on the disk."""
        path.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def remove(self, path: Path) -> None:
        """Remove a file that may be gone already."""
        path.unlink(missing_ok=True)


class Ledger:
    """The files of one batch. At most one process writes to them at a time."""

    def __init__(self, answers: Path, errors: Path, files: Files | None = None) -> None:
        self._answers, self._errors = answers, errors
        self._files = files or Files()
        self._opened: list[BinaryIO] = []
        self.progress = Progress()

    @property
    def state_path(self) -> Path:
        """Where it is remembered how far the batch is."""
        return self._with(self._answers, ".state")

    @property
    def partial_answers(self) -> Path:
        """Where answers are until all are there."""
        return self._with(self._answers, ".partial")

    @property
    def partial_errors(self) -> Path:
        """Likewise, of errors."""
        return self._with(self._errors, ".partial")

    def begun(self) -> Mapping[str, Any] | None:
        """Return what the batch that was begun here is about; None where there is none.

        Raises:
            UsageError: The file that says so is not of a batch.
        """
        try:
            state = json.loads(self.state_path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.state_path} is not readable: {error}") from error
        if not isinstance(state, dict) or state.get("format") != _FORMAT:
            raise UsageError(
                f"{self.state_path} is not of a batch of this program: remove it, or choose another --to"
            )
        job: Mapping[str, Any] = state["job"]
        return job

    def open(self, job: Mapping[str, Any], *, overwrite: bool) -> None:
        """Begin, or go on where another process ended.

        Args:
            job: What the batch is about; has to be the same when it goes on.
            overwrite: Begin anew, whatever is there.

        Raises:
            UsageError: There is something else, or another process is at it.
        """
        begun = None if overwrite else self.begun()
        if begun is None:
            self._begin(job, overwrite=overwrite)
        else:
            self._resume(job, begun)

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of the next rows.

        Raises:
            CliError: These are not the next ones, or the disk is full.
        """
        numbers = [one.number for one in outcomes]
        if numbers != list(range(self.progress.rows + 1, self.progress.rows + 1 + len(numbers))):
            raise CliError(f"rows {numbers[:1]} do not follow row {self.progress.rows}")
        answers, errors = self._opened
        for failed, file in ((False, answers), (True, errors)):
            data = b"".join(_line(one.record) for one in outcomes if one.failed is failed)
            if data:
                try:
                    self._files.write(file, data)
                except OSError as error:
                    raise CliError(f"{file.name} cannot be written: {error.strerror}") from error
        # All at once: an interrupt before this line leaves what the next process cuts off.
        self.progress = replace(
            self.progress,
            rows=self.progress.rows + len(outcomes),
            failed=self.progress.failed + sum(one.failed for one in outcomes),
            answer_bytes=answers.tell(),
            error_bytes=errors.tell(),
        )

    def commit(self, *, finished: bool = False) -> None:
        """Make certain of what was appended."""
        for file in self._opened:
            self._files.sync(file)
        self.progress = replace(self.progress, finished=finished)
        self._save()

    def name(self) -> None:
        """Give the finished files their names, and forget how far the batch was."""
        if self.progress.failed:
            if self.partial_errors.exists():
                self._files.rename(self.partial_errors, self._errors)
        else:
            self._files.remove(self.partial_errors)
            self._files.remove(self._errors)  # Of a batch that this one replaces.
        if self.partial_answers.exists():
            self._files.rename(self.partial_answers, self._answers)
        self.forget()

    def forget(self) -> None:
        """Forget that there was a batch, when its files are where they belong."""
        self._files.remove(self.state_path)

    def close(self) -> None:
        """Let another process at it."""
        for file in self._opened:
            file.close()
        self._opened = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let another process at it."""
        self.close()

    def _begin(self, job: Mapping[str, Any], *, overwrite: bool) -> None:
        if not overwrite:
            for path in (self._answers, self._errors):
                _refuse(path)
            for path in (self.partial_answers, self.partial_errors):
                # An empty one is of a process that ended before it could say what it was about.
                if path.exists() and path.stat().st_size:
                    _refuse(path)
        self._open_files()
        self._job = job
        self.progress = Progress()
        # From here on a process that goes on cuts off what is there now.
        self._save()
        for file in self._opened:
            self._files.truncate(file, 0)

    def _resume(self, job: Mapping[str, Any], begun: Mapping[str, Any]) -> None:
        for key, value in begun.items():
            if job.get(key) != value:
                raise UsageError(
                    f"{self._answers} was begun with another {key} ({_shown(value)}, now {_shown(job.get(key))}): "
                    "give the same, or begin anew with --overwrite"
                )
        self._job = job
        progress = Progress(**json.loads(self.state_path.read_bytes())["progress"])
        if progress.finished:
            self.progress = progress
            return
        self._open_files()
        # Another process may have gone on while this one waited for the files.
        progress = Progress(**json.loads(self.state_path.read_bytes())["progress"])
        lengths = (progress.answer_bytes, progress.error_bytes)
        for file, length in zip(self._opened, lengths, strict=True):
            if os.fstat(file.fileno()).st_size < length:
                raise UsageError(f"{file.name} is shorter than it was: begin anew with --overwrite")
            self._files.truncate(file, length)
        self.progress = progress

    def _open_files(self) -> None:
        for path in (self.partial_answers, self.partial_errors):
            try:
                file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
            except OSError as error:
                raise UsageError(f"{path} cannot be written: {error.strerror}") from error
            self._opened.append(file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The process that had it before may have given it its name meanwhile.
                same = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except (BlockingIOError, FileNotFoundError):
                same = False
            if not same:
                raise UsageError(
                    f"another process writes {self._answers}: wait for it, or choose another --to"
                )

    def _save(self) -> None:
        state = {"format": _FORMAT, "job": dict(self._job), "progress": asdict(self.progress)}
        fresh = self._with(self._answers, ".state.new")
        self._files.create(fresh, json.dumps(state).encode())
        self._files.rename(fresh, self.state_path)

    @staticmethod
    def _with(path: Path, suffix: str) -> Path:
        return path.with_name(path.name + suffix)


def _refuse(path: Path) -> None:
    if path.exists():
        raise UsageError(
            f"{path} is there already: choose another name, or replace it with --overwrite"
        )


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False)
    try:
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # Half a surrogate pair, which JSON can only escape.
        return json.dumps(record).encode() + b"\n"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 20 else f"{text[:12]}…"  # noqa: PLR2004 - a hash's beginning
