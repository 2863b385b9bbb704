"""A PDF holds what the page says, and nothing of whoever made it; a page gets nothing it was not handed."""

import io
import subprocess
import sys
import threading

import pytest
from pypdf import PdfReader

from tests.messaging.servers import rude_server
from waterwatch.printing.pdf import NotGiven, print_pdf, qr_svg

PAGE = (
    '<html lang="zh-CN"><head><title>关于长江污水直排的函</title></head><body><h1>关于长江污水直排的函</h1>'
    "<p>武汉市生态环境局：請查收。</p>{}</body></html>"
)


def read(written: bytes) -> PdfReader:
    return PdfReader(io.BytesIO(written))


def test_chinese_is_text_in_fonts_the_file_carries() -> None:
    found = read(print_pdf(PAGE.format("<p>" + "江湖网" * 3000 + "</p>")))
    assert len(found.pages) > 2
    assert "武汉市生态环境局：請查收。" in found.pages[0].extract_text()
    assert f"2 / {len(found.pages)}" in found.pages[1].extract_text()
    fonts = [font.get_object() for font in found.pages[0]["/Resources"]["/Font"].values()]
    for font in fonts:
        (inside,) = font["/DescendantFonts"]
        descriptor = inside.get_object()["/FontDescriptor"]
        assert "Noto" in descriptor["/FontName"]
        assert {"/FontFile2", "/FontFile3"} & set(descriptor)


def test_it_says_its_title_and_language_and_nothing_of_us() -> None:
    written = print_pdf(PAGE.format(""))
    found = read(written)
    assert dict(found.metadata or {}) == {"/Title": "关于长江污水直排的函"}
    assert found.trailer["/Root"]["/Lang"] == "zh-CN"
    assert found.trailer["/Root"]["/MarkInfo"]["/Marked"]  # tagged: a screen reader reads it in order
    assert found.xmp_metadata is None
    assert "/ID" not in found.trailer
    for trace in (b"WeasyPrint", b"pydyf", b"CreationDate", b"/tmp", b"/home", b"file:"):
        assert trace not in written


def test_the_same_page_gives_the_same_bytes_in_another_process() -> None:
    program = (
        "import sys; from tests.printing.test_pdf import PAGE; from waterwatch.printing.pdf import *\n"
        "sys.stdout.buffer.write(print_pdf(PAGE.format('<img src=\"given:qr.svg\">'), {'qr.svg': qr_svg('x')}))"
    )
    once, again = (subprocess.run([sys.executable, "-c", program], capture_output=True, check=True) for _ in range(2))
    assert once.stdout == again.stdout
    assert once.stdout.startswith(b"%PDF-1.7")


@pytest.mark.parametrize(
    "markup",
    [
        '<img src="file:///etc/passwd">',
        '<img src="/etc/passwd">',
        '<img src="http://{peer}/x.png">',
        '<img src="given:other.jpg">',
        '<link rel="stylesheet" href="http://{peer}/x.css">',
        '<style>@import url("http://{peer}/x.css");</style>',
        '<p style="background: url(http://{peer}/x.png)">x</p>',
        "<style>@font-face {{ font-family: x; src: url(http://{peer}/x.woff) }} p {{ font-family: x }}</style>",
        '<svg xmlns="http://www.w3.org/2000/svg"><image href="http://{peer}/x.png" width="9" height="9"/></svg>',
        '<object data="http://{peer}/x.svg"></object>',
        '<embed src="http://{peer}/x.svg">',
        '<link rel="attachment" href="file:///etc/passwd">',
    ],
)
def test_nothing_is_fetched_that_was_not_handed_over(markup: str) -> None:
    asked = threading.Event()
    with rude_server(lambda _peer: asked.set()) as port:
        try:
            written = print_pdf(PAGE.format(markup.format(peer=f"127.0.0.1:{port}")))
        except NotGiven:
            written = b""
    assert not asked.is_set()
    assert b"root:" not in written
    assert not written or "/EmbeddedFiles" not in str(read(written).trailer["/Root"])


def test_a_code_is_one_path_with_its_quiet_zone() -> None:
    drawn = qr_svg("https://waters.example.org/a/abc").decode()
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 37 37"')
    assert drawn.count("<path") == 1


def test_a_process_that_prints_still_refuses_photos_that_are_cut_off() -> None:
    asked = (
        "import waterwatch.photos.pixels, waterwatch.printing.pdf; from PIL import ImageFile;"
        "raise SystemExit(ImageFile.LOAD_TRUNCATED_IMAGES)"
    )
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
