"""PRF-04: a phone's FolderSync through the gate beside bare ProxyPass to the same server."""
import harness
from clients import Console
from mail import PATH, eas_id
from measure import row, turns
from sim.eas_client import Phone
from sim.wbxml import Node, encode

FOLDERS = encode(Node("FH.FolderSync", Node("FH.SyncKey", "F1")))
NO_NEWS = encode(Node("FH.FolderSync", Node("FH.Status", 1), Node("FH.SyncKey", "F1"), Node("FH.Changes", Node("FH.Count", 0))))
ROUNDS = 5


def mail_server(bench):
    """A back end that is as quick as can be: httpd with a file for an answer."""
    back = bench.factory.zone("sqlite3", modules=False, children=2, threads=64, log_level="warn", extra_main=f"""
Listen 127.0.0.1:{bench.mail_port}
<VirtualHost 127.0.0.1:{bench.mail_port}>
    ForceType application/vnd.ms-sync.wbxml
</VirtualHost>""")
    back.prepare()
    (back.htdocs / PATH[1:]).write_bytes(NO_NEWS)
    return back.start()


def behind(zone, port):
    """Makes the server on this port the one of the local people."""
    console = Console(zone)
    source = next(s["id"] for s in console.get("/sources")["items"] if s["kind"] == "local")
    console.post("/eas-servers", {"name": "Bench", "host": "127.0.0.1", "port": port, "tls": False, "sources": [source]})


class Mail:
    """A known phone of the zone's first device and the server behind the gate; with: both children know them."""

    def __init__(self, bench):
        self.bench = bench
        self.phone = Phone(bench.zone.device_port, harness.PERSON, harness.PERSON_PASSWORD, device_id=eas_id(bench.devices[0]),
                           ca=str(bench.zone.tls_dir / "ca.pem"))
        self.body = bench.folder / "foldersync"
        self.body.write_bytes(FOLDERS)
        self.headers = [f"{k}: {v}" for k, v in self.phone.headers().items() if k != "User-Agent"]

    def __enter__(self):
        self.back = mail_server(self.bench)
        behind(self.bench.zone, self.bench.mail_port)
        harness.wait_for(self.ready)
        return self

    def __exit__(self, *_):
        self.back.close()

    def ready(self):
        codes = []
        for _ in range(8):
            codes.append(self.phone.post("FolderSync", body=FOLDERS).http)
            self.phone.close()
        return set(codes) == {200}

    def load(self, path=PATH):
        return self.bench.load(kind="application/vnd.ms-sync.wbxml", method="POST", path=f"{path}?{self.phone.query('FolderSync')}",
                               raw=self.body, headers=self.headers, expect=len(NO_NEWS))


def prf_04(bench):
    """Log-in, device and verdict come from shared memory; the same kept connections to both sides, the same request. Judged by CPU time:
    on a machine that does other work, requests/s tell who else was busy."""
    with Mail(bench) as mail:
        floors, works = turns(lambda: mail.load("/bare"), mail.load, ROUNDS)
    got = row("PRF-04", "ActiveSync through the gate (floor: bare ProxyPass to the same server)", works, floors,
              target="ratio >= 0.9 (by CPU time), no SQL")
    by_cpu = round(got["reference_cpu_s_per_1000"] / got["cpu_s_per_1000"], 3)
    return {**got, "ratio_by_cpu": by_cpu, "met": by_cpu >= 0.9 and got["sql_per_request"] == 0}
