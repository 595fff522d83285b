"""One issue of the newsletter, as text."""

import os
from typing import Dict, List

from tabulate import tabulate
import humanize
from slugify import slugify
import inflection


def address_of(title: str) -> str:
    return f"/issues/{slugify(title)}"


def heading(title: str, books: List[Dict]) -> str:
    count = len(books)
    noun = "book" if count == 1 else inflection.pluralize("book")
    return f"{inflection.titleize(title)}: {humanize.apnumber(count)} new {noun}"


def table(books: List[Dict], columns=["title", "price"]) -> str:
    rows = [[book[column] for column in columns] for book in books]
    return tabulate(rows, headers=columns, tablefmt="github", floatfmt=".2f")


def footer(readers: int) -> str:
    note = "unsubscribe at any time"
    return f"Sent to {humanize.intcomma(readers)} readers"
