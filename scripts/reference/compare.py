"""Lets benches/rounds.rs and its twin in PyTorch take turns, and prints their times as a table. Called by scripts/bench.

Others may work on the machine: a time says little, the ratio of two that follow each other more. So the processes alternate, and a row has
the medians of the times, and the median and the range of the ratios of neighbours. A process that is not asked sleeps.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS, EAGER, COMPILE = "ours", "eager", "compile"


@dataclass
class Row:
    """`work` on a case; `count` are the repeats of one round, whose mean is taken, or else what `label` says of one whole."""

    name: str
    label: str
    case: str
    work: str
    count: int
    threads: int = 2
    repeats: bool = True


ROWS = [
    Row("small-forward", "small DDPM++, forward", "small", "forward", 4),
    Row("small-step", "small DDPM++, training step", "small", "step", 2),
    Row("small-flow", "small DDPM++, right-hand side of the likelihood", "small", "flow", 2),
    Row("small-ode-20", "small DDPM++, 20 steps of the ODE", "small", "ode", 20, repeats=False),
    Row("small-ode-100", "small DDPM++, 100 steps of the ODE", "small", "ode", 100, repeats=False),
    Row("small-forward-1", "small DDPM++, forward", "small", "forward", 3, threads=1),
    Row("small-step-1", "small DDPM++, training step", "small", "step", 1, threads=1),
    Row("ddpmpp-forward", "CIFAR-10 DDPM++, forward", "ddpmpp", "forward", 1),
    Row("ddpmpp-step", "CIFAR-10 DDPM++, training step", "ddpmpp", "step", 1),
    Row("ddpmpp-memory", "CIFAR-10 DDPM++, memory of training", "ddpmpp", "memory", 1),
    Row("ncsnpp-forward", "CIFAR-10 NCSN++, forward", "ncsnpp", "forward", 1),
    Row("ncsnpp-step", "CIFAR-10 NCSN++, training step", "ncsnpp", "step", 1),
    Row("ncsnpp-memory", "CIFAR-10 NCSN++, memory of training", "ncsnpp", "memory", 1),
    Row("mlp-step", "quickstart's MLP, training step", "mlp", "step", 50, threads=1),
    Row("mlp-sde", "quickstart's MLP, 1000 points by 1000 steps of the SDE", "mlp", "sde", 1000, threads=1, repeats=False),
    Row("mlp-likelihood", "quickstart's MLP, likelihood of 512 points", "mlp", "likelihood", 512, threads=1, repeats=False),
]


class Process:
    """One of those who take turns."""

    def __init__(self, kind):
        self.kind = kind
        command = {
            OURS: ["cargo", "bench", "--quiet", "--locked", "--bench", "rounds", "--", "serve"],
            EAGER: [sys.executable, str(HERE / "twin.py"), "eager"],
            COMPILE: [sys.executable, str(HERE / "twin.py"), "compile"],
        }[kind]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent.parent)

    def ask(self, *words):
        """The answer to one line."""
        try:
            print(*words, file=self.process.stdin, flush=True)
            answer = json.loads(self.process.stdout.readline() or '{"error": "it ended; what it said last is above"}')
        except BrokenPipeError:
            answer = {"error": "it ended; what it said last is above"}
        if "error" in answer:
            sys.exit(f"bench: {self.kind}: {' '.join(map(str, words))}: {answer['error']}")
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def prepare(row, file, processes):
    """The same weights and batch for all; the twins show themselves equal, or end. The first of `processes` is ours, or the file is there."""
    for process in processes:
        process.ask("threads", row.threads)
        answer = process.ask("prepare", row.case, file)
        if "apart" in answer:
            print(f"bench: {row.case}: {process.kind} is equal: {show_apart(answer['apart'])}", file=sys.stderr)


def show_apart(apart):
    return ", ".join(f"{name} within {number:.0e}" for name, number in apart.items())


def take_turns(row, rounds, processes):
    """The seconds of each round, by the kind of process; a round before the first is not counted."""
    seconds = {process.kind: [] for process in processes}
    for turn in range(rounds + 1):
        answers = {process.kind: process.ask("round", row.work, row.count) for process in processes}
        compare_densities(row, answers)
        for kind, answer in answers.items() if turn > 0 else []:
            seconds[kind].append(answer["seconds"] / (row.count if row.repeats else 1))
    return seconds


def compare_densities(row, answers):
    """Two solvers of one flow find the same density."""
    nats = [answer["nats"] for answer in answers.values() if "nats" in answer]
    if nats and max(nats) - min(nats) > 1e-3:
        sys.exit(f"bench: {row.name}: the densities differ: {answers}; one of the flows is wrong")


def peaks(row, file, kinds):
    """The largest memory of a training in a process of its own, beyond what one takes that has done nothing."""
    found = {}
    for kind in kinds:
        with Process(kind) as process:
            idle = process.ask("memory")["peak"]
            prepare(row, file, [process])
            process.ask("round", "step", row.count)
            found[kind] = [process.ask("memory")["peak"] - idle]
    return found


def time(seconds):
    """Three digits."""
    value, unit = (seconds, "s") if seconds >= 1 else (1e3 * seconds, "ms")
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def ratio(ours, others):
    """The median of ours over theirs, and its range."""
    ratios = [a / b for a, b in zip(ours, others)]
    spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"{statistics.median(ratios):.2f}{spread}"


def line(row, found, kinds):
    """A line of the table."""
    show = (lambda n: f"{n / 1e6:.0f} MB") if row.work == "memory" else time
    cells = [row.label, str(row.threads)] + [show(statistics.median(found[kind])) for kind in kinds]
    return cells + [ratio(found[OURS], found[kind]) for kind in kinds[1:]]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="The speed of this library beside PyTorch's.")
    parser.add_argument("--rows", default="", help="words, separated by commas: only rows with one of them in their name, such as small-step")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each process for a row [default: 7]")
    parser.add_argument("--threads", type=int, help="threads in every row [default: each row's own]")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too, which takes minutes for each network")
    chosen = parser.parse_args()
    rows = [row for row in ROWS if any(word in row.name for word in chosen.rows.split(","))]
    if not rows or chosen.rounds < 1:
        parser.error(f"there is nothing to do; the rows are {', '.join(row.name for row in ROWS)}")
    for row in rows:
        row.threads = chosen.threads or row.threads
    return rows, chosen.rounds, [OURS, EAGER] + [COMPILE] * chosen.compile


def measure(rows, rounds, kinds, file):
    """Each row of one case and number of threads, for which compiled code is made, with what was found."""
    with ExitStack() as stack:
        processes, untouched = None, False
        for row in rows:
            if row.work == "memory":
                yield row, peaks(row, file, kinds)
                continue
            processes = processes or [stack.enter_context(Process(kind)) for kind in kinds]
            if not untouched:
                prepare(row, file, processes)
            yield row, take_turns(row, rounds, processes)
            # The others move the weights, or end their training.
            untouched = row.work in ["forward", "ode", "sde"]


def main():
    rows, rounds, kinds = arguments()
    lines = [["row", "threads", *kinds, *(f"{OURS} / {kind}" for kind in kinds[1:])]]
    lines.append(["---"] * len(lines[0]))
    with tempfile.TemporaryDirectory() as folder:
        for _, group in groupby(rows, lambda row: (row.case, row.threads, row.work == "memory")):
            for row, found in measure(group, rounds, kinds, f"{folder}/case.safetensors"):
                lines.append(line(row, found, kinds))
                print(f"bench: {' | '.join(lines[-1])}", file=sys.stderr)
    for cells in lines:
        print(f"| {' | '.join(cells)} |")


main()
