"""The local cluster from the command line: `python -m cluster --help`."""

import os
import signal
import sys
from typing import Annotated

import typer

from cluster import images as image_builds
from cluster import paths, proc, tools
from cluster import prepare as preparation
from cluster.errors import ClusterError
from cluster.node import Cluster, down
from cluster.node.cluster import Part
from cluster.progress import columns, note

app = typer.Typer(
    help="A Kubernetes node on this machine, from pinned parts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("tools")
def build_tools(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all by default.")] = None,
) -> None:
    """Find the cluster's programs, and build those that are nowhere yet."""
    rows = [("PROGRAM", "MB", "PATH")]
    for name in names or tools.programs():
        path = tools.find(name)
        rows.append((name, f"{path.stat().st_size / 1e6:.0f}", str(path)))
    print(columns(rows))


@app.command()
def prepare(
    command: Annotated[
        list[str] | None, typer.Argument(help="What to run meanwhile, after `--`.")
    ] = None,
    *,
    beside: Annotated[
        str,
        typer.Option(
            help="Tests to run in the background, a shell command; printed when they end."
        ),
    ] = "",
) -> None:
    """Build the programs and images that are missing, beside a command that needs none of them."""
    background = [*preparation.needed(), *([preparation.tests(beside)] if beside else [])]
    sys.exit(preparation.run(background, command or (), logs=paths.LOGS))


@app.command()
def which(name: Annotated[str, typer.Argument()]) -> None:
    """Print the path of one program, and nothing else."""
    print(tools.find(name))


@app.command()
def up(
    gpus: Annotated[int | None, typer.Option(min=0, help="Fake GPUs that the node offers.")] = None,
    *,
    audit: Annotated[
        bool | None, typer.Option(help="Write every change of the API to a file.")
    ] = None,
) -> None:
    """Bring the cluster up, or make sure that it is; build and install what is missing."""
    cluster = Cluster.up(gpus=gpus, audit=audit)
    note(f"  kubeconfig: {cluster.kubeconfig}")


@app.command("down")
def take_down(
    *,
    force: Annotated[bool, typer.Option(help="Also while another process uses it.")] = False,
) -> None:
    """End the cluster; no process, mount, network namespace, interface or cgroup stays."""
    down(force=force)


@app.command()
def status() -> None:
    """Show every part of the cluster; fails when one is not well."""
    cluster = Cluster.load()
    rows = [("PART", "STATE", "PID", "MB", "LOG")]
    well = True
    for part in cluster.parts:
        state = _state(part)
        well = well and state == part.sign
        pid = part.daemon.pid
        memory = "" if pid is None else f"{proc.resident_bytes(pid) / 1e6:.0f}"
        log = os.path.relpath(part.daemon.log, paths.REPOSITORY)
        rows.append((part.daemon.program.name, state, str(pid or ""), memory, log))
    print(columns(rows))
    if not well:
        raise ClusterError("not every part is well; `make cluster-up` starts what is dead")
    print(
        f"\nkubeconfig  {cluster.kubeconfig}\nAPI server  {cluster.plane.url}\n"
        f"S3 server   {cluster.s3.endpoint}\nGPUs        {cluster.offered_gpus()}\n"
        f"images      {', '.join(n for n in cluster.images.images() if not n.startswith('sha256:'))}"
    )


@app.command()
def images() -> None:
    """Build the images whose inputs changed, and import them into the cluster if it is up."""
    try:
        cluster = Cluster.load()
    except ClusterError:
        image_builds.build_layout()
        note("  the cluster is not up, so nothing is imported")
    else:
        image_builds.build(cluster)


@app.command()
def gpus(count: Annotated[int, typer.Argument(min=0)]) -> None:
    """Change how many fake GPUs the node offers, while it runs."""
    Cluster.load().set_gpus(count)


def _state(part: Part) -> str:
    if not part.daemon.alive:
        return "dead"
    return part.sign if part.healthy() else f"not {part.sign}"


def main() -> None:
    # A build that is told to end leaves no half-written program and no mount.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        app()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
