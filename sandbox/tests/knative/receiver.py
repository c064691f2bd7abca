"""What runs in the tests' containers: keeps the events it gets and shows them.

GET / lists them, GET /env the environment, GET /fetch?URL fetches through the pod's own network.
GET /stream sends a line, and one more for each GET /release, three in all.
FAIL_FIRST events are refused with 503 before any is taken, HANG_FIRST events are not answered at all,
STATUS answers all with it, REPLY_TYPE answers with an event of that type.
"""

import json
import os
import signal
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

events = []
failures = [int(os.environ.get("FAIL_FIRST", "0"))]
hangs = [int(os.environ.get("HANG_FIRST", "0"))]
released = threading.Semaphore(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes

    def answer(self, status, body=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/env":
            self.answer(200, json.dumps(dict(os.environ)).encode())
        elif self.path.startswith("/fetch?"):
            with urllib.request.urlopen(self.path.partition("?")[2], timeout=60) as answer:
                self.answer(answer.status, answer.read())
        elif self.path == "/stream":
            self.stream()
        elif self.path == "/release":
            released.release()
            self.answer(200)
        else:
            self.answer(200, json.dumps(events).encode())

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            if number:
                released.acquire(timeout=60)
            part = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if failures[0] > 0:
            failures[0] -= 1
            return self.answer(503, b"not yet")
        if hangs[0] > 0:
            hangs[0] -= 1
            return threading.Event().wait()
        if "STATUS" in os.environ:
            return self.answer(int(os.environ["STATUS"]), b"refused")
        headers = {name.lower(): value for name, value in self.headers.items()}
        events.append({"headers": headers, "body": body.decode()})
        print("received", headers.get("ce-id"), flush=True)
        reply = os.environ.get("REPLY_TYPE")
        if reply is None or headers.get("ce-type") == reply:
            return self.answer(200)
        names = {"id": f"re-{headers['ce-id']}", "source": "/replies", "type": reply}
        attributes = {f"ce-{name}": value for name, value in names.items()}
        return self.answer(200, b"", {"ce-specversion": "1.0", **attributes})

    def log_message(self, *_):
        pass


address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
server = ThreadingHTTPServer(address, Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
