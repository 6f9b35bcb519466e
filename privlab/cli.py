"""The command line: `privlab list`, `run`, `compare`, `explore`, `data list`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from privlab import __version__, checks, data, runtime, studies
from privlab.studies.compare import as_json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="privlab", description="Reproduce the papers' tables, and look at the data.")
    parser.add_argument("--version", action="version", version=f"privlab {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    listing = commands.add_parser("list", help="the studies there are")
    run = commands.add_parser("run", help="measure what is missing of a study")
    run.add_argument("study", help="its id, as in curious/table-5")
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
    for command in (run, compare):
        command.add_argument("--results", type=Path, help="folder of measured rows (default: results/ of the checkout)")

    rendered = commands.add_parser("explore", help="make the stored frames of an explorer (minutes)")
    rendered.add_argument("explorer", help="decode or hide")
    rendered.add_argument("--again", action="store_true", help="also those that are there")
    about_data = commands.add_parser("data", help="the data sets").add_subparsers(dest="what", required=True)
    data_listing = about_data.add_parser("list", help="name, size, licence, and whether it is here")
    for command in (listing, run, compare, data_listing):
        command.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


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
        except ValueError as error:  # an altered file: the list goes on, and says so
            here = f"altered: {error}"
        size = "embedded" if entry.embedded else f"{entry.megabytes:.1f} MB" if entry.files else "your own"
        if as_lines:
            facts = {"name": entry.name, "title": entry.title, "megabytes": entry.megabytes, "licence": entry.licence}
            print(json.dumps({**facts, "here": here == "yes"}))
        else:
            print(f"{entry.name:20} {size:>11}  here: {here:3}  {entry.licence:14}  {entry.title}")


def _print_comparison(comparison: studies.Comparison) -> None:
    study = comparison.study
    print(f"{study.id}: {study.title} ({study.source})")
    print("here: mean ± standard deviation over n seeds; the book's scoreboard has the rule for verdicts")
    for name in dict.fromkeys(row["cell"]["data"] for row in comparison.rows):
        same = ", ".join(f"{knob} {value}" for knob, value in comparison.common(name).items())
        print(f"\n{name}{f' (all: {same})' if same else ''}\n{comparison.frame(name).to_string(index=False)}")
    print("\nThe paper's sentences")
    for claim in comparison.claims:
        print(f"  {claim['verdict']:13} on {claim['data']:8} {claim['claim']} ({claim['source']})")
    if comparison.stale:
        print(f"\n{comparison.stale} stored rows are stale and not shown; `privlab run {study.id}` measures them anew.")


def _run(arguments: argparse.Namespace) -> None:
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
            _data_list(parsed.json)
        elif parsed.command == "explore":
            _explore(parsed.explorer, parsed.again)
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
