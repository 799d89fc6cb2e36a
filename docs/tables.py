"""Tables of the documentation that are made of the code itself: a hook of mkdocs."""

from actfocus_core.listing.columns import COMPUTED, FOUND, STORED
from actfocus_core.train.metrics import EVALUATION, METRICS
from actfocus_studio.pages.learn.facts import FACTS


def _table(head: tuple[str, ...], rows) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def on_page_markdown(markdown: str, **_) -> str:
    """Put the tables where a page names them."""
    tables = {
        "METRICS_TABLE": (("name", "what it is"), [(f"`{name}`", _cell(text)) for name, text in METRICS.items()]),
        "EVALUATION_TABLE": (("name", "what it is"), [(f"`{name}`", _cell(text)) for name, text in EVALUATION.items()]),
        "COLUMNS_TABLE": (
            ("name", "kind", "what it is", "unit", "source"),
            [(f"`{c.name}`", c.kind, _cell(c.meaning), c.unit, c.source) for c in (*STORED, *COMPUTED, *FOUND)],
        ),
        "FACTS_TABLE": (
            ("name", "what it is", "unit"),
            [(f"`{name}`", _cell(fact.title), fact.unit) for name, fact in FACTS.items()],
        ),
    }
    for name, (head, rows) in tables.items():
        markdown = markdown.replace(f"\n{name}", f"\n{_table(head, rows)}")
    return markdown
