"""IOS-13: devices moved in from lines of JSON, into an empty zone (cut off and run again) and into one that has a million already."""
import hashlib
import json
import subprocess
import time

import harness
import zonefiles as zf
from fleet import RECORDS, filling, generate
from measure import cpu_seconds

DEVICES, THERE, STEP = 100_000, 1_000_000, 10_000


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
        few, many = (factory.zone("pgsql", pg=pg) for _ in range(2))
        generate(many, filling(THERE), RECORDS)
        source = factory.root / "devices.jsonl"
        lines(source, DEVICES)
        cut = Run(few, pg, "jsonl", source)
        cut.until(DEVICES // 2)
        cut.process.kill()
        cut.process.communicate()
        again = Run(few, pg, "jsonl", source)
        said = [again.until()]
        large = Run(many, pg, "jsonl", source)
        said.append(large.until())
        there = [zone.sql("SELECT count(*) FROM certificate WHERE imported = 1")[0][0] for zone in (few, many)]
    finally:
        factory.close()
        pg.close()
    half = DEVICES // 2 // STEP
    value, floor, grown = per_1000(large.stretches), per_1000(cut.stretches), round(large.memory[-1] - large.memory[0], 1)
    return {"id": "IOS-13", "name": f"import of {DEVICES:,} devices into a zone of {THERE:,} (floor: an empty one)", "value": value, "unit": "CPU s/1000",
            "reference": floor, "ratio": round(value / floor, 3), "cpu_s_per_1000": value, "sql_per_request": None,
            "devices_per_second": round(DEVICES / sum(seconds for seconds, _ in large.stretches), 1),
            "unchanged_cpu_s_per_1000": per_1000(again.stretches[:half]), "memory_mb": [round(large.memory[0], 1), round(large.memory[-1], 1)],
            "said": said, "target": "ratio <= 1.3, memory grows by <= 16 bytes a device and 4 MB, all there after the cut",
            "met": value <= 1.3 * floor and grown <= 4 + DEVICES * 16 / 2**20 and there == [DEVICES, DEVICES]}
