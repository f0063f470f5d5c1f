"""A document as PDF on A4: ReportLab sets words and tables, the pages of figures are laid on top as they are."""

import io
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any, assert_never
from xml.sax.saxutils import escape

from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, PdfObject, StreamObject
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import inch, mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import CondPageBreak, Flowable, Image, KeepTogether, LongTable, SimpleDocTemplate, Spacer
from reportlab.platypus import Paragraph as Words
from reportlab.platypus import Table as Grid

from intima.reports.document import (
    LONGEST_TEXT,
    Block,
    Document,
    Facts,
    Figure,
    Paragraph,
    Pictures,
    Section,
    Table,
    printable,
)
from intima.reports.fonts import bold, regular

_REGULAR, _BOLD = "IntimaSans", "IntimaSans-Bold"
_MARGIN = 18 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_LONGEST_CELL = 400
_NAMES = 52 * mm
"""Width of the names of facts."""
_LARGEST_SCALE = 1.3
"""Figures are made for a column of a journal."""
_GREATEST_FIGURE = A4[1] - 2 * _MARGIN - 30 * mm
_GREATEST_PICTURE = 88 * mm
_GAP = 4 * mm
"""Between pictures."""
_SOFT, _LINE, _TINT, _WARN = (colors.HexColor(c) for c in ("#57606a", "#d0d7de", "#eef4f9", "#fff4e5"))
_BLUE, _VERMILION = (colors.HexColor(c) for c in ("#0072b2", "#d55e00"))
_ONE_AT_A_TIME = Lock()
"""ReportLab's fonts belong to the process."""


def write_pdf(document: Document) -> bytes:
    """Return the document as PDF, text as text."""
    with _ONE_AT_A_TIME:
        _register_fonts()
        places: list[_Place] = []
        story: list[Flowable] = [
            Words(_safe(document.title), _style("title")),
            Words(_safe(document.subtitle), _style("soft")),
            Spacer(0, 3 * mm),
        ]
        for block in document.opening:
            story += _flow(block, places)
        for section in document.sections:
            story += _section(section, places)
        out = io.BytesIO()
        title = printable(document.title)
        template = SimpleDocTemplate(
            out, pagesize=A4, title=title, author="Intima", invariant=1, lang="en",
            leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=_MARGIN, bottomMargin=_MARGIN + 4 * mm,
        )  # fmt: skip
        footer = _footer(f"{printable(document.footer)}")
        template.build(story, onFirstPage=footer, onLaterPages=footer)
    return _with_figures(out.getvalue(), places)


def _section(section: Section, places: "list[_Place]") -> list[Flowable]:
    """Keep a heading with the figure that follows it, or with the first lines of anything else."""
    heading, flows = Words(_safe(section.title), _style("heading")), [_flow(block, places) for block in section.blocks]
    if section.blocks and isinstance(section.blocks[0], Figure):
        first, *others = flows
        return [KeepTogether([heading, *first]), *(f for flow in others for f in flow)]
    return [CondPageBreak(35 * mm), heading, *(f for flow in flows for f in flow)]


@lru_cache(maxsize=1)
def _register_fonts() -> None:
    """Use the typeface of the figures."""
    pdfmetrics.registerFont(TTFont(_REGULAR, regular()))
    pdfmetrics.registerFont(TTFont(_BOLD, bold()))


@lru_cache(maxsize=16)
def _style(name: str) -> ParagraphStyle:
    shared: dict[str, Any] = {"fontName": _REGULAR, "fontSize": 8.5, "leading": 12, "splitLongWords": 1}
    more: dict[str, dict[str, Any]] = {
        "plain": {"spaceAfter": 2 * mm},
        "title": {"fontName": _BOLD, "fontSize": 15, "leading": 19, "spaceAfter": 1 * mm},
        "heading": {"fontName": _BOLD, "fontSize": 10.5, "leading": 14, "spaceBefore": 6 * mm, "spaceAfter": 2 * mm},
        "soft": {"textColor": _SOFT, "fontSize": 7.5, "leading": 10, "spaceAfter": 2 * mm},
        "lead": {
            "fontSize": 10, "leading": 14, "backColor": _TINT, "borderPadding": 6, "spaceBefore": 3 * mm,
            "spaceAfter": 4 * mm, "leftIndent": 6, "rightIndent": 6,
        },
        "warning": {
            "backColor": _WARN, "borderPadding": 4, "leftIndent": 4, "rightIndent": 4, "spaceBefore": 2 * mm,
            "spaceAfter": 2.5 * mm,
        },
        "cell": {"fontSize": 7.5, "leading": 9.5},
        "number": {"fontSize": 7.5, "leading": 9.5, "alignment": TA_RIGHT},
        "header": {"fontSize": 7.5, "leading": 9.5, "textColor": _SOFT, "fontName": _BOLD},
        "header number": {
            "fontSize": 7.5, "leading": 9.5, "textColor": _SOFT, "fontName": _BOLD, "alignment": TA_RIGHT,
        },
    }  # fmt: skip
    return ParagraphStyle(name, **(shared | more[name]))


def _safe(text: str, *, most: int = LONGEST_TEXT) -> str:
    return escape(printable(text, most=most).encode("utf-8", errors="replace").decode())


def _flow(block: Block, places: "list[_Place]") -> list[Flowable]:
    match block:
        case Paragraph():
            mark = "<b>Mind:</b> " if block.tone == "warning" else ""
            return [Words(mark + _safe(block.text), _style(block.tone))]
        case Facts():
            rows = [[Words(_safe(n), _style("cell")), Words(_safe(v), _style("cell"))] for n, v in block.rows]
            return [_grid(rows, [_NAMES, _WIDTH - _NAMES], header=0), Spacer(0, 3 * mm)] if rows else []
        case Table():
            return _table(block)
        case Figure():
            caption = Words(_safe(block.caption), _style("soft"))
            return [KeepTogether([_Placed(block, places), caption, Spacer(0, 2 * mm)])]
        case Pictures():
            return [KeepTogether([_beside(block), Spacer(0, 2 * mm)])] if block.items else []
        case _:
            assert_never(block)


def _beside(pictures: Pictures) -> Grid:
    """Set pictures beside each other over their captions, each as large as its share of the width allows."""
    room = min(_WIDTH / len(pictures.items), _WIDTH * 0.6)
    images = [_fitted(Image(io.BytesIO(p.data)), width=room - _GAP, height=_GREATEST_PICTURE) for p in pictures.items]
    captions = [Words(_safe(p.caption), _style("soft")) for p in pictures.items]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), _GAP),
        ("TOPPADDING", (0, 0), (-1, -1), 1 * mm),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
    ]
    return Grid([images, captions], colWidths=[room] * len(images), style=style, hAlign="LEFT")


def _fitted(image: Image, *, width: float, height: float) -> Image:
    scale = min(width / image.imageWidth, height / image.imageHeight)
    image.drawWidth, image.drawHeight, image.hAlign = image.imageWidth * scale, image.imageHeight * scale, "LEFT"
    return image


def _table(table: Table) -> list[Flowable]:
    styles = ["number" if c.numeric else "cell" for c in table.columns]
    heads = ["header number" if c.numeric else "header" for c in table.columns]
    header = [Words(_safe(c.title), _style(s)) for c, s in zip(table.columns, heads, strict=True)]
    rows = [
        [Words(_safe(v, most=_LONGEST_CELL), _style(s)) for v, s in zip(row, styles, strict=True)] for row in table.rows
    ]
    found: list[Flowable] = [_grid([header, *rows], _widths(table), header=1)]
    if table.note:
        found += [Spacer(0, 1 * mm), Words(_safe(table.note), _style("soft"))]
    return [*found, Spacer(0, 3 * mm)]


def _widths(table: Table) -> list[float]:
    """Share the width by the longest text of each column, of its title by the longest word; long texts wrap."""
    titles = [max(map(len, column.title.split()), default=0) for column in table.columns]
    longest = [max([title, *(len(row[i]) for row in table.rows)]) for i, title in enumerate(titles)]
    wanted = [min(max(n, 6), 34) for n in longest]
    return [_WIDTH * w / sum(wanted) for w in wanted]


def _grid(rows: list[list[Words]], widths: list[float], *, header: int) -> Grid:
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, _LINE),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 5),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    return LongTable(rows, colWidths=widths, repeatRows=header, splitInRow=1, style=style, hAlign="LEFT")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a figure comes to lie."""

    pdf: bytes
    page: int
    """From 1."""
    x: float
    y: float
    """Of its lower left corner on the page, in points."""
    scale: float


class _Placed(Flowable):  # type: ignore[misc]
    """Room for a figure, which notes where it came to lie."""

    def __init__(self, figure: Figure, places: list[_Place]) -> None:
        super().__init__()
        self._pdf, self._places = figure.render("pdf"), places
        self._scale = min(
            _LARGEST_SCALE, _WIDTH / (figure.width_in * inch), _GREATEST_FIGURE / (figure.height_in * inch)
        )
        self.width, self.height = (self._scale * inch * side for side in (figure.width_in, figure.height_in))

    def draw(self) -> None:
        """Note page and position."""
        x, y = self.canv.absolutePosition(0, 0)
        self._places.append(_Place(self._pdf, self.canv.getPageNumber(), x, y, self._scale))


def _footer(text: str) -> Any:
    def draw(canvas: Any, template: Any) -> None:
        canvas.saveState()
        canvas.setFont(_REGULAR, 7)
        canvas.setFillColor(_SOFT)
        canvas.drawString(_MARGIN, _MARGIN - 6 * mm, text[:130])
        canvas.drawRightString(A4[0] - _MARGIN, _MARGIN - 6 * mm, f"Page {template.page}")
        canvas.restoreState()

    return draw


def _with_figures(pdf: bytes, places: list[_Place]) -> bytes:
    """Lay every figure over its page as a form XObject (ISO 32000-1, 8.10): its drawing is copied, not interpreted."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    for number in sorted({place.page for place in places}):
        page: Any = writer.pages[number - 1]
        resources: Any = page["/Resources"].get_object()
        forms = resources.setdefault(NameObject("/XObject"), DictionaryObject()).get_object()
        drawn = b"Q"
        for place in (p for p in places if p.page == number):
            name = f"/Figure{len(forms)}"
            forms[NameObject(name)] = _form(writer, place.pdf)
            drawn += f" q {place.scale:.5f} 0 0 {place.scale:.5f} {place.x:.3f} {place.y:.3f} cm {name} Do Q".encode()
        before, after = (writer._add_object(_encoded(data)) for data in (b"q", drawn))
        page[NameObject("/Contents")] = ArrayObject([before, page.raw_get("/Contents"), after])
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _form(writer: PdfWriter, pdf: bytes) -> PdfObject:
    """Return the only page of a PDF as a form of another."""
    page: Any = PdfReader(io.BytesIO(pdf)).pages[0]
    form = _encoded(page["/Contents"].get_object().get_data())
    form[NameObject("/Type")], form[NameObject("/Subtype")] = NameObject("/XObject"), NameObject("/Form")
    form[NameObject("/BBox")] = page.mediabox
    form[NameObject("/Resources")] = page["/Resources"].get_object().clone(writer)
    return writer._add_object(form)


def _encoded(data: bytes) -> StreamObject:
    stream = DecodedStreamObject()
    stream.set_data(data)
    return stream.flate_encode()
