"""`xedge bench contenders`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from xedge_benchmarks.command_record import graphs_option, keep_and_tell, record_options
from xedge_benchmarks.record import BenchRecord
from xedge_benchmarks.two_clocks import cpu_leads
from xedge_benchmarks.wording import rows_table


@click.command(
    epilog="\b\nExamples:\n  xedge bench contenders --quick\n"
    "  xedge bench contenders atss atss-la\n"
    "  xedge bench contenders ssd --contender torch --contender openvino:int8\n"
    "  xedge bench contenders atss-la --gpu"
)
@click.argument("hosts", nargs=-1)
@click.option("--contender", "rivals", multiple=True,
              help="One to measure, others are compared with the first; else all.")  # fmt: skip
@click.option("--gpu", is_flag=True, help="Those that need an NVIDIA GPU, not the processor's.")
@click.option(
    "--quick", is_flag=True, help="The shipped bundle, few rounds, bounds that are tight."
)
@click.option("--rounds", type=click.IntRange(min=2), help="Timed rounds.  [default: 15]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one run.")
@click.option("--seconds", type=click.FloatRange(min=1),
              help="For a contender to be ready, or to answer.  [default: 600]")  # fmt: skip
@click.option("--within", "within_s", type=click.FloatRange(min=1),
              help="Seconds after which no more contender of a host is loaded, and half as many "
              "behind that after which no more round begins.")  # fmt: skip
@click.option("--memory", "mib", type=click.IntRange(min=64),
              help="MiB of memory for one process.  [default: 6144]")  # fmt: skip
@graphs_option
@record_options
def contenders(
    hosts: tuple[str, ...],
    rivals: tuple[str, ...],
    gpu: bool,
    quick: bool,
    rounds: int | None,
    threads: int | None,
    seconds: float | None,
    within_s: float | None,
    mib: int | None,
    graphs: Path | None,
    out: Path | None,
    scratch: bool,
    as_json: bool,
) -> None:
    """Time PyTorch, plain exports, other quantisers and our engines on HOSTS, in turn.

    Each runs in a process of its own, bounded in time and memory; one that fails is a row that
    says why. Hosts are models of the zoo at the papers' sizes with drawn weights, and "bundle", the
    one that is shipped; none named means all.
    """
    import dataclasses

    from xedge_benchmarks.hosts import QUICK
    from xedge_benchmarks.side_by_side import QUICKLY, SideSettings, bench_contenders

    usual = QUICKLY if quick else SideSettings()
    settings = dataclasses.replace(
        usual, gpu=gpu, threads=threads, rounds=rounds or usual.rounds,
        seconds=seconds or usual.seconds, mib=mib or usual.mib,
        within_s=within_s or usual.within_s,
    )  # fmt: skip
    status = Console(stderr=True, quiet=as_json)
    tell = lambda what: status.print(what, style="dim", highlight=False)  # noqa: E731
    record = bench_contenders(hosts or (QUICK if quick else ()), rivals, settings, graphs, tell)
    keep_and_tell(record, _print, out, scratch=scratch, as_json=as_json)


def _print(record: BenchRecord, console: Console) -> None:
    for host in record.results["hosts"]:
        console.print(f"{host['title']}; weights: {host['weights']}")
        measured = [row for row in host["rows"] if "failed" not in row]
        if measured:
            more = {"ready s": lambda row: f"{row['load_s']:.2f}",
                    "first ms": lambda row: f"{row['first_ms']:.0f}"}  # fmt: skip
            console.print(rows_table("", measured, cpu_first=cpu_leads(host), key="contender",
                                     more=more))  # fmt: skip
            versions = {name: v for row in measured for name, v in row["versions"].items()}
            console.print("with " + ", ".join(f"{name} {v}" for name, v in versions.items()))
        for row in host["rows"]:
            if "failed" in row:
                console.print(f"not measured: {row['title']}: {row['failed']}")
