"""python3 -m sim --portal URL --ca FILE --people FILE -n 20: enrols devices through the portal and keeps them polling.
python3 -m sim --link URL --ca FILE: enrols one device by the link that the portal shows.
python3 -m sim --mail LOGIN --people FILE --ca FILE: a phone's mail account behind the gate, of a person who is in run.json."""
import argparse
import json
import os
import random
import signal
import sys
import threading
import time
import urllib.parse

from .device import Device, Portal
from .eas_client import EasError, Phone


class Fleet:
    def __init__(self, args):
        self.args, self.stop, self.lock = args, threading.Event(), threading.Lock()
        self.enrolled = self.failed = 0

    def say(self, text):
        with self.lock:
            print("sim:", text, flush=True)

    def start(self, index, person):
        """A device that is enrolled: a kept one, or a new one of this person."""
        keep = os.path.join(self.args.keep, f"{index}.json") if self.args.keep else None
        if keep and os.path.exists(keep):
            return Device.load(keep, self.args.ca)
        device = Device(self.args.ca, seed=f"{self.args.seed}-{index}")
        device.name = f"{person.get('name', person['login']).split()[0]}'s {device.model_name}"
        rng = random.Random(f"{self.args.seed}-{index}")
        portal = Portal(self.args.portal, self.args.ca)
        portal.login(person["login"], person["password"])
        made = portal.enrollment(ownership=rng.choice(["personal", "corporate"]) if self.args.mixed else "personal")
        device.enroll(portal.absolute(made["profile"]))
        if keep:
            device.save(keep)
        return device

    def live(self, index, person):
        try:
            device = self.start(index, person)
            device.poll()
        except Exception as why:  # one device's trouble is a line, never the end of the others
            self.failed += 1
            self.say(f"could not enrol a device of {person['login']}: {why}")
            return
        self.enrolled += 1
        self.say(f"{device.name} ({device.serial}) of {person['login']} is enrolled")
        self.poll(device)

    def poll(self, device):
        while device.enrolled and not self.stop.wait(random.uniform(0.5, 1.5) * self.args.interval):
            try:
                device.poll()
            except Exception as why:
                self.say(f"{device.serial}: {why}")
        device.close()

    def run(self, people):
        threads = [threading.Thread(target=self.live, args=(index, people[index % len(people)]), daemon=True) for index in range(self.args.n)]
        try:
            for thread in threads:
                thread.start()
                time.sleep(0.2)  # key generation is work: no stampede on a small machine
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self.stop.set()
        self.say(f"{self.enrolled} enrolled, {self.failed} failed")
        return 1 if self.failed else 0


def by_link(args, fleet):
    device = Device(args.ca)
    link = args.link if args.link.endswith(".mobileconfig") else args.link.rstrip("/") + "/profile.mobileconfig"
    device.enroll(link)
    for kind, status in device.poll():
        fleet.say(f"{kind}: {status}")
    fleet.say(f"{device.name} ({device.serial}) is enrolled and polls every {args.interval:g} s; Ctrl-C ends it")
    fleet.poll(device)
    return 0


def look(phone):
    """One look into the mailbox: (what to say of it, ids of new mails)."""
    answer = phone.folder_sync()
    if answer.http == 200 and answer.status == 1:
        new = phone.sync() or []
        if not phone.folder_key.startswith("MDMQ"):
            return "mail flows", new
        said = next((m.value("EM.Subject") for m in phone.mails.values()), "the account is empty")
        return f"no mail ({said}): complete the device in the portal, or look at its state in the console", []
    said = f"HTTP {answer.http}" if answer.http != 200 else f"status {answer.status}"
    return f"no mail ({said}): complete the device in the portal, or look at its state in the console", []


def by_mail(args, fleet, known):
    person = next((u for u in known["users"] if u["login"] == args.mail), None)
    if not person:
        raise SystemExit(f"{args.mail} is none of the demo people: {', '.join(u['login'] for u in known['users'])}")
    url, before = urllib.parse.urlsplit(known["eas_url"]), None
    number = f"ApplSIM{args.mail.upper()}"
    while True:
        phone = Phone(url.port or 443, args.mail, person["password"], device_id=number, ca=args.ca, host=url.hostname)
        try:
            text, mails = look(phone)
        except (EasError, OSError) as why:
            text, mails = f"no answer: {why}", []
        phone.close()
        if text != before:
            fleet.say(f"mail of {args.mail} on {number}: {text}")
        before = text
        for mail in mails:
            fleet.say(f"new mail {mail}")
        if args.once:
            return 0
        time.sleep(args.interval)


def main():
    ap = argparse.ArgumentParser(prog="sim", description=__doc__)
    ap.add_argument("--portal", help="address of the portal")
    ap.add_argument("--link", help="enrolment link or profile address")
    ap.add_argument("--mail", help="log-in of the person whose mail account is simulated")
    ap.add_argument("--ca", required=True, help="PEM file with the roots the devices trust")
    ap.add_argument("--people", help="JSON: [{login, password, name}]; run.json of `make run` does")
    ap.add_argument("-n", type=int, default=1, help="number of devices")
    ap.add_argument("--interval", type=float, default=20, help="seconds between two polls of a device")
    ap.add_argument("--seed", default="demo", help="the same seed gives the same devices")
    ap.add_argument("--keep", help="folder where enrolled devices are kept for the next start")
    ap.add_argument("--once", action="store_true", help="enrol, poll once, end")
    ap.add_argument("--mixed", action="store_true", help="personal and corporate ownership mixed")
    args = ap.parse_args()
    fleet = Fleet(args)
    for sig in (signal.SIGINT, signal.SIGTERM):  # a handler that set the event would wait for its lock for ever, if it met somebody at it
        signal.signal(sig, signal.default_int_handler)
    if args.once:
        fleet.stop.set()
    if args.keep:
        os.makedirs(args.keep, mode=0o700, exist_ok=True)
    try:
        return act(args, ap, fleet)
    except KeyboardInterrupt:
        return 0


def act(args, ap, fleet):
    if args.link:
        return by_link(args, fleet)
    if not args.people or not (args.portal or args.mail):
        ap.error("--portal and --people, or --mail and --people, or --link")
    with open(args.people) as f:
        people = json.load(f)
    if args.mail:
        return by_mail(args, fleet, people)
    return fleet.run(people["users"] if isinstance(people, dict) else people)


sys.exit(main())
