"""A document as one HTML file: styles and figures inside, no script, nothing loaded."""

import base64
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template

from intima.reports.document import Document, Figure, Picture, printable


def write_html(document: Document) -> bytes:
    """Return the document as UTF-8 HTML5."""
    return _template().render(document=document).encode("utf-8", errors="replace")


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["data_url"] = _data_url
    environment.filters["printable"] = printable
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    return environment.from_string(files("intima").joinpath("assets/report.html.jinja").read_text(encoding="utf-8"))


def _data_url(image: Figure | Picture) -> str:
    """Return the figure as an image of its own: ids inside several drawings may not meet on one page."""
    if isinstance(image, Picture):
        return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"
    return "data:image/svg+xml;base64," + base64.b64encode(image.render("svg")).decode()
