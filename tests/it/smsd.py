"""An SMS gateway for the tests: a real HTTP server, with TLS if it gets a context, that answers as it is told and keeps what it got."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TAKEN = (202, {"status": "OK", "id": "m-1"}, {})


class Gateway:
    """`answer`: (status, body, headers) or a function of the request that returns one; None: it says nothing until it is released, and hangs up."""

    def __init__(self, ctx=None, port=0, answer=TAKEN):
        self.got, self.answer, self.released = [], answer, threading.Event()
        me = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                me.got.append({"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body})
                answer = me.answer(me.got[-1]) if callable(me.answer) else me.answer
                if answer is None:
                    me.released.wait(60)
                    self.close_connection = True
                    return
                status, said, headers = answer
                data = (said if isinstance(said, str) else json.dumps(said)).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_POST

            def log_message(self, *args):
                pass
        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        if ctx:
            self.http.socket = ctx.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def texts(self):
        return [json.loads(g["body"]) for g in self.got]

    def stop(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
