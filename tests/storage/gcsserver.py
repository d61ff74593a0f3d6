"""fake-gcs-server with a front that speaks the calls it lacks, as a process of its own.

fake-gcs-server knows Google's JSON calls, which pyarrow makes. delta-rs writes and lists by Google's older XML calls; the front
makes JSON calls of those, the condition ``x-goog-if-generation-match`` included, and passes everything else on.

``python -m tests.storage.gcsserver <port of fake-gcs-server> <port of the front>`` ends with its standard input.
"""

import http.client
import json
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

_HOP = ("connection", "transfer-encoding", "content-length", "date")


def front(server_port: int, port: int) -> ThreadingHTTPServer:
    uploads: dict[str, dict[int, bytes]] = {}
    one_at_a_time = threading.Lock()

    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # headers and body in one piece: in two, each answer waits 40 ms for an acknowledgement
        wbufsize = -1
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            return

        def handle_call(self) -> None:
            body = self.body()
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            bucket, _, name = parts.path.lstrip("/").partition("/")
            if bucket in ("storage", "upload", "download", "batch", "resumable"):
                return self.pass_on(body)
            if self.command == "GET" and not name:
                return self.list(bucket, query)
            if self.command == "POST" and "uploads" in query:
                upload = uuid.uuid4().hex
                uploads[upload] = {}
                answer = f"<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(unquote(name))}</Key><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                return self.answer(200, {}, answer.encode())
            if self.command == "PUT" and "partNumber" in query:
                uploads[query["uploadId"]][int(query["partNumber"])] = body
                return self.answer(200, {"ETag": f'"{query["partNumber"]}"'}, b"")
            if self.command == "POST" and "uploadId" in query:
                pieces = uploads.pop(query["uploadId"])
                return self.put(
                    bucket, unquote(name), b"".join(pieces[number] for number in sorted(pieces)), multipart=True
                )
            if self.command == "PUT":
                return self.put(bucket, unquote(name), body)
            return self.pass_on(body)

        def body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("content-length") or 0))
            pieces = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        def put(self, bucket: str, name: str, body: bytes, multipart: bool = False) -> None:
            query = {"uploadType": "media", "name": name}
            if (wanted := self.headers.get("x-goog-if-generation-match")) is not None:
                query["ifGenerationMatch"] = wanted
            path = f"/upload/storage/v1/b/{bucket}/o?{urlencode(query)}"
            # fake-gcs-server looks and writes in two steps
            with one_at_a_time:
                status, _, content = self.ask("POST", path, {"content-type": "application/octet-stream"}, body)
            if status != 200:
                return self.answer(status, {}, b"<Error></Error>")
            made = json.loads(content)
            headers = {"ETag": f'"{made["etag"]}"', "x-goog-generation": str(made["generation"])}
            done = f"<CompleteMultipartUploadResult><ETag>{escape(made['etag'])}</ETag></CompleteMultipartUploadResult>"
            self.answer(200, headers, done.encode() if multipart else b"")

        def list(self, bucket: str, query: dict[str, str]) -> None:
            after = query.get("start-after", "")
            asked = {name: query[name] for name in ("prefix", "delimiter") if query.get(name)}
            status, _, content = self.ask("GET", f"/storage/v1/b/{bucket}/o?{urlencode(asked)}", {}, b"")
            if status != 200:
                return self.answer(status, {}, b"<Error></Error>")
            found = json.loads(content)
            files = [item for item in found.get("items", []) if item["name"] > after]
            entries = "".join(
                f"<Contents><Key>{escape(item['name'])}</Key><LastModified>{item['updated']}</LastModified>"
                f"<Size>{item['size']}</Size><ETag>&quot;{escape(item['etag'])}&quot;</ETag></Contents>"
                for item in sorted(files, key=lambda item: item["name"])
            )
            folders = "".join(
                f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in found.get("prefixes", [])
            )
            self.answer(200, {}, f"<ListBucketResult>{entries}{folders}</ListBucketResult>".encode())

        def pass_on(self, body: bytes) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            self.answer(*self.ask(self.command, self.path, headers, body))

        def ask(
            self, method: str, path: str, headers: dict[str, str], body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            upstream = http.client.HTTPConnection("127.0.0.1", server_port)
            upstream.request(method, path, body, headers)
            reply = upstream.getresponse()
            found = reply.status, dict(reply.getheaders()), reply.read()
            upstream.close()
            return found

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            for name, value in headers.items():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("content-length", length or str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_call

    return ThreadingHTTPServer(("127.0.0.1", port), Front)


if __name__ == "__main__":
    threading.Thread(target=front(*map(int, sys.argv[1:])).serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
