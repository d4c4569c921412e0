"""`make bench`: runs the benchmarks and prints their tables. ARGS="resume_latency --turns 30" for one of them."""

from __future__ import annotations

import argparse
from importlib import import_module

ALL = ["resume_latency", "compare", "delivery", "thread_length", "model_stream", "queue"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="name", metavar="NAME", help="which; all of them by default")
    modules = {name: import_module(f"benchmarks.{name}") for name in ALL}
    for name, module in modules.items():
        module.add_arguments(commands.add_parser(name, help=module.__doc__, description=module.__doc__))
    asked = parser.parse_args()
    for name in [asked.name] if asked.name else ALL:
        options = vars(asked if asked.name else parser.parse_args([name]))
        modules[name].run(**{option: value for option, value in options.items() if option != "name"})


if __name__ == "__main__":
    main()
