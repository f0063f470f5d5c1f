"""A document of words, tables and figures, and the two files it can become."""

from typing import Literal

from intima.reports.document import (
    Block,
    Column,
    Document,
    Facts,
    Figure,
    Paragraph,
    Picture,
    Pictures,
    Section,
    Table,
)
from intima.reports.html import write_html
from intima.reports.pdf import write_pdf

ReportFormat = Literal["html", "pdf"]
FORMATS: dict[ReportFormat, str] = {"html": "text/html", "pdf": "application/pdf"}
"""Media type by format."""


def write_report(document: Document, form: ReportFormat) -> bytes:
    """Return a document as one HTML file that needs no network, or as PDF; the same bytes every time."""
    return write_html(document) if form == "html" else write_pdf(document)


__all__ = [
    "FORMATS",
    "Block",
    "Column",
    "Document",
    "Facts",
    "Figure",
    "Paragraph",
    "Picture",
    "Pictures",
    "ReportFormat",
    "Section",
    "Table",
    "write_report",
]
