"""A ticket for whoever is logged in at your own system, as a Flask application.

Run it beside your login:  flask --app flask_login run
with REDRUSH_LOGIN_KEY naming the file, and REDRUSH_PAGE the address of the participants' page.
"""

import os
from urllib.parse import quote

from flask import Flask, abort, redirect, request
from werkzeug.wrappers import Response

from redrush import Issuer

app = Flask(__name__)
issuer = Issuer.from_file(os.environ["REDRUSH_LOGIN_KEY"])


@app.get("/redrush")
def enter() -> Response:
    """Send somebody who is logged in to the page, with a ticket in the fragment: no server or proxy is sent that."""
    user = request.headers.get("X-Employee")  # put your own session check here
    if user is None:
        abort(401)
    page = os.environ.get("REDRUSH_PAGE", "http://127.0.0.1:8080/")
    return redirect(f"{page}#ticket={quote(issuer.ticket(user, lasts_s=7_200), safe='')}", 303)
