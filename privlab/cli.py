"""The command line: `privlab list`, `run`, `compare`, `coverage`, `explore`, `data list`, `data fetch`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from privlab import __version__, checks, data, runtime, studies
from privlab.studies.bench.compare import as_json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="privlab", description="Reproduce the papers' tables, and look at the data.")
    parser.add_argument("--version", action="version", version=f"privlab {__version__}")
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
    run.add_argument("--ray", metavar="ADDRESS", help="send cells to this Ray cluster (local: start one here)")
    compare = commands.add_parser("compare", help="reported numbers beside measured ones")
    compare.add_argument("study")
    covering = commands.add_parser("coverage", help="one verdict for each value that the papers print")
    for command in (run, compare, covering):
        command.add_argument("--results", type=Path, help="folder of measured rows (default: results/ of the checkout)")

    rendered = commands.add_parser("explore", help="make the stored frames of an explorer (minutes)")
    rendered.add_argument("explorer", help="decode or hide")
    rendered.add_argument("--again", action="store_true", help="also those that are there")
    about_data = commands.add_parser("data", help="the data sets").add_subparsers(dest="what", required=True)
    data_listing = about_data.add_parser("list", help="name, size, licence, and whether it is here")
    fetching = about_data.add_parser("fetch", help="download data sets ahead of their use")
    fetching.add_argument("names", nargs="+", metavar="NAME", help="as `privlab data list` shows it")
    for command in (listing, run, compare, covering, data_listing, fetching):
        command.add_argument("--json", action="store_true", help="one JSON object a line")
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
    for entry in data.CATALOGUE.values():
        try:
            here = "yes" if data.available(entry) else "no"
        except (ValueError, OSError) as error:  # an altered or unreadable file: the list goes on, and says so
            here = f"altered: {error}"
        size = "embedded" if entry.embedded else f"{entry.megabytes:.1f} MB" if entry.files else "your own"
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
    if arguments.study or arguments.data or arguments.seeds or arguments.ray:
        raise ValueError("--missing goes over all studies; leave the study, --data, --seeds and --ray out")
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
    )
    if arguments.json:
        for row in rows:
            print(json.dumps(row))
    else:
        print(f"{len(rows)} rows of {study.id}; `privlab compare {study.id}` prints them beside the paper's")
    return None


def _explore(name: str, again: bool) -> None:
    from privlab import explore  # it brings the widgets with it, which the other commands do not need

    checks.one_of("explorer", name, explore.STORED)
    checksum, source = data.fingerprint("digits")
    provenance = {"code": studies.code_version(), "data_checksum": checksum, "data_source": source}
    path = explore.frames.render(name, explore.STORED[name], provenance, again=again)
    print(f"the frames of {name} are in {path}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 2 for a mistake in the call, 130 when interrupted."""
    parsed = _parser().parse_args(arguments)
    try:
        if parsed.command == "list":
            _list(parsed.json)
        elif parsed.command == "data":
            if parsed.what == "fetch":
                _data_fetch(parsed.names, parsed.json)
            else:
                _data_list(parsed.json)
        elif parsed.command == "explore":
            _explore(parsed.explorer, parsed.again)
        elif parsed.command == "coverage":
            _print_coverage(parsed.results, parsed.json)
        elif parsed.command == "run":
            _run(parsed)
        else:
            comparison = studies.compare(parsed.study, studies.Store(studies.get(parsed.study), parsed.results))
            if parsed.json:
                print(as_json(comparison))
            else:
                _print_comparison(comparison)
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"privlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("privlab: stopped; finished cells are kept, and the next run goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
