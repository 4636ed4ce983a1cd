"""Self-contained HTML pages for the report: one style, tables that sort by a click, no network."""

import html
from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b2430; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid #d8dee6; vertical-align: top }
td:last-child { min-width: 16rem }
th { cursor: pointer; background: #eef2f6; position: sticky; top: 0; white-space: nowrap }
pre { background: #eef2f6; padding: 1rem; overflow-x: auto; font-size: 13px }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0 }
"""

SCRIPT = """
for (const th of document.querySelectorAll('th')) th.onclick = () => {
  const body = th.closest('table').tBodies[0], i = th.cellIndex;
  const down = th.dataset.down = th.dataset.down === '1' ? '0' : '1';
  const key = row => row.cells[i].textContent;
  body.append(...[...body.rows].sort((a, b) => {
    const x = parseFloat(key(a)), y = parseFloat(key(b));
    const order = isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
    return down === '1' ? order : -order;
  }));
};
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; everything in it is escaped."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def preformatted(text: str) -> str:
    """A block of literal text."""
    return f"<pre>{html.escape(text)}</pre>"


def details(title: str, content: str, *, is_open: bool = False) -> str:
    """A block that folds."""
    return f"<details{' open' if is_open else ''}><summary>{html.escape(title)}</summary>{content}</details>"


def document(title: str, content: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>\n{content}\n"
        f"<script>{SCRIPT}</script></body></html>\n"
    )
