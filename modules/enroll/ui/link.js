// The page behind an enrolment link: it shows by itself how far the device is.
import { el, ios, poll, portal, t } from "./common.js";

const section = document.getElementById("link");
const live = document.getElementById("live");
const steps = [...document.querySelectorAll(".step")];

if (location.hash) history.replaceState(null, "", location.pathname + location.search); // a one-time password that is not needed any more
document.getElementById("other").hidden = ios;
document.getElementById("steps").classList.add("folded");

function say(text, kind = "") {
    if (live.textContent !== text) live.textContent = text;
    live.className = `live ${kind}`;
}

const first = steps[0].dataset.step === "trust" ? 1 : 0; // the step that begins the enrolment itself
let reached = 0, trusted = false;

function place(told) {
    reached = told;
    const at = trusted ? Math.max(told, first) : told;
    steps.forEach((step, i) => {
        step.className = i < at ? "step done" : i === at ? "step now" : "step";
        if (i === at) step.setAttribute("aria-current", "step");
        else step.removeAttribute("aria-current");
    });
}

// A profile that was not installed within eight minutes is dropped by the device: it can be loaded again.
function again(state) {
    const old = document.getElementById("again");
    if (state !== "profile") old?.remove();
    else if (!old) {
        const href = document.getElementById("profile").getAttribute("href");
        steps[first + 1].append(el("p", { id: "again", class: "soft" }, `${t("link.again_text")} `, el("a", { href }, t("link.again"))));
    }
}

// Whoever has enrolled before has the trust profile.
document.getElementById("trusted")?.addEventListener("click", (event) => {
    event.preventDefault();
    trusted = true;
    section.dataset.trusted = "";
    place(reached);
    document.getElementById("profile").focus();
});

const watcher = poll(section.dataset.status, (status) => {
    section.dataset.state = status.state;
    place(status.at);
    again(status.state);
    if (status.error) say(t("link.error", { error: status.error }), "bad");
    else if (status.state === "completed") done();
    else if (["expired", "cancelled", "locked"].includes(status.state)) over();
    else if (status.serial) say(t("link.live.reported", { serial: status.serial }));
    else if (["created", "opened"].includes(status.state)) say(status.at ? t("link.live.trust") : "");
    else say(t(`link.live.${status.state}`));
}, () => say(t("offline"), "bad"));

function done() {
    watcher.stop();
    say(t("link.live.completed"), "good");
    const end = document.getElementById("finished");
    end.hidden = false;
    end.replaceChildren(el("a", { class: "button wide", href: `${portal}/` }, t("to_devices")));
    document.getElementById("other").hidden = true;
}

function over() {
    watcher.stop();
    say(t("link.bad_text"), "bad");
    const end = document.getElementById("finished");
    end.hidden = false;
    end.replaceChildren(el("a", { class: "button wide", href: `${portal}/` }, t("to_portal")));
    document.getElementById("steps").hidden = true;
    document.getElementById("other").hidden = true;
}
