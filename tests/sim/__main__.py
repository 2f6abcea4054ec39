"""python3 -m sim --portal URL --ca FILE --people FILE -n 20: enrols devices through the portal and keeps them polling."""
import argparse
import json
import random
import signal
import sys
import threading
import time

from .device import Device, Portal

NAMES = ["Lobby", "Reception", "Field", "Spare", "Workshop", "Office", "Travel", "Training"]


def one(index, args, people, stop, report):
    rng = random.Random(f"{args.seed}-{index}")
    person = people[index % len(people)]
    device = Device(args.ca, seed=f"{args.seed}-{index}")
    device.name = f"{person.get('name', person['login']).split()[0]}'s {device.model_name}"
    try:
        portal = Portal(args.portal, args.ca)
        portal.login(person["login"], person["password"])
        made = portal.enrollment(ownership=rng.choice(["personal", "corporate"]) if args.mixed else "personal")
        device.enroll(portal.absolute(made["profile"]))
        device.poll()
        report(f"enrolled {device.name} ({device.serial}) of {person['login']}")
    except Exception as why:  # one device's trouble is a line, never the end of the others
        report(f"could not enrol a device of {person['login']}: {why}", failed=True)
        return
    while not stop.wait(rng.uniform(0.5, 1.5) * args.interval) and device.enrolled:
        try:
            device.poll()
        except Exception as why:
            report(f"{device.serial}: {why}")
    device.close()


def main():
    ap = argparse.ArgumentParser(prog="sim", description=__doc__)
    ap.add_argument("--portal", required=True, help="address of the portal")
    ap.add_argument("--ca", required=True, help="PEM file with the roots the devices trust")
    ap.add_argument("--people", required=True, help="JSON file: [{login, password, name}]; run.json of `make run` does")
    ap.add_argument("-n", type=int, default=1, help="number of devices")
    ap.add_argument("--interval", type=float, default=20, help="seconds between two polls of a device")
    ap.add_argument("--seed", default="demo", help="the same seed gives the same devices")
    ap.add_argument("--once", action="store_true", help="enrol, poll once, end")
    ap.add_argument("--mixed", action="store_true", help="personal and corporate ownership mixed")
    args = ap.parse_args()
    with open(args.people) as f:
        people = json.load(f)
    if isinstance(people, dict):
        people = people["users"]
    stop, lock, counts = threading.Event(), threading.Lock(), {"ok": 0, "failed": 0}

    def report(text, failed=False):
        with lock:
            counts["failed" if failed else "ok"] += 1
            print("sim:", text, flush=True)
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: stop.set())
    if args.once:
        stop.set()
    threads, started = [], 0
    for index in range(args.n):
        thread = threading.Thread(target=one, args=(index, args, people, stop, report), daemon=True)
        thread.start()
        threads.append(thread)
        started += 1
        if args.once:
            thread.join()
        else:
            time.sleep(0.2)  # key generation is work: no stampede on a small machine
        if stop.is_set() and not args.once:
            break
    for thread in threads:
        thread.join(timeout=None if not stop.is_set() or args.once else 5)
    print(f"sim: {started} started, {counts['failed']} failed", flush=True)
    sys.exit(1 if counts["failed"] else 0)


main()
