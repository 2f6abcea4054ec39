"""PRF-13 and PRF-15: two zones, one with a thousand devices in its database and one with a million, the same requests in turn.

CPU is that of httpd and of PostgreSQL together. All but the few that send requests are rows only: that a full cache costs no more is PRF-07.
"""
import statistics
import time

from fleet import RECORDS, filling, generate
from measure import POLL, Bench, acknowledged, fill_queues, idle, token_update
from relay import Mail
from sim.device import CHECKIN_TYPE

FEW, MANY, ROUNDS, STARTS, QUEUE = 1_000, 1_000_000, 3, 3, 3000


def world(devices):
    bench = Bench()
    generate(bench.zone, filling(devices), RECORDS)
    fill_queues(bench, QUEUE)
    return bench


def started(bench):
    """Seconds from the start to the first answered poll."""
    device = bench.devices[0]
    bench.zone.stop()
    device.http.close()
    began = time.monotonic()
    bench.zone.start()
    device.poll()
    return time.monotonic() - began


def whole(rounds):
    return statistics.median(got["cpu_s_per_1000"] + got["db_cpu_s_per_1000"] for got in rounds)


def measured(few, many):
    with Mail(few) as few_mail, Mail(many) as many_mail:
        mails = {few: few_mail, many: many_mail}
        works = {"command cycle": lambda b: b.load(idle, POLL, result=acknowledged), "TokenUpdate": lambda b: b.load(token_update, CHECKIN_TYPE),
                 "mail": lambda b: mails[b].load(), "Idle poll": lambda b: b.load(idle, POLL)}
        costs = {}
        for name, work in works.items():
            if name == "Idle poll":
                for b in mails:
                    b.zone.sql("UPDATE command SET open = 0, state = 'cancelled' WHERE open = 1")
                    [device.poll() for device in b.devices]
            rounds = [(work(few), work(many)) for _ in range(ROUNDS)]
            costs[name] = whole(r[0] for r in rounds), whole(r[1] for r in rounds)
    return costs


def growth(_):
    few, many = world(FEW), None
    try:
        many = world(MANY)
        costs = measured(few, many)
        starts = [(started(few), started(many)) for _ in range(STARTS)]
    finally:
        few.close()
        if many:
            many.close()
    ratios = {name: round(cost[1] / cost[0], 3) for name, cost in costs.items()}
    worst = max(ratios, key=ratios.get)
    small, large = (statistics.median(s[i] for s in starts) for i in (0, 1))
    return [{"id": "PRF-13", "name": f"cost with {MANY:,} devices beside {FEW:,}, worst: {worst}", "value": round(costs[worst][1], 4), "unit": "CPU s/1000",
             "reference": round(costs[worst][0], 4), "ratio": ratios[worst], "ratios": ratios, "costs": costs, "cpu_s_per_1000": None,
             "sql_per_request": None, "target": "<= 1.3", "met": ratios[worst] <= 1.3},
            {"id": "PRF-15", "name": f"from the start to the first answered poll, {MANY:,} devices (floor: {FEW:,})", "value": round(large, 2), "unit": "s",
             "reference": round(small, 2), "ratio": round(large / small, 2), "cpu_s_per_1000": None, "sql_per_request": None,
             "target": "<= 2 s", "met": large <= 2}]
