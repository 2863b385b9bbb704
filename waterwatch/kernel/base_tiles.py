"""Maps of others that an operator lets people lay beneath ours: what the setting ``WATERWATCH_BASE_TILES`` holds."""

import json
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator


class BaseTiles(BaseModel):
    """One source of tiles. ``datum`` is that of its pictures: ``gcj02`` ones are shifted in the browser to fit ours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: dict[str, str] = Field(min_length=1)
    url: str = Field(max_length=500)
    type: Literal["raster", "vector"] = "raster"
    datum: Literal["wgs84", "gcj02"] = "wgs84"
    attribution: str = Field(min_length=1, max_length=300)
    maxzoom: int = Field(default=18, ge=1, le=22)
    layers: tuple[str, ...] = ()

    @field_validator("url")
    @classmethod
    def _url_is_a_template(cls, value: str) -> str:
        parts = urlsplit(value)
        places = all(value.count(place) == 1 for place in ("{z}", "{x}", "{y}"))
        host = parts.netloc
        is_plain = host == host.lower() and "@" not in host and not set(host) & set("{}*;,' \"")
        if parts.scheme not in ("http", "https") or not host or not is_plain or not places:
            raise ValueError("must be written like https://tiles.example.org/{z}/{x}/{y}.png")
        return value

    @model_validator(mode="after")
    def _vectors_are_in_our_datum(self) -> Self:
        if self.type == "vector" and (self.datum != "wgs84" or not self.layers):
            raise ValueError("a vector source is in wgs84 and names the layers to draw")
        return self

    @property
    def origin(self) -> str:
        """Scheme and host, as a content policy names it."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def described(self) -> dict[str, Any]:
        """As the page tells it to the script."""
        return self.model_dump(mode="json")


_LIST = TypeAdapter(tuple[BaseTiles, ...])


def read_base_tiles(text: str) -> tuple[BaseTiles, ...]:
    """The sources of a JSON list; an empty text names none. ``ValueError`` with what is wrong."""
    if not text.strip():
        return ()
    try:
        return _LIST.validate_python(json.loads(text))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{place}: {fault['msg'].removeprefix('Value error, ')}") from None
    except ValueError:
        raise ValueError("is no JSON list") from None
