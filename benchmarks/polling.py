"""What polling many Models costs: requests as the S3 server counts them, CPU and memory of the operator.

    python -m polling --models 1000 --interval 30 --rounds 3

The loop, the schedules, the polls and the clients are the operator's own, the S3 server (versitygw) is a
real one; the API server is a dictionary in this process, whose cost is therefore counted, too. Every
Model has one complete version and is paused, so that nothing is deployed.
"""

import asyncio
import resource
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cluster.s3 import S3Server
from polling_world import Cluster, Watched, operator_of, put_exports, requests, running
from slipway_operator.app.logs import configure_logging


async def _measure(models: int, interval: float, rounds: int, s3: S3Server, log: Path) -> str:
    cluster, watched = Cluster(s3), Watched()
    keys = [cluster.add(f"m{n:04}", f"{interval:g}s", s3.endpoint) for n in range(models)]
    loop, _ = operator_of(cluster, watched, timedelta(seconds=interval / models))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = []
    async with running(loop, watched):
        for key in keys:
            loop.model_changed(key, 1)
        done, asked, cpu = 0, Counter[str](), time.process_time()
        for number in range(rounds):
            watched.lag = 0.0
            await asyncio.sleep(interval)  # the measured time
            polls = watched.count - done
            now, used = requests(log), time.process_time()
            kinds = {kind: (now[kind] - asked[kind]) / max(1, polls) for kind in sorted(now)}
            told = ", ".join(f"{kind} {share:.2f}" for kind, share in kinds.items())
            rows.append(
                f"| {number + 1} | {polls} | {told} | {(used - cpu) / max(1, polls) * 1000:.1f} ms "
                f"| {(used - cpu) / interval * 100:.0f} % | {watched.lag * 1000:.0f} ms |"
            )
            done, asked, cpu = watched.count, now, used
    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return "\n".join(
        [
            f"{models} Models, one complete version each, polled every {interval:g} s.",
            "",
            "| round | polls | requests for each poll | CPU for each poll | of one core | worst lag |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"Memory: {before_kb // 1024} MiB before, {after_kb // 1024} MiB at most.",
        ]
    )


def main(
    models: Annotated[int, typer.Option(help="How many Models.")] = 1000,
    interval: Annotated[float, typer.Option(help="Seconds between two polls of one.")] = 30,
    rounds: Annotated[int, typer.Option(help="Intervals to measure.")] = 3,
) -> None:
    """Measure, and print a table."""
    configure_logging("warning")
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "access.log"
        with S3Server.start(Path(name) / "s3", flags=(f"--access-log={log}",)) as s3:
            put_exports(s3, (f"m{n:04}" for n in range(models)))
            typer.echo(asyncio.run(_measure(models, interval, rounds, s3, log)))


if __name__ == "__main__":
    typer.run(main)
