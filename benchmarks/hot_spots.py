"""Where the time of one race goes: the operators that take most of it themselves, with and without their overhead.

python benchmarks/hot_spots.py cosine-lenet-x1 [--loop] [--top 12]
"""

import argparse
import time

import bins
import cosine
import dlg
import extraction
import torch
from races import Duel
from torch.profiler import ProfilerActivity, profile


def duels() -> dict[str, object]:
    """How each race is made, by the name that the table has."""
    made: dict[str, object] = {name: lambda name=name: dlg.duel(name) for name in dlg.LOOPS}
    made |= {race.name: lambda race=race: cosine.duel(race) for race in cosine.RACES}
    made |= {f"bins-{size.form}": lambda size=size: bins.duel(size) for size in bins.RACES}
    return made | {f"extraction-{size.form}": lambda size=size: extraction.duel(size) for size in extraction.RACES}


def spots(duel: Duel, *, loop: bool, top: int) -> list[str]:
    """Lines of the table: share of the time, calls, operator."""
    call = duel.loop if loop else duel.ours
    duel.warm()
    start = time.process_time()
    call()
    seconds = time.process_time() - start
    with profile(activities=[ProfilerActivity.CPU]) as found:
        call()
    events = sorted(found.key_averages(), key=lambda each: -each.self_cpu_time_total)
    total = sum(each.self_cpu_time_total for each in events)
    lines = [
        f"{duel.name}, {'public loop' if loop else 'ours'}: {seconds:.2f} CPU s; {sum(e.count for e in events)} calls"
    ]
    lines += [f"{each.self_cpu_time_total / total:7.1%} {each.count:9}  {each.key}" for each in events[:top]]
    return lines


def main() -> None:
    """Profile one race, or list them."""
    known = duels()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("race", choices=known)
    parser.add_argument("--loop", action="store_true", help="the public loop in place of ours")
    parser.add_argument("--top", type=int, default=12, help="how many operators")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(*spots(known[arguments.race](), loop=arguments.loop, top=arguments.top), sep="\n")


if __name__ == "__main__":
    main()
