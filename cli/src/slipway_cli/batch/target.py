"""Where the answers of a batch go: a file of this machine, or an object that is uploaded at the end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from slipway_cli.batch import objects
from slipway_cli.batch.ledger import Ledger
from slipway_cli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Target:
    """Where answers and errors go.

    Attributes:
        answers: Path or URI.
        errors: Likewise.
        remote: Whether both are objects.
        work: The file that answers are gathered in, without its suffixes.
        work_errors: Likewise, of errors.
    """

    answers: str
    errors: str
    remote: bool
    work: Path
    work_errors: Path


def target(answers: str, errors: str) -> Target:
    """Read `--to` and `--errors`; the latter's default lies beside the answers.

    Raises:
        UsageError: They cannot be.
    """
    remote = "://" in answers and not answers.startswith("file://")
    if not answers or answers.endswith("/"):
        raise UsageError("--to: write the name of a file")
    answers = answers.removeprefix("file://")
    if not errors:
        at = PurePosixPath(answers)
        errors = f"{answers.removesuffix(at.suffix)}.errors{at.suffix or '.jsonl'}"
    if ("://" in errors) is not remote:
        raise UsageError("--to and --errors: write two files, or two objects")
    if errors == answers:
        raise UsageError("--to and --errors are the same file")
    if not remote:
        for path in (Path(answers), Path(errors)):
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise UsageError(f"{path}: write the name of a file in a directory that exists")
        return Target(answers, errors, remote, Path(answers), Path(errors))
    if answers.startswith(("http://", "https://")):
        raise UsageError(
            f"--to {answers}: a web server takes no files; write s3://, gs:// or az://"
        )
    name = f"{PurePosixPath(answers).name}.{hashlib.sha256(answers.encode()).hexdigest()[:8]}"
    return Target(answers, errors, remote, Path(name), Path(f"{name}.errors"))


def put_in_place(where: Target, ledger: Ledger, access: objects.ObjectAccess) -> None:
    """Bring finished files to where they belong; doing it twice does no harm.

    Raises:
        CliError: The store does not take them; the same command goes on from here.
    """
    if not where.remote:
        ledger.name()
        return
    # The answers last: who waits for them finds the errors, too.
    if ledger.progress.failed and ledger.partial_errors.exists():
        objects.upload(where.errors, access, ledger.partial_errors)
    if ledger.partial_answers.exists():
        objects.upload(where.answers, access, ledger.partial_answers)
    ledger.partial_errors.unlink(missing_ok=True)
    ledger.partial_answers.unlink(missing_ok=True)
    ledger.forget()
