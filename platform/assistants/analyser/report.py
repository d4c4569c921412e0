"""An analysis as people read it: Markdown, in the language of the text."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from assistants.analyser import background, readings
from assistants.analyser.shapes import Analysis, Background, Metrics, Sentiment, Step

PROBLEMS = {
    "empty": gettext_lazy("There is no text. Send the text that you want analysed."),
    "no_words": gettext_lazy("There are no words in it. Send a text of at least three words."),
    "too_short": gettext_lazy("The text is too short. Send at least three words."),
}
NOTES = {
    background.NOT_SET: gettext_lazy("No service for background is set up."),
    background.NOTHING_NAMED: gettext_lazy("The text names nothing to look up."),
    background.AWAY: gettext_lazy("The service for background did not answer."),
    background.UNREADABLE: gettext_lazy("The service for background sent something that can't be read."),
}
MOODS = {
    "positive": gettext_lazy("positive"),
    "neutral": gettext_lazy("neutral"),
    "negative": gettext_lazy("negative"),
    "mixed": gettext_lazy("mixed"),
}
WHY = {
    readings.OTHER: gettext_lazy("the model wrote something else"),
    readings.LATE: gettext_lazy("the model took too long"),
}
MARKDOWN = str.maketrans({char: f"\\{char}" for char in r"\`*_{}[]<>#|~"})


def report(analysis: Analysis) -> str:
    if not analysis.is_valid:
        return "\n\n".join(str(PROBLEMS[problem]) for problem in analysis.problems)
    sections = [
        (_("In short"), _plain(analysis.summary)),
        (_("Topic"), _topic(analysis)),
        (_("Mood"), _mood(analysis.sentiment) if analysis.sentiment else ""),
        (_("Named in it"), _entities(analysis)),
        (_("Counted"), _counted(analysis.metrics) if analysis.metrics else ""),
        (_("Background"), _background(analysis.background) if analysis.background else ""),
        (_("Time and memory"), _steps(analysis.steps)),
        (_("Found without the model"), _fallbacks(analysis.fallbacks)),
    ]
    return "\n\n".join(f"### {title}\n\n{text}" for title, text in sections if text)


def _plain(text: str) -> str:
    """Of a model, or of somebody's service: words, whatever they look like."""
    return " ".join(text.split()).translate(MARKDOWN)


def _topic(analysis: Analysis) -> str:
    if analysis.topic is None:
        return ""
    keywords = ", ".join(map(_plain, analysis.topic.keywords))
    return "\n\n".join(part for part in (_plain(analysis.topic.topic), keywords) if part)


def _mood(found: Sentiment) -> str:
    return _("%(mood)s, with a confidence of %(percent)s %%") % {
        "mood": MOODS[found.sentiment],
        "percent": round(found.confidence * 100),
    }


def _entities(analysis: Analysis) -> str:
    return "\n".join(f"- {_plain(each.name)} ({each.kind})" for each in analysis.entities) or _("Nothing.")


def _counted(metrics: Metrics) -> str:
    rows = {
        _("Characters"): metrics.characters,
        _("Words"): metrics.words,
        _("Sentences"): metrics.sentences,
        _("Paragraphs"): metrics.paragraphs,
        _("Words a sentence"): metrics.words_a_sentence,
        _("Share of distinct words"): metrics.distinct_words,
        _("Seconds to read it"): metrics.reading_seconds,
        _("Reading ease (0 hard, 100 easy)"): "–" if metrics.reading_ease is None else metrics.reading_ease,
    }
    return _table((_("What"), _("How much")), [(name, str(value)) for name, value in rows.items()])


def _background(found: Background) -> str:
    if found.note:
        return str(NOTES[found.note])
    return "\n".join(f"- **{_plain(fact.entity)}**: {_plain(fact.text)}" for fact in found.facts) or _(
        "Nothing."
    )


def _steps(steps: dict[str, Step]) -> str:
    rows = [(name, f"{step.seconds:.2f}", f"{step.memory_kb}") for name, step in steps.items()]
    return _table((_("Step"), _("Seconds"), _("Memory, in kB")), rows)


def _fallbacks(fallbacks: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {WHY[why]}" for name, why in fallbacks.items())


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
