"""HTML to PDF; the only importer of WeasyPrint. No network, no file of this machine but its fonts."""

from collections.abc import Mapping
from typing import Any, Final

from PIL import ImageFile
from qrcode.constants import ERROR_CORRECT_M
from qrcode.main import QRCode
from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

# WeasyPrint makes Pillow take broken pictures for whole ones, everywhere in the process that imports it: citizens'
# photos would no more be refused for being cut off. Ours are whole.
ImageFile.LOAD_TRUNCATED_IMAGES = False

GIVEN: Final = "given:"  # what a page calls the files it is handed: <img src="given:photo.jpg">
MEDIA_TYPE: Final = "application/pdf"
_MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "svg": "image/svg+xml"}
# Quiet paper: black on white, one grey. The numbers of pages are outside of the text, as letters have them.
STYLES: Final = """
@page { size: A4; margin: 20mm 22mm 18mm;
        @bottom-center { content: counter(page) " / " counter(pages); font: 9pt "Noto Sans CJK SC", sans-serif; } }
html { font-family: "Noto Serif CJK SC", "Noto Serif CJK TC", serif; font-size: 11pt; line-height: 1.6; color: #111;
     }
body { margin: 0; }
h1, h2, th, .plain { font-family: "Noto Sans CJK SC", "Noto Sans CJK TC", sans-serif; }
h1 { font-size: 16pt; line-height: 1.35; margin: 0 0 6mm; }
h2 { font-size: 12pt; margin: 6mm 0 2mm; break-after: avoid; }
p { margin: 0 0 2.5mm; orphans: 2; widows: 2; text-align: justify; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 1mm 2mm 1mm 0; border-bottom: 0.2mm solid #999; }
thead { display: table-header-group; }
tr, img, figure { break-inside: avoid; }
img { max-width: 100%; }
"""


class NotGiven(FatalURLFetchingError):  # type: ignore[misc]  # the library is untyped
    """A page names something it was not handed: a mistake of its template, or somebody's words that became markup."""


class _Given(URLFetcher):  # type: ignore[misc]  # the library is untyped
    """Gives the files of one document and asks nobody."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(allowed_protocols=())
        self._files = files

    def fetch(self, url: str, _headers: object = None) -> Any:
        """One of the files, by its name. Raises :class:`NotGiven`."""
        name = url.removeprefix(GIVEN)
        if not url.startswith(GIVEN) or name not in self._files:
            raise NotGiven("not given")
        media_type = _MEDIA_TYPES[name.rpartition(".")[2]]
        return URLFetcherResponse(url, self._files[name], {"Content-Type": media_type})


def print_pdf(html: str, files: Mapping[str, bytes] | None = None, *, styles: str = "") -> bytes:
    """A page as a tagged PDF. ``files`` are the pictures it names as ``given:<name>.jpg``, ``.png`` or ``.svg``.

    The same arguments give the same bytes on the same machine. What the file says of itself is the title and language
    of the page, nothing of us: neither program nor time. Assumes the fonts of ``fonts-noto-cjk``.
    ``styles`` are added to :data:`STYLES`.

    Raises:
        NotGiven: the page names anything else.
    """
    return print_counted(html, files, styles=styles)[0]


def print_counted(html: str, files: Mapping[str, bytes] | None = None, *, styles: str = "") -> tuple[bytes, int]:
    """What :func:`print_pdf` makes, and how many pages it has."""
    counts: list[int] = []

    def finish(document: Any, pdf: Any) -> None:
        counts.append(len(document.pages))
        _say_nothing(document, pdf)

    fonts = FontConfiguration()
    fetcher = _Given(files or {})
    sheets = [CSS(string=sheet, font_config=fonts, url_fetcher=fetcher) for sheet in (STYLES, styles) if sheet]
    page = HTML(string=html, url_fetcher=fetcher, base_url=None)
    written = page.write_pdf(
        stylesheets=sheets, font_config=fonts, finisher=finish, pdf_tags=True, pdf_identifier=b"", dpi=200
    )
    assert isinstance(written, bytes)
    return written, counts[0]


def _say_nothing(_document: object, pdf: Any) -> None:
    for name in ("Producer", "Creator", "CreationDate", "ModDate"):
        pdf.info.pop(name, None)


def qr_svg(words: str) -> bytes:
    """A QR code (ISO/IEC 18004, error correction M, quiet zone of four modules) as one SVG path."""
    code = QRCode(error_correction=ERROR_CORRECT_M, border=4)
    code.add_data(words)
    matrix = code.get_matrix()
    path = "".join(
        f"M{column} {row}h1v1h-1z" for row, line in enumerate(matrix) for column, is_dark in enumerate(line) if is_dark
    )
    size = len(matrix)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><path fill="#000" d="{path}"/></svg>'
    ).encode()
