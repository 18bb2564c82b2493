"""The server of the page: 127.0.0.1 alone, and only for requests with the token of the address.

Another page in the browser can send requests to this server, too. So each needs the token, the server's own
name as its host, and no other page as its origin. Not here: the answers (`playground`).
"""

from __future__ import annotations

import hmac
import json
import logging
import secrets
import socket
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ...diagnostics import Diagnostic, PolicyError, UsageError
from .decode_queue import bug
from .play_assets import PAGE_TYPE, asset, page
from .play_requests import LARGEST_REQUEST, request_object
from .playground import Playground, plain

ADDRESS = "127.0.0.1"
HTTP_PORT = 80
MOST_REQUESTS = 64  # at the same time
SECONDS_FOR_PLACE = 1.0  # in which a slow request ends
SECONDS_TO_SEND = 20  # of a request
SECONDS_TO_DRAIN = 0.2  # without a byte
JSON_TYPE = "application/json"
PLAIN = "text/plain; charset=utf-8"

log = logging.getLogger("dsldec")


class PlayServer(ThreadingHTTPServer):
    """Serves the page at a port of this machine. Raises `OSError` for a port that cannot be used."""

    daemon_threads = True
    request_queue_size = MOST_REQUESTS  # a browser waits a second where the queue is full

    def __init__(self, port: int, playground: Playground) -> None:
        self.playground = playground
        self.token = secrets.token_urlsafe(24)
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        self._unread: dict[Any, None] = {}  # connections without a whole request, the oldest first
        self._unread_lock = threading.Lock()
        super().__init__((ADDRESS, port), PlayRequest)

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins of the page itself. A browser leaves out the port 80."""
        ports = (f":{self.server_port}", "") if self.server_port == HTTP_PORT else (f":{self.server_port}",)
        return tuple(f"http://{name}{port}" for name in (ADDRESS, "localhost") for port in ports)

    @property
    def address(self) -> str:
        """The address of the page, with the token."""
        return f"{self.origins[0]}/{self.token}/"

    def server_close(self) -> None:
        super().server_close()
        self.playground.close()

    def server_bind(self) -> None:
        """Binds the port. The method of the library also looks up a name in the network."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.socket.getsockname()[:2]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts a thread for a request. Where too many run, the oldest one that is not read yet ends for it:
        slow senders without the token cannot keep the page out.
        """
        if not self._free.acquire(blocking=False):
            self._end_oldest_unread()
            if not self._free.acquire(timeout=SECONDS_FOR_PLACE):
                self.shutdown_request(request)
                return
        with self._unread_lock:
            self._unread[request] = None
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_read(request)
            self._free.release()

    def has_read(self, request: Any) -> None:
        """Notes that a request with the token is read whole."""
        with self._unread_lock:
            self._unread.pop(request, None)

    def _end_oldest_unread(self) -> None:
        with self._unread_lock:
            oldest = next(iter(self._unread), None)
            self._unread.pop(oldest, None)
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that closes a connection is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("a request failed")


class PlayRequest(BaseHTTPRequestHandler):
    """One request."""

    server: PlayServer
    timeout = SECONDS_TO_SEND

    def do_GET(self) -> None:
        if (path := self._path()) is None:
            return
        self.server.has_read(self.connection)
        if path == "":
            nonce = secrets.token_urlsafe(16)
            self._send(HTTPStatus.OK, page(nonce), PAGE_TYPE, nonce)
        elif (found := asset(path)) is not None:
            self._send(HTTPStatus.OK, *found)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing at this address")

    def do_POST(self) -> None:
        if (path := self._path()) is None or (body := self._body()) is None:
            return
        self.server.has_read(self.connection)
        name = path.removeprefix("api/")
        answer = self.server.playground.answers.get(name)
        if answer is None or name == path:
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing at this address")
            return
        try:
            self._answer(HTTPStatus.OK, answer(request_object(body)))
        except UsageError as wrong:
            self._answer(HTTPStatus.BAD_REQUEST, {"diagnostics": [plain(wrong.diagnostic)]})
        except PolicyError as wrong:
            self._answer(HTTPStatus.BAD_REQUEST, {"diagnostics": [plain(one) for one in wrong.diagnostics]})
        except Exception as failure:
            if isinstance(failure, OSError):
                raise
            log.exception("a request failed")
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"diagnostics": [plain(bug(failure))]})

    def _path(self) -> str | None:
        """The address after the token; `None` for a request that was refused."""
        hosts = tuple(origin.removeprefix("http://") for origin in self.server.origins)
        if self.headers.get("Host", "") not in hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "the request names another host")
            return None
        origin = self.headers.get("Origin")
        if origin is not None and origin not in self.server.origins:
            self._refuse(HTTPStatus.FORBIDDEN, "another page has sent the request")
            return None
        site = self.headers.get("Sec-Fetch-Site", "none")
        if site not in ("none", "same-origin") and not self._opens_the_page():
            self._refuse(HTTPStatus.FORBIDDEN, "another page has sent the request")
            return None
        _, _, rest = self.path.partition("?")[0].partition("/")
        token, slash, path = rest.partition("/")
        if not slash or not hmac.compare_digest(
            token.encode("latin-1", "replace"), self.server.token.encode()
        ):
            message = "the address lacks the token of this server, or has that of an older one"
            self._refuse(HTTPStatus.FORBIDDEN, message)
            return None
        return path

    def _opens_the_page(self) -> bool:
        """Whether somebody follows a link, as in a terminal inside a browser. The link has the token."""
        mode, place = self.headers.get("Sec-Fetch-Mode"), self.headers.get("Sec-Fetch-Dest")
        return self.command == "GET" and mode == "navigate" and place == "document"

    def _body(self) -> bytes | None:
        """The bytes of a request; `None` for one that was refused."""
        if self.headers.get_content_type() != JSON_TYPE:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the request is not JSON")
            return None
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "the request lacks its length")
            return None
        if int(length) > LARGEST_REQUEST:
            message = f"a request has at most {LARGEST_REQUEST} bytes"
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
            return None
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self._refuse(HTTPStatus.BAD_REQUEST, "the request is shorter than it says")
            return None
        return body

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Refuses a request: JSON for the page, a sentence for a person."""
        help = "open the address that `dsldec play` printed, or start it again"
        if self.command == "POST":
            self._drain()
            self._answer(status, {"diagnostics": [plain(Diagnostic("E0577", message, help=help))]})
        else:
            self._send(
                status, f"{message[0].upper()}{message[1:]}. {help[0].upper()}{help[1:]}.\n".encode(), PLAIN
            )

    def _drain(self) -> None:
        """Reads the rest of a refused request. Without it, the connection breaks before the browser has the
        answer.
        """
        self.connection.settimeout(SECONDS_TO_DRAIN)
        with suppress(OSError):
            left = LARGEST_REQUEST
            while left > 0 and (read := self.rfile.read1(left)):
                left -= len(read)
        self.connection.settimeout(SECONDS_TO_SEND)

    def _answer(self, status: HTTPStatus, answer: object) -> None:
        self._send(status, json.dumps(answer, allow_nan=False).encode(), JSON_TYPE)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, nonce: str = "") -> None:
        styles = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src data:; "
            f"style-src {styles}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The answer of the library to a request that is no HTTP, or of another method."""
        self._send(HTTPStatus(code), b"The server does not answer such a request.\n", PLAIN)

    def version_string(self) -> str:
        return "dsldec"

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: the terminal shows one line, and an address has the token."""
