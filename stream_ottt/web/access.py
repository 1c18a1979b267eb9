"""Who may see the page: the Host and Origin headers, and a token where others can reach the address."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token that nobody can guess: 128 random bits."""
    return secrets.token_urlsafe(16)


class Access:
    """Lets a request through to ``app``, or answers it with 403.

    A page of another site can make a browser send requests here. It cannot make the browser hide where they come from:
    the Host header must be a name of this machine (a stranger's name that resolves to 127.0.0.1 is refused), and the
    Origin header, where there is one, must be that of this page.

    The token comes once in the address, ``/?token=…``; the answer puts it into a cookie that scripts cannot read.

    Args:
        app: what is guarded.
        host: the address that the server is bound to.
        port: its port.
        token: what a browser must know; None lets every browser on this machine in.
        names: host names by which others reach this machine, beside its own name and its addresses.
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, token: str | None, names: tuple[str, ...] = ()) -> None:
        self._app = app
        self._token = token
        self._cookie = f"stream-ottt-{port}"
        self._loopback = is_loopback(host)
        own = () if self._loopback else (socket.gethostname(), socket.getfqdn(), host)
        self._names = {name.lower() for name in ("localhost", *own, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        answer = self._refusal(headers) or self._token_answer(scope, headers)
        if answer is None:
            await self._app(scope, receive, send)
        else:
            await answer(scope, receive, send)

    def _refusal(self, headers: Headers) -> Response | None:
        """An answer to a request that another site may have made."""
        host = headers.get("host", "")
        if not self._is_own(host):
            return _forbidden(f"this page is not served as {host[:100]!r}; open it by its address or as localhost")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return _forbidden("this request comes from another site")
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound by a name server.
        return address.is_loopback or not self._loopback

    def _token_answer(self, scope: Scope, headers: Headers) -> Response | None:
        """An answer to a request that brings the token in its address, or no token where one is needed."""
        if self._token is None:
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["type"] == "http" and given and self._is_token(given[0]):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(self._cookie, given[0], httponly=True, samesite="lax")
            return answer
        if self._is_token(_cookie(headers, self._cookie)):
            return None
        return _forbidden("a token is needed: open the address that the run printed, which ends in /?token=…")

    def _is_token(self, given: str) -> bool:
        assert self._token is not None
        return hmac.compare_digest(given.encode(), self._token.encode())


def _cookie(headers: Headers, name: str) -> str:
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[name].value if name in cookies else ""


def _forbidden(message: str) -> Response:
    return PlainTextResponse(f"stream-ottt: {message}\n", status_code=403, headers=SECURITY_HEADERS)
