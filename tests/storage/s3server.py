"""A real S3 server (moto's) with a proxy before it, as a process of its own: DataFusion reads without letting go of the GIL.

``python -m tests.storage.s3server`` prints the ports of the server and of the proxy and ends with its standard input. The proxy
passes everything on but one header, ``If-None-Match``: with ``ignore`` it is dropped, so that a second put of a name overwrites
the first, as old S3 look-alikes do; with ``501`` it is refused. Bucket names in the host and absolute URLs (a client that was
given a proxy) are understood too.

``POST /_cut`` makes the proxy keep the answer to the next commit of a Delta table back until ``POST /_go``, and then cut the connection.
"""

import http.client
import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

DOMAIN = "s3.test"


def proxy(server_port: int, mode: str) -> ThreadingHTTPServer:
    to_cut, go = threading.Semaphore(0), threading.Event()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # headers and body in one piece: in two, each answer waits 40 ms for an acknowledgement
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            return

        def forward(self) -> None:
            if self.path in ("/_cut", "/_go"):
                if self.path == "/_cut":
                    go.clear()
                    to_cut.release()
                else:
                    go.set()
                return self.answer(200, {}, b"")
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            conditional = headers.pop("if-none-match", None)
            if conditional and mode == "501":
                return self.answer(501, {}, b"<Error><Code>NotImplemented</Code></Error>")
            if conditional and mode == "honour":
                headers["if-none-match"] = conditional
            parts = urlsplit(self.path)
            host = (parts.netloc or headers["host"]).partition(":")[0]
            bucket = f"/{host.removesuffix(f'.{DOMAIN}')}" if host.endswith(f".{DOMAIN}") else ""
            headers["host"] = f"127.0.0.1:{server_port}"
            upstream = http.client.HTTPConnection("127.0.0.1", server_port)
            query = f"?{parts.query}" if parts.query else ""
            upstream.request(self.command, f"{bucket}{parts.path}{query}", body or None, headers)
            reply = upstream.getresponse()
            content = reply.read()
            upstream.close()
            if self.is_commit(parts.path) and reply.status == 200 and to_cut.acquire(blocking=False):
                go.wait(60)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.answer(reply.status, dict(reply.getheaders()), content)

        def is_commit(self, path: str) -> bool:
            return self.command == "PUT" and "/_delta_log/" in path and path.endswith(".json")

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            for name, value in headers.items():
                if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                    self.send_header(name, value)
            self.send_header("content-length", length or str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

    return ThreadingHTTPServer(("127.0.0.1", 0), Proxy)


def _put_one_after_the_other() -> None:
    """As S3 does: moto looks whether a name is there and then puts it, and under load two threads get between the two."""
    lock, put = threading.Lock(), S3Response.put_object

    def put_object(response: S3Response) -> object:
        with lock:
            return put(response)

    S3Response.put_object = put_object


def main(mode: str) -> None:
    _put_one_after_the_other()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    front = proxy(port, mode)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    print(port, front.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
