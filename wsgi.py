"""The WSGI entry point: ``gunicorn wsgi:application``."""

from waterwatch.app import create_app
from waterwatch.kernel.settings import Settings

application = create_app(Settings.from_environ())
