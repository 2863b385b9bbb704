"""Hostile, broken and merely odd files, each built on the spot, with the one outcome each must have."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pillow_heif
from PIL import Image

from tests.photos import forge
from tests.photos.forge import app1, ascii_tag, canary, chunk, encode, exif, jpeg, png, scene, segment, with_segments

READY = "ready"


@dataclass(frozen=True)
class Case:
    """One file and what must come of it: ``ready`` (then of what size), or the code of the refusal."""

    name: str
    build: Callable[[], bytes]
    outcome: str
    size: tuple[int, int] = (480, 320)


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.txt"), canary("zip"))
    return sink.getvalue()


@cache
def heif(form: str = "HEIF") -> bytes:
    if form == "AVIF":
        return encode(
            scene(), "AVIF", quality=80, exif=exif([ascii_tag(0x010F, canary("avif"))]), xmp=canary("avifxmp")
        )
    pillow_heif.register_heif_opener()
    return encode(scene(), "HEIF", quality=80, exif=b"Exif\0\0" + exif([ascii_tag(0x010F, canary("heif"))]))


def _noise_jpeg() -> bytes:
    values = np.random.default_rng(7).integers(0, 255, (320, 480, 3), dtype=np.uint8)
    return jpeg(Image.fromarray(values))


def _bomb_png() -> bytes:
    # 177 megapixels of one bit in half a megabyte and less.
    rows = zlib.compressobj(9)
    row = b"\0" + bytes(13312 // 8)
    data = b"".join(rows.compress(row) for _ in range(13312)) + rows.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 13312, 13312, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _header_only_png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def _hardly_any_data_png(width: int, height: int) -> bytes:
    return _header_only_png(width, height) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def _huge_jpeg_header() -> bytes:
    content = bytearray(jpeg())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(content)


def _huge_webp_header() -> bytes:
    canvas = (16382).to_bytes(3, "little") * 2
    return forge.riff(forge.webp_chunk(b"VP8X", b"\0\0\0\0" + canvas), encode(scene(), "WEBP")[12:])


def _zlib_bomb(size: int) -> bytes:
    return zlib.compress(canary("bomb") + bytes(size), 9)


def _itxt(size: int) -> bytes:
    return chunk(b"iTXt", b"Comment\0\1\0\0\0" + _zlib_bomb(size))


def _sixteen_bit_rgb() -> bytes:
    values = np.asarray(scene()).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return forge.png_of(480, 320, 16, 2, rows, chunk(b"tEXt", b"Author\0" + canary("text")))


def _sixteen_bit_grey() -> bytes:
    return encode(Image.fromarray(np.asarray(scene(mode="L")).astype(np.uint16) * 257), "PNG")


def _interlaced() -> bytes:
    # Adam7 of a picture of one pixel by one is one pass of one row.
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1)),
            chunk(b"IDAT", zlib.compress(b"\0" + bytes(forge.RED))),
            chunk(b"IEND", b""),
        )
    )


def _transparent_palette() -> bytes:
    picture = scene().quantize(8)
    return encode(picture, "PNG", transparency=0)


def _cmyk(**options: object) -> bytes:
    return jpeg(scene(mode="CMYK"), **options)


def _ycck() -> bytes:
    """Four components with an Adobe marker that says YCCK (transform 2)."""
    content = bytearray(_cmyk())
    at = content.index(b"Adobe")
    content[at + 11] = 2
    return bytes(content)


def _animated(form: str, **options: object) -> bytes:
    second = scene().transpose(Image.Transpose.ROTATE_180)
    return encode(scene(), form, save_all=True, append_images=[second], duration=100, **options)


def _mpo() -> bytes:
    second = with_segments(jpeg(scene(64, 64)), segment(0xFE, canary("mposecond")))
    with Image.open(io.BytesIO(second)) as other:
        return encode(scene(), "MPO", save_all=True, append_images=[other.copy()]) + canary("behind-mpo")


def _mp4() -> bytes:
    """The film a phone takes along with a picture: its first box, and data with a place in it."""
    film = canary("film")
    head = struct.pack(">I", 24) + b"ftypmp42\0\0\0\0isommp42"
    return head + struct.pack(">I", 8 + len(film)) + b"mdat" + film


def _google_motion() -> bytes:
    """Android's Motion Photo 1.0: XMP that says where the film begins, the film behind the picture."""
    film = _mp4()
    words = b'GCamera:MotionPhoto="1" GCamera:MicroVideo="1" GCamera:MicroVideoOffset="%d"' % len(film)
    packet = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + words + canary("motion") + b"</x:xmpmeta>"
    return with_segments(jpeg(), segment(0xE1, packet)) + film


def _samsung_motion() -> bytes:
    """Samsung's: the film in a trailer of named blocks, whose directory ends the file."""
    film = b"\0\0\x30\x0a" + struct.pack("<I", 16) + b"MotionPhoto_Data" + _mp4()
    entry = b"\0\0\x30\x0a" + struct.pack("<II", len(film), len(film))
    directory = b"SEFH" + struct.pack("<II", 107, 1) + entry
    return jpeg() + film + directory + struct.pack("<I", len(directory)) + b"SEFT"


def _live_heic() -> bytes:
    """A HEIC with the film as a further box, as Samsung writes it."""
    film = _mp4()
    return heif() + struct.pack(">I", 8 + len(film)) + b"mpvd" + film


def _exif_full() -> bytes:
    thumbnail = with_segments(jpeg(scene(96, 64)), segment(0xFE, canary("thumbnail")))
    maker = canary("maker") + bytes(range(256))
    payload = exif(
        [ascii_tag(0x010E, canary("description")), ascii_tag(0x010F, canary("make")),
         ascii_tag(0x013B, canary("artist")),
         (0x9C9B, 1, 200, canary("xptitle").decode().encode("utf-16-le").ljust(200, b"\0")[:200])],
        gps=[*forge.gps_tags([(30, 1), (35, 1), (0, 1)], "N", [(114, 1), (18, 1), (0, 1)], "E"),
             ascii_tag(0x1D, "2026:05:20"),
             (0x1B, 7, 60, (b"ASCII\0\0\0" + canary("gpsmethod")).ljust(60, b"\0")[:60])],
        details=[(0x927C, 7, len(maker), maker),
                 (0x9286, 7, 60, (b"ASCII\0\0\0" + canary("usercomment")).ljust(60)[:60]),
                 ascii_tag(0xA431, canary("serial")), ascii_tag(0xA435, canary("lens"))],
    )  # fmt: skip
    return with_segments(jpeg(), app1(payload), segment(0xE1, b"Exif\0\0" + payload[:8] + thumbnail))


def _exif_loop() -> bytes:
    # The first directory names itself as its successor and as its own sub-directories.
    entries = [
        (0x8769, 4, 1, struct.pack("<I", 8)),
        (0x8825, 4, 1, struct.pack("<I", 8)),
        (0x014A, 4, 1, struct.pack("<I", 8)),
    ]
    return with_segments(jpeg(), app1(b"II*\0" + struct.pack("<I", 8) + forge._ifd(entries, 8, following=8)))


def _exif_wild() -> bytes:
    entries = [(0x010F, 2, 0xFFFFFFF0, struct.pack("<I", 0xFFFFFF00)), (0x0112, 3, 1, b"\x63\0\0\0"),
               (0x8825, 4, 1, struct.pack("<I", 0x7FFFFFFF)), (0x8769, 4, 1, struct.pack("<I", 0xFFFFFFFF)),
               (0x011A, 5, 1, struct.pack("<I", 0x00FFFFFF)), (0x9999, 99, 7, b"????")]  # fmt: skip
    return with_segments(jpeg(), app1(b"II*\0" + struct.pack("<I", 8) + forge._ifd(entries, 8) + canary("wild")))


def _xmp() -> bytes:
    packet = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>" + canary("xmp") + b"</x:xmpmeta>"
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 40, 0) + canary("extended")
    photoshop = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", 8) + canary("iptc")
    return with_segments(jpeg(), segment(0xE1, packet), segment(0xE1, extended), segment(0xED, photoshop))


def _all_segments() -> bytes:
    planted = [segment(0xE0 + n, b"X%d\0" % n + canary(f"app{n}")) for n in range(2, 16) if n != 14]
    return with_segments(jpeg(), *planted, segment(0xFE, canary("comment")), segment(0xFE, canary("comment2")))


def _icc(profile: bytes, mode: str = "RGB") -> bytes:
    return jpeg(scene(mode=mode), icc_profile=profile)


def _webp_metadata() -> bytes:
    return encode(scene(), "WEBP", exif=exif([ascii_tag(0x010F, canary("webpexif"))]), xmp=canary("webpxmp"),
                  icc_profile=forge.srgb_profile()) + canary("behind-webp")  # fmt: skip


def _png_metadata() -> bytes:
    return png(
        chunk(b"tEXt", b"Comment\0" + canary("text")),
        chunk(b"zTXt", b"Author\0\0" + zlib.compress(canary("ztxt"))),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + canary("itxt")),
        chunk(b"eXIf", exif([ascii_tag(0x010F, canary("exif"))])),
        chunk(b"prVt", canary("private")),
        chunk(b"iCCP", b"p\0\0" + zlib.compress(forge.srgb_profile() + canary("icc"))),
        chunk(b"pHYs", struct.pack(">IIB", 1, 1, 0)),
    ) + canary("behind")


def _broken_checksum() -> bytes:
    content = bytearray(encode(scene(), "PNG"))
    content[content.index(b"IDAT") + 5] ^= 0xFF
    return bytes(content)


def _scanless_jpeg() -> bytes:
    content = jpeg()
    return content[: content.index(b"\xff\xda")] + b"\xff\xd9"


def _cut(build: Callable[[], bytes], share: float) -> Callable[[], bytes]:
    def build_cut() -> bytes:
        content = build()
        return content[: int(len(content) * share)]

    return build_cut


def _png_scene() -> bytes:
    return encode(Image.fromarray(np.random.default_rng(3).integers(0, 255, (320, 480, 3), dtype=np.uint8)), "PNG")


def _webp_scene() -> bytes:
    return encode(Image.fromarray(np.random.default_rng(3).integers(0, 255, (320, 480, 3), dtype=np.uint8)), "WEBP")


CASES = (
    # Nothing, hardly anything, and no picture at all
    Case("empty", lambda: b"", "empty_file"),
    Case("one-byte", lambda: b"\xff", "not_an_image"),
    Case("zeros", lambda: bytes(5000), "not_an_image"),
    Case("html-named-jpg", lambda: b"<!doctype html><script>alert(1)</script>", "not_an_image"),
    Case("pdf-before-png", lambda: b"%PDF-1.7\n" + png(), "not_an_image"),
    Case("zip", _zip, "not_an_image"),
    Case("executable", lambda: b"\x7fELF" + bytes(500), "not_an_image"),
    Case("mp4", lambda: struct.pack(">I", 24) + b"ftypisom\0\0\2\0isommp41" + bytes(400), "not_an_image"),
    # Pictures of kinds we do not take
    Case(
        "svg-script", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', "type_not_accepted"
    ),
    Case("svg-with-bom", lambda: b'\xef\xbb\xbf <?xml version="1.0"?><svg/>', "type_not_accepted"),
    Case("gif", lambda: encode(scene(), "GIF"), "type_not_accepted"),
    Case("gif-animated", lambda: _animated("GIF"), "type_not_accepted"),
    Case("gif-script", lambda: b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)", "type_not_accepted"),
    Case("bmp", lambda: encode(scene(), "BMP"), "type_not_accepted"),
    Case("tiff-little", lambda: encode(scene(), "TIFF"), "type_not_accepted"),
    Case("tiff-big", lambda: b"MM\0*" + bytes(64), "type_not_accepted"),
    Case("jpeg2000", lambda: encode(scene(), "JPEG2000"), "type_not_accepted"),
    Case("psd", lambda: b"8BPS\0\1" + bytes(64), "type_not_accepted"),
    # Bombs
    Case("bomb-177-megapixels", _bomb_png, "too_many_pixels"),
    Case("png-header-4-gigapixels", lambda: _hardly_any_data_png(65535, 65535), "too_many_pixels"),
    Case("png-header-2-to-31", lambda: _hardly_any_data_png(2**31 - 1, 2**31 - 1), "too_many_pixels"),
    Case("png-header-and-no-more", lambda: _header_only_png(65535, 65535), "truncated"),
    Case("jpeg-header-4-gigapixels", _huge_jpeg_header, "too_many_pixels"),
    Case("webp-canvas-268-megapixels", _huge_webp_header, "too_many_pixels"),
    Case("ztxt-bomb", lambda: png(chunk(b"zTXt", b"C\0\0" + _zlib_bomb(200 << 20))), "too_heavy"),
    Case("itxt-bomb", lambda: png(_itxt(200 << 20)), "too_heavy"),
    Case("text-bombs-by-number", lambda: png(*[_itxt(900_000)] * 40), "too_heavy"),
    Case("huge-plain-text", lambda: png(chunk(b"tEXt", b"C\0" + canary("text") * 300_000)), "too_heavy"),
    Case("icc-bomb", lambda: png(chunk(b"iCCP", b"p\0\0" + _zlib_bomb(200 << 20))), "too_heavy"),
    Case("line-1-by-60000", lambda: encode(Image.new("RGB", (1, 60000), forge.RED), "PNG"), "too_narrow"),
    Case("line-50000-by-2", lambda: jpeg(Image.new("RGB", (50000, 2), forge.RED)), "too_narrow"),
    # Cut short and broken
    Case("jpeg-cut-in-header", _cut(_noise_jpeg, 0.002), "truncated"),
    Case("jpeg-cut-at-half", _cut(_noise_jpeg, 0.5), "truncated"),
    Case("jpeg-cut-near-end", _cut(_noise_jpeg, 0.95), "truncated"),
    Case("jpeg-signature-only", lambda: b"\xff\xd8\xff\xe0", "truncated"),
    Case("jpeg-without-scan", _scanless_jpeg, "undecodable"),
    Case("jpeg-of-garbage", lambda: b"\xff\xd8\xff" + bytes(range(256)) * 20, "undecodable"),
    Case("png-cut-in-header", lambda: png()[:20], "truncated"),
    Case("png-cut-at-half", _cut(_png_scene, 0.5), "truncated"),
    Case("png-cut-near-end", _cut(_png_scene, 0.97), "truncated"),
    Case("png-without-data", lambda: _header_only_png(400, 300) + chunk(b"IEND", b""), "undecodable"),
    Case("png-broken-checksum", _broken_checksum, "undecodable"),
    Case("png-size-zero", lambda: _header_only_png(0, 300) + chunk(b"IEND", b""), "undecodable"),
    Case("webp-cut-at-half", _cut(_webp_scene, 0.5), "truncated"),
    Case("heic-cut-at-half", lambda: heif()[: len(heif()) // 2], "truncated"),
    Case("avif-cut-at-half", lambda: heif("AVIF")[: len(heif("AVIF")) // 2], "truncated"),
    Case(
        "heic-of-garbage",
        lambda: (
            struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + struct.pack(">I", 264) + b"mdat" + bytes(range(256))
        ),
        "undecodable",
    ),
    # Two things at once
    Case("jpeg-and-zip", lambda: jpeg() + _zip(), READY),
    Case("jpeg-and-html", lambda: jpeg() + b"<html><script>" + canary("html") + b"</script>", READY),
    Case("jpeg-comment-script", lambda: with_segments(jpeg(), segment(0xFE, b"*/alert(1)/*" + canary("js"))), READY),
    Case("png-and-pdf", lambda: png(chunk(b"tEXt", b"%PDF-1.7\0" + canary("pdf"))) + b"%%EOF", READY),
    Case("webp-and-zip", lambda: encode(scene(), "WEBP") + _zip(), READY),
    Case("mpo-two-pictures", _mpo, READY),
    # A film with the picture; several pictures in one
    Case("jpeg-motion-google", _google_motion, READY),
    Case("jpeg-motion-samsung", _samsung_motion, READY),
    Case("heic-motion", _live_heic, READY),
    Case("avif-sequence", lambda: _animated("AVIF", quality=80), READY),
    # Carriers of metadata
    Case("exif-everything", _exif_full, READY),
    Case("exif-loop", _exif_loop, READY),
    Case("exif-wild-offsets", _exif_wild, READY),
    Case("exif-of-garbage", lambda: with_segments(jpeg(), app1(canary("garbage") * 50)), READY),
    Case("xmp-and-iptc", _xmp, READY),
    Case("every-app-segment", _all_segments, READY),
    Case("png-every-chunk", _png_metadata, READY),
    Case("webp-every-chunk", _webp_metadata, READY),
    Case("heic", heif, READY),
    Case("avif", lambda: heif("AVIF"), READY),
    # Colour and depth
    Case("jpeg-progressive", lambda: jpeg(progressive=True), READY),
    Case("jpeg-grey", lambda: jpeg(scene(mode="L")), READY),
    Case("jpeg-cmyk", _cmyk, READY),
    Case("jpeg-ycck", _ycck, READY),
    Case("jpeg-icc-srgb", lambda: _icc(forge.srgb_profile() + canary("icc")), READY),
    Case("jpeg-icc-of-other-space", lambda: _icc(forge.swapped_profile()), READY),
    Case("jpeg-icc-malformed", lambda: _icc(canary("icc") * 20), READY),
    Case("jpeg-icc-of-wrong-mode", lambda: _icc(forge.srgb_profile(), "CMYK"), READY),
    Case("png-16-bit-rgb", _sixteen_bit_rgb, READY),
    Case("png-16-bit-grey", _sixteen_bit_grey, READY),
    Case("png-1-bit", lambda: encode(scene(mode="1"), "PNG"), READY),
    Case("png-palette-transparent", _transparent_palette, READY),
    Case("png-grey-alpha", lambda: encode(scene(mode="LA"), "PNG"), READY),
    Case("png-alpha", lambda: encode(scene(mode="RGBA"), "PNG"), READY),
    Case("png-interlaced", _interlaced, READY, (1, 1)),
    Case("png-animated", lambda: _animated("PNG"), READY),
    Case("webp-animated", lambda: _animated("WEBP"), READY),
    Case("webp-lossless-alpha", lambda: encode(scene(mode="RGBA"), "WEBP", lossless=True), READY),
    Case("one-pixel", lambda: jpeg(Image.new("RGB", (1, 1))), READY, (1, 1)),
)
