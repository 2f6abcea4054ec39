// The page behind a link on an Android device, and where nobody knows yet what it is opened for: values to copy, and how far the device is.
import { copies, el, platform, poll, portal, t } from "./common.js";

const section = document.getElementById("link");
const live = document.getElementById("live");
const other = document.getElementById("other");

other.hidden = platform === "android";
if (platform !== "android") document.getElementById("steps").before(other); // on a computer the code is the way on
// A one-time password in the address's fragment goes on with the choice, and out of the address.
for (const link of document.querySelectorAll("[data-kind]")) link.href += location.hash;
if (location.hash) history.replaceState(null, "", location.pathname + location.search);
const copied = el("p", { class: "sr", role: "status" });
section.append(copied);
for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    copies(button, button.parentElement.firstElementChild, button.dataset.copy, (text) => { copied.textContent = text; });
}

function say(text, kind = "") {
    if (live.textContent !== text) live.textContent = text;
    live.className = `live ${kind}`;
}

function end(text, kind, next) {
    const done = document.getElementById("finished");
    watcher.stop();
    done.hidden = false;
    done.replaceChildren(el("a", { class: "button wide", href: `${portal}/` }, t(next)));
    say(text, kind);
    document.getElementById("steps").hidden = true;
    other.hidden = true;
    document.getElementById("owner")?.remove();
}

const watcher = poll(section.dataset.status, (status) => {
    if (status.error) say(t("link.error", { error: status.error }), "bad");
    else if (status.state === "completed") end(t("link.live.completed"), "good", "to_devices");
    else if (["expired", "cancelled", "locked"].includes(status.state)) end(t("link.bad_text"), "bad", "to_portal");
    else if (["issued", "authenticated"].includes(status.state)) say(t(`link.live.${status.state}`));
    else say(t("android.waiting"));
}, () => say(t("offline"), "bad"));
