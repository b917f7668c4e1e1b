"""`python -m hotswap`: a hundred version changes of a 200 MB model under load, once for each policy.

Callers keep the server at a share of its capacity at fixed instants (open loop), so that a stall delays every call that
falls into it; latency counts from the instant at which a call was due. Every answer is judged (`hotswap_load.judge`).
Written: results/hotswap.md. Nothing here fails by time; calls that failed or were answered by the wrong version do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hotswap_load import Calls, Clients, Verdict, judge, lives, publish, save_template
from modelserver import ModelServer, eventually, running
from server_bench import machine

RESULTS = Path(__file__).resolve().parent / "results"
POLICIES = ("availability_preserving", "resource_preserving")
EARLY = 5
AFTER_UNLOAD = 0.2
"""A window of a swap ends so many seconds after the old version was unloaded."""


@dataclass(frozen=True, slots=True)
class Run:
    policy: str
    capacity: float
    rate: float
    calls: int
    verdict: Verdict
    steady: Sequence[float]
    swapping: Sequence[float]
    loads: Sequence[float]
    rss: Sequence[int]


def main() -> None:
    options = _options()
    runs = []
    with tempfile.TemporaryDirectory(prefix="slipway-swap-", dir=options.work) as name:
        template = Path(name) / "template"
        save_template(template, options.megabytes << 20)
        for policy in options.policy:
            runs.append(_run(policy, template, Path(name) / policy, options))
            print(_sentence(runs[-1]), flush=True)
    page = _page(runs, options)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "hotswap.md").write_text(page)
    print(page)
    assert not any(run.verdict.failed or run.verdict.wrong for run in runs)


def _run(policy: str, template: Path, work: Path, options: argparse.Namespace) -> Run:
    base = work / "m"
    base.mkdir(parents=True)
    publish(template, base, 1)
    flags = [
        f"--model_base_path={base}",
        "--model_name=m",
        f"--aspired_version_policy={policy}",
        f"--isolated_first_load={'true' if options.isolated else 'false'}",
        *options.flag,
    ]
    rss = []
    with running(work, *flags) as server:
        server.wait_ready()
        capacity = _capacity(server, options)
        rate = capacity * options.share
        clients = Clients(
            server.target,
            "m",
            processes=options.processes,
            threads=options.threads,
            rate=rate,
            specific=10,
        )
        try:
            clients.set_version(1)
            eventually("calls flow", lambda: clients.count > rate)
            time.sleep(options.pause * 5)
            for version in range(2, options.swaps + 2):
                _swap(server, template, base, version, clients)
                time.sleep(options.pause)
                rss.append(_resident(server.process.pid))
            while clients.count < options.calls:
                time.sleep(1)
            calls = clients.stop()
        finally:
            clients.kill()
        of = lives(server.log, "m")
    shutil.rmtree(work)
    latencies = [(1e3 * (end - due), due) for end, due in zip(calls.ended, calls.due, strict=True)]
    windows = [
        (life.loading, of[version - 1].unloaded + AFTER_UNLOAD)
        if policy == POLICIES[0]
        else (of[version - 1].unloading, life.loaded + AFTER_UNLOAD)
        for version, life in of.items()
        if version > 1
    ]
    inside, outside = _split(latencies, windows)
    return Run(
        policy,
        capacity,
        rate,
        len(calls.due),
        judge(calls, of),
        outside,
        inside,
        [life.loaded - life.loading for version, life in of.items() if version > 1],
        rss,
    )


def _swap(server: ModelServer, template: Path, base: Path, version: int, clients: Clients) -> None:
    publish(template, base, version)
    eventually("it is loaded", lambda: server.states("m").get(version) == "AVAILABLE")
    clients.set_version(version)
    eventually("the old one is gone", lambda: server.states("m")[version - 1] == "END")
    shutil.rmtree(base / str(version - 1))


def _capacity(server: ModelServer, options: argparse.Namespace) -> float:
    """Return calls a second when every caller goes on as soon as it is answered."""
    clients = Clients(
        server.target,
        "m",
        processes=options.processes,
        threads=options.threads,
        rate=0,
        specific=0,
    )
    try:
        eventually("calls flow", lambda: clients.count > 500)
        time.sleep(5)
        calls: Calls = clients.stop()
    finally:
        clients.kill()
    begin, end = min(calls.begun), max(calls.ended)
    middle = [ended for ended in calls.ended if begin + 1 < ended < end - 1]
    return len(middle) / (end - begin - 2)


def _split(
    latencies: Sequence[tuple[float, float]], windows: Sequence[tuple[float, float]]
) -> tuple[list[float], list[float]]:
    inside, outside = [], []
    for milliseconds, due in latencies:
        within = any(begin <= due <= end for begin, end in windows)
        (inside if within else outside).append(milliseconds)
    return inside, outside


def _resident(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0.0


def _sentence(run: Run) -> str:
    verdict = run.verdict
    return (
        f"{run.policy}: {run.calls} calls, {len(verdict.failed)} failed, {len(verdict.wrong)} wrong; p99 "
        f"{_percentile(run.steady, 0.99):.1f} ms steady, {_percentile(run.swapping, 0.99):.1f} ms in swap windows; RSS "
        f"{run.rss[min(EARLY, len(run.rss)) - 1] / 2**20:.0f} → {run.rss[-1] / 2**20:.0f} MiB"
        + "".join(f"\n  {sentence}" for sentence in (*verdict.failed[:5], *verdict.wrong[:5]))
    )


def _page(runs: Sequence[Run], options: argparse.Namespace) -> str:
    lines = [
        "# Hot swap under load",
        "",
        f"`python -m hotswap`: a model of {options.megabytes} MB that answers with its version's number; callers",
        f"at {options.share:.0%} of capacity at fixed instants (open loop), latency counted from when a",
        "call was due. One call in ten names the newest version, the others none. Client and server share the",
        "machine's processors.",
        "",
        *(f"* {key}: {value}" for key, value in machine.facts().items()),
        f"* {options.processes} client processes of {options.threads} threads",
        f"* isolated first load: {'on' if options.isolated else 'off'}",
        f"* {time.strftime('%Y-%m-%d', time.gmtime())}",
        "",
    ]
    for run in runs:
        lines += [f"## {run.policy}", "", "| what | |", "| --- | --- |"]
        lines += [f"| {name} | {value} |" for name, value in _rows(run)]
        lines.append("")
    return "\n".join(lines)


def _rows(run: Run) -> Iterator[tuple[str, str]]:
    verdict = run.verdict
    yield "swaps", str(len(run.loads))
    median, longest = statistics.median(run.loads), max(run.loads)
    yield "seconds of a load: median; longest", f"{median:.2f}; {longest:.2f}"
    yield "capacity; rate, calls a second", f"{run.capacity:.0f}; {run.rate:.0f}"
    yield "calls; of these in swap windows", f"{run.calls}; {len(run.swapping)}"
    yield "failed; answered by a wrong version", f"{len(verdict.failed)}; {len(verdict.wrong)}"
    gaps = f"{verdict.latest_in_gap}; {verdict.specific_in_gap}"
    yield "NOT_FOUND in a gap: no version; the one named is gone", gaps
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        steady, swapping = (_percentile(values, share) for values in (run.steady, run.swapping))
        yield f"{name} ms: steady; in swap windows", f"{steady:.2f}; {swapping:.2f}"
    more = _percentile(run.swapping, 0.99) - _percentile(run.steady, 0.99)
    yield "p99 in swap windows less steady, ms (wanted: ≤ 50)", f"{more:.1f}"
    count = min(EARLY, len(run.rss))
    early, late = run.rss[count - 1], run.rss[-1]
    resident = f"{early / 2**20:.0f}; {late / 2**20:.0f}"
    yield f"resident MiB after {count} swaps; after {len(run.rss)}", resident
    yield "ratio (wanted: ≤ 1.10)", f"{late / early:.3f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", nargs="+", default=POLICIES, choices=POLICIES)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--calls", type=int, default=500_000, help="at least so many for a policy")
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--share", type=float, default=0.6, help="of capacity")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between swaps")
    parser.add_argument("--processes", type=int, default=max((os.cpu_count() or 2) // 2, 1))
    parser.add_argument("--threads", type=int, default=16, help="callers in each process")
    parser.add_argument("--isolated", action="store_true", help="with --isolated_first_load")
    parser.add_argument("--flag", action="append", default=[], help="further flags of the server")
    parser.add_argument("--work", type=Path, default=None, help="folder for the models")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
