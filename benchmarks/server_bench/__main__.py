"""`python -m server_bench`: measures, prints ratios, writes benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from server_bench import machine, measuring, peers, plot, report, standin
from server_bench.measuring import Round
from server_bench.subjects import goals, subjects

RESULTS = Path(__file__).resolve().parents[1] / "results"
ALSO = (
    ("batching", ("server_bench.batching",)),
    # The full hundred swaps are a benchmark of their own; fewer show the latency beside a load.
    ("hotswap", ("hotswap", "--swaps", "10", "--calls", "20000")),
)
"""What others measure: name of the page each writes, and its module with arguments."""


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        work = Path(name)
        print("models and requests …", flush=True)
        _python("server_bench.exports", str(work))
        tf_call = json.loads(
            _python("server_bench.tfcall", str(work / "softmax" / "1"), str(options.rounds))
        )
        others = peers.install() if _wanted(options, *peers.NAMES) else {}
        cpp = standin.built() if _wanted(options, standin.NAME) else None
        chosen = [
            subject
            for subject in subjects(work, others, cpp)
            if not options.only or subject.program.name in options.only
        ]
        with measuring.started(chosen, work, options.server_cores) as pids:
            rounds = measuring.measure(
                chosen,
                pids,
                concurrencies=options.concurrency,
                rounds=options.rounds,
                seconds=options.seconds,
                tell=_tell,
            )
    samples = report.grouped(rounds)
    facts = machine.facts() | {
        name: peer.versions[peers.NAMES[name]] for name, peer in others.items()
    }
    page = report.markdown(
        report.verdicts(samples, goals(statistics.median(tf_call))),
        samples,
        tf_call,
        facts,
        _method(options, statistics.median(one.disturbance for one in rounds)),
        [] if options.only or options.no_more else [_also(*one) for one in ALSO],
    )
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "server.md").write_text(page)
    (options.results / "server.csv").write_text(report.comma_separated(rounds))
    plot.draw(samples, options.results / "server.svg")
    print(page)


def _wanted(options: argparse.Namespace, *names: str) -> bool:
    return not options.no_peers and (not options.only or not {*names}.isdisjoint(options.only))


def _method(options: argparse.Namespace, disturbance: float) -> str:
    cores = (
        "The server runs on one core, the load generator (closed loop) on another; "
        if options.server_cores == "0"
        else f"The server may use the cores {options.server_cores}, the load generator (closed loop) 1; "
    )
    return (
        f"Written by `make bench-server`. {cores}"
        f"all servers are up, one at a time is loaded, {options.rounds} rounds of {options.seconds:g} s in the order "
        "A-B-B-A. The CPU time is that of the server's processes, user and system. A call of 784 floats is a "
        "PredictRequest of 3.1 kB, over REST its JSON. The echo is grpcio's threaded server with raw bytes, as "
        "slipway-server uses it, returning the request. The C++ stand-in is a server of our own of TensorFlow "
        "Serving's architecture (`servers/standin`): grpc++'s synchronous server, protobuf, TensorFlow's C API. The "
        "naive server, KServe and MLServer call the model's signature function; the latter two take the Open "
        "Inference Protocol with raw tensors over gRPC, KServe's REST call is that of TensorFlow Serving, MLServer's "
        "the Open Inference Protocol's. Metrics are on. Other "
        f"work on the machine took {disturbance:.0%} of its cores before the rounds (median)."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="server_bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--only", nargs="+", help="names of programs; all others stay away")
    parser.add_argument(
        "--no-peers", action="store_true", help="without the C++ stand-in, KServe and MLServer"
    )
    parser.add_argument(
        "--server-cores", default="0", help="that a server may use, as taskset has them: 0, or 0,1"
    )
    parser.add_argument(
        "--no-more", action="store_true", help="without batching and the latency beside a load"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def _python(module: str, *arguments: str) -> str:
    done = subprocess.run(
        ["taskset", "-c", "0", sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return done.stdout


def _also(page: str, command: tuple[str, ...]) -> str:
    """Run another benchmark; return its page as a section of ours."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        subprocess.run([sys.executable, "-m", *command, "--results", folder], check=True)
        text = (Path(folder) / f"{page}.md").read_text()
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())


def _tell(one: Round) -> None:
    print(
        f"  {one.workload:18} c={one.concurrency:<3} {one.subject:15} {one.cpu:8.1f} µs"
        f" {one.load.rate:8.0f}/s  p50 {one.load.p50:6.2f} p99 {one.load.p99:6.2f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
