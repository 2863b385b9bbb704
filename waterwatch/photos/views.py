"""Serving pictures, and words for photos that could not be used. Who may see one, the calling view decides."""

import base64
import uuid

from flask import Response
from flask_babel import lazy_gettext as _l

from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.photos import queries
from waterwatch.photos.rules import MADE_ANEW_WITHIN_S
from waterwatch.photos.service import SealedOriginal
from waterwatch.web.house import house

# A picture is data and nothing else, wherever it is opened.
PICTURE_CSP = "default-src 'none'; sandbox"
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/heif": "heic", "image/avif": "avif"}

REFUSAL_WORDS = {
    "empty_file": _l("这个文件是空的。请重新选择照片。"),
    "not_an_image": _l("这不是照片文件。请选择手机拍摄的照片。"),
    "type_not_accepted": _l("不支持这种图片格式。请选择 JPEG、PNG、WebP、HEIC 或 AVIF 照片。"),
    "truncated": _l("照片没有传完整。请重新选择并再传一次。"),
    "undecodable": _l("照片已损坏，无法打开。请换一张，或重新拍摄。"),
    "too_many_pixels": _l("照片的像素太多。请用普通相机模式拍摄，或先缩小再传。"),
    "too_narrow": _l("照片太窄太长，看不清内容。请不要使用全景或长截图。"),
    "too_heavy": _l("照片无法在安全范围内处理。请换一张照片，或截取其中一部分。"),
    "timed_out": _l("照片处理时间过长。请换一张照片，或先缩小再传。"),
}


def serve_derivative(
    photo_id: uuid.UUID, size_px: int, *, cache_control: str, is_for_moderator: bool = False
) -> Response:
    """One rebuilt picture. Raises :class:`NotFound` when there is none of that size.

    While it is being made anew it may show what was just found in need of covering: then only moderators see it, and
    for all others it is :class:`Unavailable` for some seconds. It is read whole, a megabyte at most, while a store that
    breaks off can still be answered with a page of ours.
    """
    with transaction(house().sessions) as session:
        picture = queries.derivative(session, photo_id, size_px)
    if picture is None:
        raise NotFound("photo_not_found")
    if picture.is_pending and not is_for_moderator:
        raise Unavailable("photo_is_made_anew", retry_after_s=MADE_ANEW_WITHIN_S)
    response = Response(b"".join(house().objects.open(picture.key)), mimetype="image/jpeg")
    response.headers["Content-Disposition"] = f'inline; filename="{size_px}.jpg"'
    response.headers["Cache-Control"] = cache_control
    response.headers["Content-Security-Policy"] = PICTURE_CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def serve_original(original: SealedOriginal) -> Response:
    """A sealed original, bit for bit, to be saved: no browser is to open what a stranger sent.

    Who may have it was asked, and put on record, before (``photos.service.open_original``). Its digest (RFC 9530) is
    that of the record, so that whoever is handed the file can hold it against it.
    """
    response = Response(house().objects.open(original.key), mimetype="application/octet-stream")
    name = f"original-{original.sha256.hex()[:12]}.{_ENDINGS.get(original.media_type, 'bin')}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Content-Length"] = str(original.size_bytes)
    response.headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(original.sha256).decode()}:"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Security-Policy"] = PICTURE_CSP
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
