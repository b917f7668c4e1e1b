"""The picture: CPU time of a request, by workload, callers and server."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from server_bench.report import Samples

COLOURS = {
    "slipway-server": "#1b6ca8",
    "echo": "#9aa5b1",
    "echo, own front": "#c5ccd3",
    "naive grpc.aio": "#c9a227",
    "KServe": "#b5533c",
    "MLServer": "#6b4e71",
}


def draw(samples: Samples, path: Path) -> None:
    """Write an SVG with one panel for each workload that several were measured with.

    Whiskers reach from the lowest to the highest round.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "slipway"
    from matplotlib import pyplot as plt

    subjects_of = {
        workload: list(dict.fromkeys(key[2] for key in samples if key[0] == workload))
        for workload in dict.fromkeys(key[0] for key in samples)
    }
    workloads = [workload for workload, them in subjects_of.items() if len(them) > 1]
    if not workloads:
        return
    figure, panels = plt.subplots(
        1, len(workloads), figsize=(4.6 * len(workloads), 4), squeeze=False, layout="constrained"
    )
    for panel, workload in zip(panels[0], workloads, strict=True):
        subjects = subjects_of[workload]
        callers = sorted({key[1] for key in samples if key[0] == workload})
        width = 0.8 / len(subjects)
        for number, subject in enumerate(subjects):
            series = [
                [one.cpu for one in samples[workload, concurrency, subject]]
                for concurrency in callers
            ]
            middle = [median(one) for one in series]
            below = [m - min(one) for m, one in zip(middle, series, strict=True)]
            above = [max(one) - m for m, one in zip(middle, series, strict=True)]
            panel.bar(
                [at + (number + 0.5) * width - 0.4 for at in range(len(callers))],
                middle,
                width * 0.92,
                yerr=[below, above],
                error_kw={"elinewidth": 0.8},
                label=subject,
                color=COLOURS.get(subject),
            )
        panel.set_title(workload, fontsize=10)
        panel.set_xticks(range(len(callers)), [str(one) for one in callers])
        panel.set_xlabel("concurrent callers")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("server CPU time of a request, µs")
    named = {
        label: handle
        for panel in panels[0]
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        named.values(), named.keys(), loc="outside lower center", ncols=len(named), frameon=False
    )
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
