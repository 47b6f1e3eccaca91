"""A ticket for whoever is logged in at your own system, as a FastAPI application.

Run it beside your login:  uvicorn fastapi_login:app
with REDRUSH_LOGIN_KEY naming the file, and REDRUSH_PAGE the address of the participants' page.
"""

import os
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import RedirectResponse

from redrush import Issuer

app = FastAPI()
issuer = Issuer.from_file(os.environ["REDRUSH_LOGIN_KEY"])


def employee(session: Annotated[str | None, Header(alias="X-Employee")] = None) -> str:
    """Return who is logged in. Put your own session check here; this one trusts a header of your single sign-on."""
    if session is None:
        raise HTTPException(401)
    return session


@app.get("/redrush-ticket")
def ticket(user: Annotated[str, Depends(employee)]) -> dict[str, str]:
    """Return a ticket that lasts two hours."""
    return {"ticket": issuer.ticket(user, lasts_s=7_200)}


@app.get("/redrush")
def enter(user: Annotated[str, Depends(employee)]) -> RedirectResponse:
    """Send somebody who is logged in to the page, with a ticket in the fragment: no server or proxy is sent that."""
    page = os.environ.get("REDRUSH_PAGE", "http://127.0.0.1:8080/")
    return RedirectResponse(f"{page}#ticket={quote(issuer.ticket(user, lasts_s=7_200), safe='')}", 303)
