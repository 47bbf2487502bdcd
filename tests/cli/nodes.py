"""A node of a chain that is not always as it should be: what it does not answer itself, the sandbox's chain does."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

Answer = tuple[int, bytes]


class QuietServer(ThreadingHTTPServer):
    """A server that prints nothing when a client leaves: its stderr is also the stderr of a command under test."""

    def handle_error(self, request: object, client_address: object) -> None: ...


@contextmanager
def serve_node(url: str, answer: Callable[[bytes], Answer | None]) -> Generator[str]:
    """Serve an RPC address, and end with the block.

    Args:
        url: The RPC address behind it.
        answer: Given a question, the status and body of its own answer, or None.
    """

    class Node(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = self.rfile.read(int(self.headers["content-length"]))
            status, body = answer(question) or (200, httpx.post(url, content=question).content)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    server = QuietServer(("127.0.0.1", 0), Node)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
