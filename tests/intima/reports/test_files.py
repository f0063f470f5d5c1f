"""A document becomes a safe page and a readable PDF, whatever its texts hold."""

import io
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure as Drawn
from PIL import Image
from pypdf import PdfReader

from intima.reports import (
    FORMATS,
    Column,
    Document,
    Facts,
    Figure,
    Paragraph,
    Picture,
    Pictures,
    ReportFormat,
    Section,
    Table,
    write_report,
)

HOSTILE = '<script>alert("x")</script> & {{ 7 * 7 }} <b>'
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Reads a page and refuses what is not nested well."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read_page(data: bytes) -> Page:
    page = Page()
    page.feed(data.decode())
    page.close()
    assert page.open == []
    return page


def pdf_text(data: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)


def drawing(form: str, text: str = "in the figure") -> bytes:
    out, figure = io.BytesIO(), Drawn(figsize=(2, 1))
    figure.text(0.1, 0.5, text)
    figure.savefig(out, format=form, metadata={"Date": None} if form == "svg" else {"CreationDate": None})
    return out.getvalue()


def document(text: str = "text", rows: int = 2, *, figures: int = 1) -> Document:
    columns = (Column("Name", numeric=False), Column("Value"))
    return Document(
        title=f"Title {text}",
        subtitle=f"Subtitle {text}",
        opening=(Paragraph(text, "lead"), Facts(((text, text),)), Facts(())),
        sections=(
            Section(
                f"Section {text}",
                (
                    Paragraph(text, "warning"),
                    Table(columns, tuple((text, f"row{i}") for i in range(rows)), f"Note {text}"),
                    *(Figure(f"Caption {text}", 2, 1, drawing) for _ in range(figures)),
                ),
            ),
        ),
        footer=f"Footer {text}",
    )


def test_a_page_needs_nothing_from_outside() -> None:
    page = read_page(write_report(document(), "html"))
    assert not [t for t, _ in page.tags if t in {"script", "link", "iframe", "object"}]
    sources = [a["src"] for t, a in page.tags if t == "img"]
    assert [str(s)[:26] for s in sources] == ["data:image/svg+xml;base64,"]
    assert [a["alt"] for t, a in page.tags if t == "img"] == ["Caption text"]
    policy = next(a for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in str(policy["content"])


def test_every_text_is_on_the_page_and_in_the_pdf() -> None:
    wanted = (
        "Title text",
        "Subtitle text",
        "Mind:",
        "Section text",
        "row1",
        "Note text",
        "Caption text",
        "Footer text",
    )
    page = read_page(write_report(document(), "html")).text
    pdf = pdf_text(write_report(document(), "pdf"))
    for text in wanted:
        assert text in page
        assert text in pdf
    assert "in the figure" in pdf


def test_markup_in_a_text_stays_text() -> None:
    page = read_page(write_report(document(HOSTILE), "html"))
    assert not [t for t, _ in page.tags if t == "script"]
    assert HOSTILE in page.text
    assert "{{ 7 * 7 }}" in pdf_text(write_report(document(HOSTILE), "pdf")).replace("\n", " ")


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(max_size=300))
def test_any_text_makes_both_files(text: str) -> None:
    read_page(write_report(document(text, figures=0), "html"))
    assert write_report(document(text, figures=0), "pdf").startswith(b"%PDF")


@pytest.mark.parametrize("text", ["\ud800", "\x00\x1b[31m", "x" * 100_000, "\u202eevil", "名前", "a\nb"])
def test_awkward_texts(text: str) -> None:
    page = read_page(write_report(document(text), "html")).text
    assert not {"\x00", "\x1b", "\u202e"} & set(page)
    assert len(PdfReader(io.BytesIO(write_report(document(text), "pdf"))).pages) >= 1


def test_a_long_table_goes_on_with_its_header() -> None:
    reader = PdfReader(io.BytesIO(write_report(document(rows=200), "pdf")))
    assert len(reader.pages) > 3
    assert all("Value" in page.extract_text() for page in reader.pages[1:3])
    assert f"Page {len(reader.pages)}" in reader.pages[-1].extract_text()


def test_figures_lie_on_their_own_pages() -> None:
    reader = PdfReader(io.BytesIO(write_report(document(figures=12), "pdf")))
    counts = [page.extract_text().count("in the figure") for page in reader.pages]
    captions = [page.extract_text().count("Caption text") for page in reader.pages]
    assert counts == captions
    assert sum(counts) == 12
    assert len(counts) > 1


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_document_is_the_same_bytes(form: ReportFormat) -> None:
    assert write_report(document(), form) == write_report(document(), form)


def test_pictures_lie_beside_each_other_and_share_a_page_with_a_figure() -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), (0, 128, 255)).save(out, "PNG")
    shown = Pictures((Picture("left one", out.getvalue(), "image/png"), Picture(HOSTILE, out.getvalue(), "image/png")))
    figure = Figure("A drawing", 2.0, 1.0, drawing)  # type: ignore[arg-type]
    made = Document("t", "s", (Section("both", (shown, figure, Pictures(()))),))
    (page,) = PdfReader(io.BytesIO(write_report(made, "pdf"))).pages
    images = [image.image.convert("RGB").getpixel((5, 5)) for image in page.images]
    assert images
    assert set(images) == {(0, 128, 255)}
    assert "in the figure" in page.extract_text()
    assert "left one" in page.extract_text()
    assert write_report(made, "pdf") == write_report(made, "pdf")
    html = read_page(write_report(made, "html"))
    sources = [attrs["src"] or "" for tag, attrs in html.tags if tag == "img"]
    assert [source.split(";")[0] for source in sources] == ["data:image/png", "data:image/png", "data:image/svg+xml"]
