"""`make bench`: runs the benchmarks and prints their tables. ARGS="resume_latency --turns 30" for one of them."""

from __future__ import annotations

import argparse
from importlib import import_module

ALL = ["resume_latency"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help="which; all of them by default")
    parser.add_argument("--turns", type=int, default=30, help="how many times each thing is measured")
    options = parser.parse_args()
    for name in options.names or ALL:
        import_module(f"benchmarks.{name}").run(turns=options.turns)


if __name__ == "__main__":
    main()
