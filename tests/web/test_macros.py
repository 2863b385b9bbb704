"""The parts templates are put together from: what they promise to readers of the page."""

from pathlib import Path

import pytest
from flask import Flask, render_template_string
from flask_babel import Babel

TEMPLATES = Path(__file__).resolve().parents[2] / "waterwatch" / "web" / "templates"


@pytest.fixture
def app() -> Flask:
    app = Flask("test", static_folder=None, template_folder=str(TEMPLATES))
    Babel(app, default_locale="zh_Hans")
    app.jinja_env.globals["viewer_language"] = lambda: "zh-Hans"
    return app


def _render(app: Flask, call: str, **values: object) -> str:
    imports = '{% import "_macros.html" as parts %}{% import "_maps.html" as maps %}{% import "_kinds.html" as kinds %}'
    with app.test_request_context():
        return render_template_string(imports + "{{ " + call + " }}", **values)


@pytest.mark.parametrize(
    ("rank", "word"), [(1, "蓝色·一般"), (4, "红色·特别重大"), (None, "没有警示"), (0, "没有警示")]
)
def test_a_level_is_colour_shape_and_word(app: Flask, rank: int | None, word: str) -> None:
    assert (
        _render(app, "parts.severity_badge(rank)", rank=rank) == f'<span class="level level-{rank or 0}">{word}</span>'
    )


def test_a_field_ties_label_hint_and_faults_to_its_control(app: Flask) -> None:
    html = _render(app, "parts.field('lon', '经度', '1', hint='例如 114', errors=['看不懂'], required=true)")
    assert '<label class="field-label" for="lon">经度</label>' in html
    assert 'id="lon-hint"' in html
    assert 'id="lon-error"' in html
    assert 'aria-describedby="lon-hint lon-error" aria-invalid="true" required' in html


def test_what_people_typed_never_becomes_markup(app: Flask) -> None:
    evil = '"><script>alert(1)</script>'
    for call in (
        "parts.field('note', evil, evil, hint=evil, errors=[evil], type='textarea', attributes={'placeholder': evil})",
        "parts.radios('a', evil, [(evil, evil)], evil)",
        "parts.error_summary({evil: [evil]})",
        "parts.steps([{'standing': 'done', 'title': evil, 'detail': evil}])",
        "parts.photo(evil, evil, evil, full=evil)",
        "parts.notice('info', evil, evil)",
        "maps.mini_map(evil, lon=evil, lat=evil)",
        "maps.public_map({'foam': evil})",
    ):
        html = _render(app, call, evil=evil)
        assert "<script>alert" not in html, call


def test_a_fault_leads_to_its_field(app: Flask) -> None:
    html = _render(app, "parts.error_summary({'kind': ['请选择。']})")
    assert '<a href="#kind">请选择。</a>' in html
    assert _render(app, "parts.error_summary({})").strip() == ""


def test_every_kind_has_a_drawing_of_its_own(app: Flask) -> None:
    from waterwatch.reports.tables import KINDS

    drawings = {_render(app, "kinds.kind_icon(kind)", kind=kind) for kind in KINDS}
    assert len(drawings) == len(KINDS)
    assert all(drawing.startswith("<svg") and "aria-hidden" in drawing for drawing in drawings)
