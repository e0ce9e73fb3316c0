"""Somebody with a browser, as a script: follows redirects, keeps cookies, fills the issuer's own forms.

In: where a client sends the person to. Out: where the issuer sends the person back to.
"""

import html.parser
import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request

MOST_PAGES = 12
SECONDS = 10


class _Form(html.parser.HTMLParser):
    """The one form of a page: where it goes, and its fields."""

    def __init__(self, page: str):
        super().__init__()
        self.action, self.fields = "", {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "form":
            self.action = found["action"]
        elif tag == "input":
            self.fields[found["name"]] = found.get("value", "")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at before they are followed."""

    def redirect_request(self, *_):
        return None


def allow(name: str, url: str, callback: str) -> str:
    """Signs in under a name and consents, in a browser of its own; the address below `callback` at the end."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    opener = urllib.request.build_opener(cookies, _Stay)
    form = None
    for _ in range(MOST_PAGES):
        try:
            answer = opener.open(url, data=form, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            if error.code not in (302, 303):
                raise RuntimeError(f"the issuer answers {error.code}: {error.read().decode()[:500]}") from None
            url, form = urllib.parse.urljoin(url, error.headers["Location"]), None
            if url.startswith(callback):
                return url
            continue
        page = _Form(answer.read().decode())
        if "login" in page.fields:
            page.fields |= {"login": name, "password": "any"}
        url, form = urllib.parse.urljoin(url, page.action), urllib.parse.urlencode(page.fields).encode()
    raise RuntimeError("the issuer's pages do not end")
