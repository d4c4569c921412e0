from __future__ import annotations

import argparse
import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from runtime import audit
from runtime.models import Run

from apps.observability.timeline import Step, chain_of, printable, steps_of


class Command(BaseCommand):
    help = "Print what happened in a run, step by step, from the record. Nothing runs again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run", help="the run's id")
        parser.add_argument(
            "--chain",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="also the runs it resumes and those that resume it",
        )
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object")

    def handle(self, *, run: str, chain: bool, as_json: bool, **_: Any) -> None:
        found = _find(run)
        runs = chain_of(found) if chain else [found]
        steps = steps_of(runs)
        audit.append("run.replayed", subject=found, thread_id=found.thread_id)
        if as_json:
            self.stdout.write(json.dumps(_as_json(runs, steps), ensure_ascii=False, indent=2))
            return
        self._print(runs, steps)

    def _print(self, runs: list[Run], steps: list[Step]) -> None:
        told: UUID | None = None
        for step in steps:
            if step.run != told:
                self.stdout.write(f"run {step.run}")
                told = step.run
            lines = printable(step.text).splitlines() or [""]
            self.stdout.write(f"  {_offset(step, steps):+9.3f} s  {step.event:<20}  {lines[0]}")
            for line in lines[1:]:
                self.stdout.write(f"{'':36}{line}")
        tokens = _tokens(runs)
        self.stdout.write(f"{len(runs)} runs, {tokens['input']} tokens in, {tokens['output']} out")


def _find(text: str) -> Run:
    try:
        return Run.objects.select_related("user", "assistant").get(pk=UUID(text))
    except (ValueError, Run.DoesNotExist):
        raise CommandError(
            f"There is no run {printable(text)}. Take its id from the admin's list of runs."
        ) from None


def _offset(step: Step, steps: list[Step]) -> float:
    return (step.at - steps[0].at).total_seconds()


def _tokens(runs: list[Run]) -> dict[str, int]:
    return {"input": sum(run.input_tokens for run in runs), "output": sum(run.output_tokens for run in runs)}


def _as_json(runs: list[Run], steps: list[Step]) -> dict[str, Any]:
    return {
        "runs": [{"id": str(run.pk), "status": run.status, "error": run.error} for run in runs],
        "tokens": _tokens(runs),
        "steps": [
            {
                "at": step.at.isoformat(),
                "offset_seconds": _offset(step, steps),
                "run": str(step.run),
                "event": step.event,
                "text": step.text,
            }
            for step in steps
        ],
    }
