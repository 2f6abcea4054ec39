"""An APNs-like server on loopback: HTTP/2, client certificate required, scriptable, records what it gets."""
import json
import socket
import ssl
import struct
import threading
import time
import uuid

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions


class Apns:
    """script[token] = [{"status": 410, "reason": "Unregistered", "timestamp": ms}, …]: taken one by one, the last one stays.
    Other steps: {"hang": True} never answers, {"goaway": True} answers and ends the connection, {"goaway": "refuse"} ends it without
    having looked at the push, {"reset": True} cuts the connection, {"delay": seconds}. A token of zeros is BadDeviceToken.
    listen(token, call): call() runs after each accepted push."""

    def __init__(self, cert, key, client_ca, port=0):
        self.script, self.pushes, self.listeners = {}, [], {}
        self.connections = 0
        self.lock = threading.Lock()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.context.load_verify_locations(client_ca)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.set_alpn_protocols(["h2"])
        self.socket = socket.create_server(("127.0.0.1", port))
        self.port = self.socket.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def listen(self, token, call):
        self.listeners[token.hex() if isinstance(token, bytes) else token] = call

    def of(self, token):
        name = token.hex() if isinstance(token, bytes) else token
        with self.lock:
            return [p for p in self.pushes if p["token"] == name]

    def close(self):
        self.socket.close()
        for sock in self.open:
            try:
                sock.close()
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                raw, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw):
        try:
            sock = self.context.wrap_socket(raw, server_side=True)
        except OSError:
            raw.close()
            return
        if sock.selected_alpn_protocol() != "h2":
            sock.close()
            return
        self.open.append(sock)
        self.connections += 1
        conn = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        conn.initiate_connection()
        conn.update_settings({3: 100})
        streams = {}
        try:
            sock.sendall(conn.data_to_send())
            while True:
                data = sock.recv(65535)
                if not data:
                    return
                for event in conn.receive_data(data):
                    self._event(conn, sock, streams, event)
                sock.sendall(conn.data_to_send())
        except (OSError, h2.exceptions.ProtocolError, StopIteration):
            pass
        finally:
            sock.close()

    def _event(self, conn, sock, streams, event):
        if isinstance(event, h2.events.RequestReceived):
            streams[event.stream_id] = [dict(event.headers), b""]
        elif isinstance(event, h2.events.DataReceived):
            streams[event.stream_id][1] += event.data
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            headers, body = streams.pop(event.stream_id)
            self._answer(conn, sock, event.stream_id, headers, body)

    def _answer(self, conn, sock, stream, headers, body):
        token = headers.get(":path", "").rpartition("/")[2]
        push = {"token": token, "headers": headers, "body": body, "at": time.time()}
        step = self._step(token)
        with self.lock:
            self.pushes.append(push)
        if step.get("hang"):
            return
        if step.get("reset"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise StopIteration
        if step.get("goaway") == "refuse":
            conn.close_connection(h2.errors.ErrorCodes.NO_ERROR, json.dumps({"reason": "Shutdown"}).encode(), max(stream - 2, 0))
            sock.sendall(conn.data_to_send())
            raise StopIteration
        if step.get("delay"):
            time.sleep(step["delay"])
        status, reason = step.get("status", 200), step.get("reason")
        if status == 200 and not reason:
            status, reason = self._check(headers, token, body)
        answer = {} if status == 200 else {"reason": reason or "InternalServerError"}
        if "timestamp" in step:
            answer["timestamp"] = step["timestamp"]
        data = json.dumps(answer).encode() if answer else b""
        conn.send_headers(stream, [(":status", str(status)), ("apns-id", headers.get("apns-id") or str(uuid.uuid4()).upper())],
                          end_stream=not data)
        if data:
            conn.send_data(stream, data, end_stream=True)
        push["status"] = status
        if step.get("goaway"):
            conn.close_connection(h2.errors.ErrorCodes.NO_ERROR, json.dumps({"reason": "Shutdown"}).encode(), stream)
            sock.sendall(conn.data_to_send())
            raise StopIteration
        if status == 200 and token in self.listeners:
            threading.Thread(target=self.listeners[token], daemon=True).start()

    def _step(self, token):
        with self.lock:
            steps = self.script.get(token) or []
            if not steps:
                return {}
            return steps.pop(0) if len(steps) > 1 else steps[0]

    @staticmethod
    def _check(headers, token, body):
        """What Apple's server refuses at once."""
        if headers.get(":method") != "POST":
            return 405, "MethodNotAllowed"
        if not headers.get(":path", "").startswith("/3/device/"):
            return 404, "BadPath"
        if not token or token != token.lower() or any(c not in "0123456789abcdef" for c in token):
            return 400, "BadDeviceToken"
        if not token.strip("0"):
            return 400, "BadDeviceToken"
        if not headers.get("apns-topic"):
            return 400, "MissingTopic"
        if headers.get("apns-push-type") != "mdm":
            return 400, "InvalidPushType"
        try:
            if set(json.loads(body)) != {"mdm"}:
                return 400, "PayloadEmpty"
        except ValueError:
            return 400, "PayloadEmpty"
        return (413, "PayloadTooLarge") if len(body) > 4096 else (200, None)
