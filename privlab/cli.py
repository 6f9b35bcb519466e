"""The command line: `privlab list`, `run`, `compare`, `coverage`, `explore`, `data list`, `data fetch`."""

import argparse
import contextlib
import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from privlab import __version__, checks, data, runtime, studies
from privlab.data import fetch
from privlab.studies.bench.compare import as_json
from privlab.studies.bench.store import results_folder

# What a mistake in the call or in the data raises, in words. Anything else is a fault of ours.
MISTAKES = (ValueError, TypeError, OSError, RuntimeError, ImportError, MemoryError)
DONE, FAULT, MISTAKE, INTERRUPTED, NO_READER = 0, 1, 2, 130, 141
STATUS = """exit status:
  0    done
  1    a fault of privlab itself
  2    a mistake in the call or in the data, said in one line
  130  interrupted; finished cells are kept
  141  nobody reads what is printed

--traceback, or PRIVLAB_TRACEBACK=1, shows where an error arose."""


class _Parser(argparse.ArgumentParser):
    """One line for a mistake in the call, as for every other mistake."""

    def error(self, message: str) -> NoReturn:
        self.exit(MISTAKE, f"{self.prog}: {message}; `{self.prog} --help` says more\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="privlab",
        description="Reproduce the papers' tables, and look at the data.",
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"privlab {__version__}")
    parser.add_argument("--traceback", action="store_true", help="of an error show where it arose, too")
    commands = parser.add_subparsers(dest="command", required=True)

    listing = commands.add_parser("list", help="the studies there are")
    run = commands.add_parser("run", help="measure what is missing of a study")
    run.add_argument("study", nargs="?", help="its id, as in curious/table-5")
    run.add_argument("--missing", action="store_true", help="of all studies what is missing, cheapest verdict first")
    run.add_argument("--budget", type=_seconds, metavar="TIME", help="with --missing: stop in time, as in 8m or 2h")
    run.add_argument("--paper", help="with --missing: the studies of one paper, as in zen")
    run.add_argument(
        "--profile", choices=runtime.PROFILES, help="fast, real or paper (default: PRIVLAB_PROFILE, or fast)"
    )
    run.add_argument("--data", help="one data set instead of the profile's: a name, or a path to your own")
    run.add_argument("--seeds", type=int, help="how many seeds, from 0")
    run.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 (default: a card if there is one)")
    run.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    run.add_argument("--ray", metavar="ADDRESS", help="send cells to this Ray cluster: HOST:PORT, auto or local")
    run.add_argument("--gpus-per-cell", type=float, metavar="SHARE", help="with --ray: of a card, as in 0.25")
    run.add_argument("--shard", metavar="I/N", help="part I of N of the grid, as in 2/8: for array jobs")
    compare = commands.add_parser("compare", help="reported numbers beside measured ones")
    compare.add_argument("study")
    covering = commands.add_parser("coverage", help="one verdict for each value that the papers print")
    for command in (run, compare, covering):
        command.add_argument("--results", type=Path, help="folder of measured rows (default: results/ of the checkout)")

    rendered = commands.add_parser("explore", help="make the stored frames of an explorer (minutes)")
    rendered.add_argument("explorer", help="decode, fool, hide, infer, leak, link, mingle, poison or spend")
    rendered.add_argument("--again", action="store_true", help="also those that are there")
    about_data = commands.add_parser("data", help="the data sets").add_subparsers(dest="what", required=True)
    data_listing = about_data.add_parser("list", help="name, size, licence, and whether it is here")
    fetching = about_data.add_parser("fetch", help="download data sets ahead of their use")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `privlab data list` shows it")
    for command in (listing, run, compare, covering, data_listing, fetching):
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    for command in (listing, run, compare, covering, rendered, data_listing, fetching):
        command.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def _seconds(text: str) -> float:
    """A span of time such as 90, 90s, 8m or 1.5h, in seconds."""
    units = {"s": 1, "m": 60, "h": 3600}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        seconds = float(number) * unit
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a span of time; write 90s, 8m or 2h")
    return seconds


def _list(as_lines: bool) -> None:
    for study in studies.STUDIES.values():
        grid = {profile: list(names) for profile, names in study.data.items()}
        if as_lines:
            print(json.dumps({"study": study.id, "title": study.title, "source": study.source, "data": grid}))
        else:
            print(f"{study.id:18} {study.title} ({study.source}); real data: {', '.join(grid['real'])}")


def _data_list(as_lines: bool) -> None:
    fetch.local_folder()  # says that PRIVLAB_DATA names no folder, in the place of a list of what is not here
    for entry in data.CATALOGUE.values():
        try:
            here = "yes" if data.available(entry) else "no"
        except (ValueError, OSError) as error:  # an altered or unreadable file: the list goes on, and says so
            here = f"altered: {error}"
        size = "embedded" if entry.embedded else f"{entry.megabytes:.1f} MB" if entry.megabytes else "your own"
        if as_lines:
            facts = {"name": entry.name, "title": entry.title, "megabytes": entry.megabytes, "licence": entry.licence}
            print(json.dumps({**facts, "here": here == "yes"}))
        else:
            print(f"{entry.name:20} {size:>11}  here: {here:3}  {entry.licence:14}  {entry.title}")


def _data_fetch(names: Sequence[str], as_lines: bool) -> None:
    for name in names:
        data.entry_of(name)  # a typing mistake is told before anything is fetched
    for name in dict.fromkeys(names):
        paths, here = data.prefetch(name)
        megabytes = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
        if as_lines:
            facts = {"name": name, "files": [str(path) for path in paths], "megabytes": megabytes}
            print(json.dumps({**facts, "was_here": here}))
        elif not paths:
            print(f"{name}: embedded, nothing to fetch")
        else:
            print(f"{name}: {'already here' if here else 'fetched'}, {megabytes:.1f} MB")
            print("\n".join(f"  {path}" for path in paths))


def _compare(name: str, folder: Path | None, as_lines: bool) -> None:
    comparison = studies.compare(name, studies.Store(studies.get(name), folder))
    if not any(row["n"] for row in comparison.rows):
        _nothing_measured(f"of {name} ", folder, f"privlab run {name}")
    if as_lines:
        print(as_json(comparison))
    else:
        _print_comparison(comparison)


def _nothing_measured(what: str, folder: Path | None, remedy: str) -> None:
    where = folder or results_folder()
    print(f"privlab: no rows {what}in {where}; `{remedy}` measures them", file=sys.stderr)


def _print_comparison(comparison: studies.Comparison) -> None:
    study = comparison.study
    print(f"{study.id}: {study.title} ({study.source})")
    print("here: mean ± standard deviation over n draws; the book's scoreboard has the rule for verdicts")
    for name in dict.fromkeys(row["cell"]["data"] for row in comparison.rows):
        same = ", ".join(f"{knob} {value}" for knob, value in comparison.common(name).items())
        print(f"\n{name}{f' (all: {same})' if same else ''}\n{comparison.frame(name).to_string(index=False)}")
    print("\nThe paper's sentences")
    for sentence in comparison.sentences:
        print(f"  {sentence['verdict']:13} {sentence['claim']} ({sentence['source']})")
        print(f"{'':16}tested: {sentence['tested']}")
        for word, where in sentence["where"].items():
            print(f"{'':16}{word}: {'; '.join(where)}")
        for name, word in sentence["stand_ins"].items():
            print(f"{'':16}on the stand-in {name}: {word}")
    if comparison.stale:
        print(f"\n{comparison.stale} stored rows are stale and not shown; `privlab run {study.id}` measures them anew.")


def _print_coverage(folder: Path | None, as_lines: bool) -> None:
    rows = studies.coverage(folder)
    if not any(row["n"] for row in rows):
        _nothing_measured("", folder, "privlab run --missing")
    if as_lines:
        for row in rows:
            print(json.dumps(row))
        return
    for row in rows:
        place = " ".join(filter(None, (row["dataset"], row["model"], row["split"], row["variant"], row["metric"])))
        value = "never" if row["value"] is None else f"{row['value']:g}"
        said = row["verdict"] if row["scale"] in (None, "paper") else f"{row['verdict']} [{row['scale']}]"
        print(f"{row['paper']:11} {row['table']:8} {place}: {value}  {said}")
    print(f"{len(rows)} printed values")


def _missing(arguments: argparse.Namespace) -> None:
    of_a_study = ("study", "data", "seeds", "ray", "gpus_per_cell", "shard")
    if any(getattr(arguments, name) is not None for name in of_a_study):
        raise ValueError("--missing goes over all studies; leave the study, --data, --seeds, --ray and --shard out")
    left = studies.run_missing(
        profile=arguments.profile,
        paper=arguments.paper,
        budget=arguments.budget,
        device=arguments.device,
        workers=arguments.workers,
        folder=arguments.results,
    )
    if arguments.json:
        for study, (cell, seed), seconds in left.tasks:
            print(json.dumps({"study": study.id, "cell": cell, "seed": seed, "seconds": seconds}))
    else:
        print(left)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.missing:
        return _missing(arguments)
    if arguments.study is None or arguments.budget or arguments.paper:
        raise ValueError("name a study, as in `privlab run curious/table-5`; --budget and --paper belong to --missing")
    study = studies.get(arguments.study)
    rows = studies.run(
        study,
        profile=arguments.profile,
        data=arguments.data,
        seeds=arguments.seeds,
        device=arguments.device,
        workers=arguments.workers,
        store=studies.Store(study, arguments.results),
        ray=arguments.ray,
        gpus_per_cell=arguments.gpus_per_cell,
        shard=arguments.shard,
    )
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        part = f" in shard {arguments.shard}" if arguments.shard else ""
        print(f"{len(rows)} rows of {study.id}{part}; `privlab compare {study.id}` prints them beside the paper's")
    return None


def _explore(name: str, again: bool) -> None:
    from privlab import explore  # it brings the widgets with it, which the other commands do not need

    checks.one_of("explorer", name, explore.STORED)
    checksum, source = data.fingerprint("digits")
    provenance = {"code": studies.code_version(), "data_checksum": checksum, "data_source": source}
    path = explore.frames.render(name, explore.STORED[name], provenance, again=again)
    print(f"the frames of {name} are in {path}")


def _do(parsed: argparse.Namespace) -> None:
    if parsed.command == "list":
        _list(parsed.json)
    elif parsed.command == "data" and parsed.what == "fetch":
        _data_fetch(parsed.names, parsed.json)
    elif parsed.command == "data":
        _data_list(parsed.json)
    elif parsed.command == "explore":
        _explore(parsed.explorer, parsed.again)
    elif parsed.command == "coverage":
        _print_coverage(parsed.results, parsed.json)
    elif parsed.command == "run":
        _run(parsed)
    else:
        _compare(parsed.study, parsed.results, parsed.json)


def _say(error: Exception, with_traceback: bool) -> int:
    """One line about an error, and what to exit with."""
    if with_traceback or os.environ.get("PRIVLAB_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(error)
    words = " ".join(str(error).split())
    if isinstance(error, MISTAKES):
        print(f"privlab: {words or type(error).__name__}", file=sys.stderr)
        return MISTAKE
    fault = f"{type(error).__name__}: {words}"
    print(
        f"privlab: a fault of privlab itself ({fault}); please report it with what --traceback shows", file=sys.stderr
    )
    return FAULT


def _leave_quietly() -> None:
    """Nobody reads any more: what is left in the buffer goes nowhere, without a word when Python ends."""
    with contextlib.suppress(OSError, io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, which `privlab --help` lists."""
    parsed = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no ± shows ? in its place
    try:
        _do(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()
        return NO_READER
    except KeyboardInterrupt:
        print("privlab: stopped; finished cells are kept, and the next run goes on from here", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        return _say(error, parsed.traceback)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
