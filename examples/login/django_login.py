"""A ticket for whoever is logged in at your own system, as a Django view.

The view is what you need; the rest makes this file a whole site:  python django_login.py runserver
with REDRUSH_LOGIN_KEY naming the file, and REDRUSH_PAGE the address of the participants' page.
"""

import os
import sys
from urllib.parse import quote

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path

from redrush import Issuer

issuer = Issuer.from_file(os.environ["REDRUSH_LOGIN_KEY"])


def enter(request: HttpRequest) -> HttpResponse:
    """Send somebody who is logged in to the page, with a ticket in the fragment: no server or proxy is sent that."""
    user = request.headers.get("X-Employee")  # put your own session check here: request.user.get_username()
    if user is None:
        return HttpResponse(status=401)
    page = os.environ.get("REDRUSH_PAGE", "http://127.0.0.1:8080/")
    return HttpResponseRedirect(f"{page}#ticket={quote(issuer.ticket(user, lasts_s=7_200), safe='')}")


urlpatterns = [path("redrush", enter)]

if __name__ == "__main__":
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY=os.urandom(16).hex())
    execute_from_command_line(sys.argv)
