"""The page's files, served by Flask."""

from __future__ import annotations

import mimetypes
from importlib import resources

from flask import Flask, Response, abort, request
from werkzeug.exceptions import HTTPException


def create_page() -> Flask:
    """Return the WSGI application of the page: its HTML, scripts and styles, and the API's schema."""
    page = Flask(__name__, static_folder=None)
    # In memory, so that no thread waits for a client that reads slowly.
    static = resources.files("event_viewer") / "static"
    files = {file.name: file.read_bytes() for file in static.iterdir()}

    @page.get("/static/<name>")
    def send(name: str) -> Response:
        if name not in files:
            abort(404, "there is no such file")
        kind = mimetypes.guess_type(name)[0]
        response = Response(files[name], mimetype=kind or "application/octet-stream")
        # Of the content, since an image's files have no time of their own.
        response.add_etag()
        response.cache_control.no_cache = True
        response.make_conditional(request)
        return response

    @page.get("/")
    def index() -> Response:
        return send("index.html")

    @page.get("/api/openapi.json")
    def schema() -> Response:
        return send("openapi.json")

    @page.errorhandler(HTTPException)
    def refuse(error: HTTPException) -> tuple[dict[str, str | None], int]:
        return {"error": error.description}, error.code or 500

    return page
