"""IOS-13: a million devices moved in from lines of JSON, then the same again after a cut, and a NanoMDM database."""
import hashlib
import json
import subprocess
import time

import harness
import zonefiles as zf
from measure import cpu_seconds

DEVICES, STEP = 1_000_000, 10_000


def lines(path, devices):
    """A file as docs/migration.md describes it."""
    with open(path, "w", encoding="utf-8") as out:
        for i in range(devices):
            mark = hashlib.sha256(str(i).encode()).hexdigest()
            json.dump({"udid": f"{mark[:8]}-{mark[8:24]}".upper(), "topic": harness.TOPIC, "push_magic": mark[24:60], "token": mark, "certificates": [mark[::-1]],
                       "serial": f"IMP{i:09}", "imei": f"{i:015}", "model": "iPhone", "product": "iPhone15,2", "os_version": "17.5",
                       "unlock_token": "dW5sb2NrLXRva2Vu", "token_ms": 1700000000000 + i, "enrolled_ms": 1600000000000}, out)
            out.write("\n")


class Run:
    """mdmctl import, watched by its own lines of progress: seconds of CPU of tool and database for each stretch, memory."""

    def __init__(self, zone, pg, *args):
        self.pg, self.stretches, self.memory = pg, [], []
        self.process = subprocess.Popen([str(zf.BUILD / "mdmctl"), "--db", zone.db_url, "--keys", str(zone.key_file), "import", *map(str, args)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def cpu(self):
        return cpu_seconds([self.process.pid]) + cpu_seconds(self.pg.pids())

    def rss(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    def until(self, devices=None):
        """Reads progress until so many devices are done, or to the end."""
        began, cpu = time.monotonic(), self.cpu()
        for line in self.process.stderr:
            if " devices, " not in line:
                raise RuntimeError(line)
            now, used = time.monotonic(), self.cpu()
            self.stretches.append((now - began, used - cpu))
            self.memory.append(self.rss())
            began, cpu = now, used
            if devices and int(line.split()[1]) >= devices:
                return None
        out = self.process.communicate()[0]
        if self.process.returncode:
            raise RuntimeError(out)
        return out.splitlines()[0]


def per_1000(stretches):
    return round(sum(used for _, used in stretches) / len(stretches) / STEP * 1000, 4)


def ios_13(_):
    factory, pg = harness.Factory(), harness.Postgres("-c shared_buffers=128MB")
    try:
        zone = factory.zone("pgsql", pg=pg)
        source = factory.root / "devices.jsonl"
        lines(source, DEVICES)
        cut = Run(zone, pg, "jsonl", source)
        cut.until(DEVICES * 3 // 10)
        cut.process.kill()
        cut.process.communicate()
        began = time.monotonic()
        again = Run(zone, pg, "jsonl", source)
        said = again.until()
        took = time.monotonic() - began
        there = zone.sql("SELECT count(*) FROM source_record WHERE live = 1 AND kind = 'mdm'")[0][0]
    finally:
        factory.close()
        pg.close()
    new = again.stretches[DEVICES * 3 // 10 // STEP + 1:]
    tenth = max(len(new) // 10, 1)
    first, last = per_1000(cut.stretches[:tenth]), per_1000(new[-tenth:])
    rate = round(len(new) * STEP / sum(seconds for seconds, _ in new), 1)
    grown = round(again.memory[-1] - again.memory[0], 1)
    return {"id": "IOS-13", "name": f"import of {DEVICES:,} devices, cut at three tenths and run again (CPU s/1000 at the end; floor: at the beginning)",
            "value": last, "unit": "CPU s/1000", "reference": first, "ratio": round(last / first, 3), "cpu_s_per_1000": per_1000(new),
            "sql_per_request": None, "devices_per_second": rate, "unchanged_cpu_s_per_1000": per_1000(again.stretches[:DEVICES * 3 // 10 // STEP]),
            "memory_mb": [round(again.memory[0], 1), round(again.memory[-1], 1)], "seconds": round(took, 1), "said": said,
            "target": "ratio <= 1.3, memory grows by <= 40 MB, all there", "met": last <= 1.3 * first and grown <= 40 and there == DEVICES}
