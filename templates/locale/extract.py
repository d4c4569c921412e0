"""Writes the Chinese catalogue: `make messages`. Needs babel, a development requirement, and no gettext tools.

What is marked in apps/, platform/ and templates/ goes into django.po, what was translated stays, what is no
longer marked leaves, and django.mo is compiled. The same sources give the same files: no dates, no line numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("apps", "platform", "templates")
LOCALE = "zh_Hans"
PO = Path(__file__).parent / LOCALE / "LC_MESSAGES" / "django.po"
MO = PO.with_suffix(".mo")

# Django's lazy forms take the arguments of the plain ones.
PLAIN = ("gettext", "ngettext", "pgettext", "npgettext")
KEYWORDS = {**DEFAULT_KEYWORDS, **{f"{name}_lazy": DEFAULT_KEYWORDS[name] for name in PLAIN}}
KEYWORDS["gettext_noop"] = None


def extract_template(
    file: IO[bytes], keywords: Mapping[str, Any], comment_tags: Collection[str], options: Any
) -> Iterator[Any]:
    """A template as Django turns it into Python-like source, without the indentation Python would object to."""
    lines = templatize(file.read().decode()).splitlines()
    source = "\n".join(line.strip() for line in lines)
    return extract_python(BytesIO(source.encode()), keywords, comment_tags, options)


METHODS: Any = [("**.py", "python"), ("**.html", extract_template), ("**.txt", extract_template)]


class Catalogue(Catalog):
    """One whose header says only what a reader of the file needs."""

    @property
    def mime_headers(self) -> list[tuple[str, str]]:
        return [
            ("Project-Id-Version", "Countersign"),
            ("Language", LOCALE),
            ("Plural-Forms", f"nplurals={self.num_plurals}; plural={self.plural_expr};"),
            ("MIME-Version", "1.0"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Transfer-Encoding", "8bit"),
        ]


def extracted() -> Catalog:
    """What is marked in the sources now, by file."""
    found = {
        (f"{folder}/{name}", message, context)
        for folder in SOURCES
        for name, _, message, _, context in extract_from_dir(
            ROOT / folder, METHODS, keywords=KEYWORDS, directory_filter=_is_source
        )
    }
    catalog = Catalog()
    for name, message, context in sorted(found, key=_order):
        catalog.add(message, locations=[(name, 0)], context=context)
    return catalog


def catalogue() -> Catalogue:
    """The file as it is."""
    known = Catalogue(locale=LOCALE, fuzzy=False, header_comment="# Countersign in Simplified Chinese.")
    if PO.exists():
        for message in read_po(BytesIO(PO.read_bytes()), LOCALE):
            if message.id:
                known[message.id] = message
    return known


def updated() -> Catalogue:
    """The file as it should be."""
    result = catalogue()
    result.update(extracted(), no_fuzzy_matching=True)
    return result


def as_po(catalog: Catalogue) -> bytes:
    file = BytesIO()
    write_po(file, catalog, width=100, ignore_obsolete=True, include_lineno=False)
    return file.getvalue()


def as_mo(catalog: Catalogue) -> bytes:
    file = BytesIO()
    write_mo(file, catalog)
    return file.getvalue()


def untranslated(catalog: Catalogue) -> list[str]:
    return [str(each.id) for each in catalog if each.id and (each.fuzzy or not _is_whole(each.string))]


def _is_whole(string: str | Sequence[str] | None) -> bool:
    return all(string) if isinstance(string, (list, tuple)) else bool(string)


def _is_source(folder: str) -> bool:
    return Path(folder).name not in {"migrations", "__pycache__"} and Path(folder) != Path(__file__).parent


def _order(found: tuple[str, str | tuple[str, ...], str | None]) -> tuple[str, tuple[str, ...], str]:
    name, message, context = found
    return name, (message,) if isinstance(message, str) else message, context or ""


def main() -> int:
    result = updated()
    PO.parent.mkdir(parents=True, exist_ok=True)
    PO.write_bytes(as_po(result))
    MO.write_bytes(as_mo(result))
    missing = untranslated(result)
    sys.stdout.write(f"{len(result)} messages, {len(missing)} to translate in {PO.relative_to(ROOT)}\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
