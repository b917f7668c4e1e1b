"""Two replicas that take turns to lead; the one that leads is frozen again and again, and thawed when the other leads.

Run as a program of its own, because it forks: `python -m frozen_leaders KUBECONFIG NAMESPACE NAME ROUNDS SEED`.
Each replica is a process with the operator's Lease and client. It writes to the Model NAME as often as it can while
it believes that it leads, and goes on for a while after it has learnt that it does not. Time runs SPEED times as
fast in it, for every timer and for the clock of the Lease. Prints one JSON line at the end.
"""

import asyncio
import json
import os
import random
import select
import selectors
import signal
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from kubernetes.aio import client as kube
from kubernetes.aio import config
from typing_extensions import override

from slipway_operator.cluster.client import MODELS, Client, ClusterError
from slipway_operator.cluster.fencing import fenced_api
from slipway_operator.cluster.lease import Leadership, LeadershipLostError

SPEED = 20
FROZEN_SECONDS = 19
_PATIENCE = 60.0  # real seconds


class _Selector(selectors.DefaultSelector):
    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / SPEED)


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose seconds are short."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    @override
    def time(self) -> float:
        return super().time() * SPEED


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) * SPEED


async def _replica(
    kubeconfig: str, namespace: str, name: str, identity: str, tell: int
) -> NoReturn:
    settings = kube.Configuration()
    await config.load_kube_config(kubeconfig, client_configuration=settings)
    api = kube.ApiClient(settings)
    leadership = Leadership(Client(api), namespace, name, identity, elapsed=_uptime)
    writing = await fenced_api(settings, leadership.fence)
    client = Client(api, writing, leadership.fence)

    told = False

    async def write() -> None:
        nonlocal told
        patch = {"metadata": {"annotations": {"writer": identity}}}
        while True:
            try:
                await client.merge(MODELS, namespace, name, patch)
            except ClusterError:
                await asyncio.sleep(0.2)
                continue
            if not told:
                told = os.write(tell, b"wrote\n") > 0
            await asyncio.sleep(2)

    await leadership.acquire()
    writers = [asyncio.create_task(write()) for _ in range(3)]
    try:
        await leadership.keep()
    except LeadershipLostError:
        # Whatever tasks think: the fence alone keeps them from writing.
        await asyncio.sleep(5)
    os._exit(len(writers))


class Replica:
    """One process."""

    def __init__(self, start: Callable[[int], NoReturn]) -> None:
        self.heard, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.heard)
            start(tell)
        os.close(tell)

    def leads(self) -> bool:
        """Wait until it says that it has written; False when it has ended instead."""
        if not select.select([self.heard], [], [], _PATIENCE)[0]:
            raise SystemExit("a replica neither leads nor ends")
        return bool(os.read(self.heard, 6))

    def ended(self) -> None:
        """Wait until it has ended."""
        if self.leads():
            raise SystemExit("a replica leads again after it has lost the Lease")
        os.waitpid(self.pid, 0)
        os.close(self.heard)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.heard)


def main(kubeconfig: str, namespace: str, name: str, rounds: int, seed: int) -> None:
    """Freeze the leader so many times."""
    chance = random.Random(seed)  # noqa: S311 (repeatable, not secret)
    count = 0

    def replica() -> Replica:
        nonlocal count
        count += 1
        identity = f"{name}-{count}"

        def start(tell: int) -> NoReturn:
            with asyncio.Runner(loop_factory=FastLoop) as runner:
                runner.run(_replica(kubeconfig, namespace, name, identity, tell))
            os._exit(1)

        return Replica(start)

    def until_one_leads(waiting: list[Replica]) -> None:
        """On a busy machine one may lose the Lease before it has written: another takes its place."""
        while not waiting[0].leads():
            os.waitpid(waiting[0].pid, 0)
            os.close(waiting[0].heard)
            waiting[0] = replica()

    leading: list[Replica] = [replica()]
    waiting: list[Replica] = []
    try:
        until_one_leads(leading)
        for _ in range(rounds):
            waiting.append(replica())
            # Long enough for the other to start, and then any moment of a renewal.
            select.select([], [], [], 0.3 + chance.uniform(0, 6 / SPEED))
            os.kill(leading[0].pid, signal.SIGSTOP)
            frozen = time.monotonic()
            until_one_leads(waiting)
            left = FROZEN_SECONDS / SPEED - (time.monotonic() - frozen)
            select.select([], [], [], max(0.0, left) + chance.uniform(0, 2 / SPEED))
            os.kill(leading[0].pid, signal.SIGCONT)
            leading[0].ended()
            leading[0] = waiting.pop()
    finally:
        for left_over in [*leading, *waiting]:
            left_over.kill()
    sys.stdout.write(json.dumps({"replicas": count}) + "\n")


if __name__ == "__main__":
    # So that no replica outlives the test, however that ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    _, kubeconfig, namespace, name, rounds, seed = sys.argv
    main(kubeconfig, namespace, name, int(rounds), int(seed))
