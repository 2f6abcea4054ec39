// My devices, and the start of an enrolment.
import { ago, ask, call, denied, el, ios, iosVersion, platform, poll, portal, radio, t } from "./common.js";

const app = document.getElementById("app");
const live = el("p", { class: "sr", role: "status", "aria-live": "polite" });
const stateKinds = { active: "good", pending: "warn", wipe_pending: "bad", blocked: "bad", retired: "", removed: "" };
let known = null; // states of the last answer, to announce what changed
let watcher = null;
let wanted = null; // whose device it is, as answered at the start of an enrolment

const say = (text) => { live.textContent = text; };
const pill = (state) => el("span", { class: `pill ${stateKinds[state] ?? "warn"}`, "data-state": state }, t(`state.${state}`));

function glyph() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("width", "24");
    svg.setAttribute("height", "24");
    path.setAttribute("d", "M8 2h8a2 2 0 0 1 2 2v16a2 2 0 0 1-2 2H8a2 2 0 0 1-2-2V4a2 2 0 0 1 2-2Zm3 17h2");
    path.setAttribute("fill", "none");
    path.setAttribute("stroke", "currentColor");
    path.setAttribute("stroke-width", "1.8");
    path.setAttribute("stroke-linecap", "round");
    svg.append(path);
    return el("span", { class: "glyph", "aria-hidden": "true" }, svg);
}

async function attempt(button, work) {
    const focused = document.activeElement === button;
    button.disabled = true;
    try {
        await work();
    } catch (error) {
        fault(error.message);
    } finally {
        button.disabled = false;
        if (focused && document.activeElement === document.body) button.focus();
    }
}

function fault(text, offline) {
    app.querySelector(":scope > .alert, .card > .alert")?.remove();
    app.querySelector(".head, h1")?.after(el("p", { class: "alert", role: "alert", "data-offline": Boolean(offline) }, text));
}

// ---- devices
// A mail app that waits for its person is not an enrolment that goes on by itself.
const shownState = (device) => (device.complete && device.state === "pending" ? "unfinished" : device.state);

function deviceItem(device) {
    const system = device.platform === "ios" && /^iPad/.test(device.model || "") ? "iPadOS" : t(`platform.${device.platform}`);
    const facts = [device.model, device.os_version && `${system} ${device.os_version}`, device.complete ? "" : t(`owner.${device.ownership}`)];
    const item = el("li", { class: "card device", "data-id": device.id }, glyph(),
        el("h2", {}, device.name),
        el("div", { class: "row" }, pill(shownState(device)), el("span", { class: "soft" }, facts.filter(Boolean).join(" · "))),
        el("div", { class: "soft" }, t("contact", { when: ago(device.last_contact) })));
    if (device.mail_by_hand) item.append(el("p", { class: "soft" }, t("mail.by_hand")));
    if (device.complete) {
        const button = el("button", { class: "button", "aria-label": t("complete.label", { name: device.name }) }, t("complete.button"));
        button.addEventListener("click", () => attempt(button, async () => {
            const { complete } = await import("./mail.js");
            if (await complete(device)) watcher.now();
        }));
        item.append(el("div", { class: "actions" }, button));
    }
    if (device.ask_which) {
        const button = el("button", { class: "button second", "aria-label": t("same.label", { name: device.name }) }, t("same.button"));
        button.addEventListener("click", () => attempt(button, async () => {
            const { settle } = await import("./mail.js");
            if (await settle(device)) watcher.now();
        }));
        item.append(el("p", { class: "soft" }, t("same.text")), el("div", { class: "actions" }, button));
    }
    if (device.undo) {
        const button = el("button", { class: "button quiet", "aria-label": t("undo.label", { name: device.name }) }, t("undo.button"));
        button.addEventListener("click", () => attempt(button, async () => {
            await call("POST", `/api/v1/devices/${device.id}/undo`);
            say(t("undo.done"));
            watcher.now();
        }));
        item.append(el("p", { class: "soft" }, t("undo.text")), el("div", { class: "actions" }, button));
    }
    if (device.unenroll !== "no") {
        const button = el("button", { class: "button danger", "aria-label": t("unenroll.label", { name: device.name }) }, t("unenroll.button"));
        button.addEventListener("click", () => attempt(button, async () => {
            if (!await ask(t("unenroll.title", { name: device.name }), t(`unenroll.${device.unenroll}`), t("unenroll.button"), true)) return;
            await call("DELETE", `/api/v1/devices/${device.id}`);
            say(t("unenroll.done"));
            watcher.now();
        }));
        item.append(el("div", { class: "actions" }, button));
    }
    return item;
}

function pendingItem(entry) {
    const state = ["issued", "authenticated"].includes(entry.state) ? "enrolling" : "unfinished";
    const cancel = el("button", { class: "button quiet" }, t("pending.cancel"));
    cancel.addEventListener("click", () => attempt(cancel, async () => {
        await call("DELETE", `/api/v1/enrollments/${entry.id}`);
        watcher.now();
    }));
    return el("li", { class: "card device", "data-pending": entry.id }, glyph(), el("h2", {}, t(entry.level === "email_only" ? "pending.mail_title" : "pending.title")),
        el("div", { class: "row" }, pill(state), el("span", { class: "soft" }, t("pending.since", { when: ago(entry.created) }))),
        entry.error ? el("div", { class: "alert" }, entry.error) : null,
        el("div", { class: "row actions" }, entry.path ? el("a", { class: "button second", href: entry.level === "email_only" ? "#mail" : entry.path }, t("pending.continue")) : null, cancel));
}

function announce(data) {
    const now = Object.fromEntries(data.devices.map((device) => [device.id, device.state]));
    for (const device of data.devices) {
        if (known && known[device.id] !== device.state) say(t("changed", { name: device.name, state: t(`state.${shownState(device)}`) }));
    }
    known = now;
}

function showDevices(data) {
    const focus = document.activeElement?.closest?.("[data-id],[data-pending]");
    const key = focus && (focus.dataset.id ?? focus.dataset.pending), tag = focus && [...focus.querySelectorAll("button,a")].indexOf(document.activeElement);
    announce(data);
    const list = el("ul", { class: "list", id: "devices" }, ...data.enrollments.filter((entry) => entry.state !== "authenticated").map(pendingItem),
        ...data.devices.map(deviceItem));
    const empty = el("section", { class: "card empty", id: "devices" }, el("h2", {}, t("devices.none")), el("p", { class: "lead" }, t("devices.none_text")));
    document.getElementById("devices").replaceWith(list.children.length ? list : empty);
    app.querySelector("[data-offline]")?.remove();
    if (key) document.querySelector(`[data-id="${key}"],[data-pending="${key}"]`)?.querySelectorAll("button,a")[tag]?.focus();
}

function devicesView() {
    known = null;
    const refresh = el("button", { class: "button quiet" }, t("refresh"));
    refresh.addEventListener("click", () => attempt(refresh, async () => {
        say("");
        await watcher.now();
        say(t("refreshed"));
    }));
    app.replaceChildren(live, el("div", { class: "head" }, el("h1", { tabindex: "-1" }, t("devices.title")), refresh,
        el("a", { class: "button", href: "#enroll", id: "enroll" }, t("enroll.button"))),
    el("div", { id: "devices" }, el("p", { class: "soft" }, t("loading"))));
    watcher = poll(`${portal}/api/v1/devices`, showDevices, () => fault(t("offline"), true));
}

// ---- enrolment
function kindChoice(kind, checked) {
    const why = kind.missing ? t(`missing.${kind.missing}`) : t("enroll.not_yet");
    return radio("kind", kind.kind, t(`kind.${kind.kind}`), kind.available ? t(`kind.${kind.kind}_text`) : why,
        { disabled: !kind.available, checked: kind.available && checked });
}

function enrollForm(policy) {
    const kinds = policy.kinds.filter((kind) => kind.allowed);
    const rank = (kind) => (kind.kind === platform ? 0 : kind.kind === "email" ? 1 : 2);
    if (["ios", "android"].includes(platform)) kinds.sort((a, b) => rank(a) - rank(b)); // what is for this phone comes first
    const first = kinds.find((kind) => kind.available);
    const button = el("button", { class: "button wide", type: "submit", disabled: !first }, t("enroll.start"));
    const form = el("form", { id: "start" },
        el("fieldset", {}, el("legend", {}, t("enroll.what")), ...kinds.map((kind) => kindChoice(kind, kind === first))),
        policy.ownership === "choose" ? el("fieldset", {}, el("legend", {}, t("enroll.whose")),
            radio("ownership", "personal", t("enroll.personal"), t("enroll.personal_text"), { checked: true }),
            radio("ownership", "corporate", t("enroll.corporate"), t("enroll.corporate_text"))) : null,
        policy.phone.ask === "off" ? null : el("label", { for: "phone" }, t(`enroll.phone_${policy.phone.ask}`)),
        policy.phone.ask === "off" ? null : el("input", { id: "phone", name: "phone", type: "tel", autocomplete: "tel", maxlength: "40",
            value: policy.phone.number, required: policy.phone.ask === "required" }),
        button, el("p", { class: "soft" }), el("a", { href: "#" }, t("back")));
    form.addEventListener("submit", (event) => {
        event.preventDefault();
        attempt(button, async () => {
            wanted = policy.ownership === "choose" ? form.elements.ownership.value : null;
            if (form.elements.kind.value === "email") {
                location.hash = "#mail";
                return;
            }
            const made = await call("POST", "/api/v1/enrollments", { platform: form.elements.kind.value, level: "managed",
                ownership: wanted ?? policy.ownership, ...(policy.phone.ask === "off" ? {} : { phone: form.elements.phone.value }) });
            location.assign(made.path);
        });
    });
    return form;
}

// The other way to enrol an iPhone: with the work account, in its settings (POR-03).
function accountWay({ mode, id }) {
    const since = mode === "adde" ? 17 : 15;
    if (platform === "android" || (iosVersion && iosVersion < since)) return null;
    return el("details", { id: "account" }, el("summary", {}, t("account.way")), el("p", {}, t("account.way_text", { version: since })),
        el("ol", { class: "how" }, ...["way1", "way2", "way3", "way4"].map((key) => el("li", {}, t(`account.${key}`, { id })))),
        mode === "adde" ? null : el("p", { class: "soft" }, t("account.way_own")));
}

async function enrollView() {
    const card = el("section", { class: "card narrow" }, el("h1", { tabindex: "-1" }, t("enroll.title")), el("p", { class: "soft" }, t("loading")));
    app.replaceChildren(live, card);
    const policy = await call("GET", "/api/v1/policy");
    const lead = el("p", { class: "lead" }, policy.may ? t(ios ? "enroll.lead_ios" : "enroll.lead") : denied(policy.reason));
    card.replaceChildren(...[card.firstChild, lead, policy.may ? enrollForm(policy) : el("a", { class: "button", href: "#" }, t("back")),
        policy.account && accountWay(policy.account)].filter(Boolean));
}

async function mailSetup() {
    const card = el("section", { class: "card narrow" }, el("h1", { tabindex: "-1" }, t("mail.title")), el("p", { class: "soft" }, t("loading")));
    app.replaceChildren(live, card);
    const { mailView } = await import("./mail.js");
    const made = await mailView(card, { wanted, say, attempt, fault });
    if (location.hash === "#mail") watcher = made;
    else made.stop();
}

// ---- frame
const views = { "#enroll": enrollView, "#mail": mailSetup };

async function show() {
    watcher?.stop();
    watcher = null;
    try {
        await (views[location.hash] ?? devicesView)();
        if (show.moved) app.querySelector("h1")?.focus();
        show.moved = true;
    } catch (error) {
        fault(error.message);
    }
}

async function frame() {
    const me = await call("GET", "/api/v1/me");
    const out = el("button", { class: "button quiet" }, t("logout"));
    out.addEventListener("click", () => attempt(out, async () => {
        await call("DELETE", "/api/v1/session");
        location.assign(`${portal}/login`);
    }));
    document.getElementById("who").replaceChildren(el("span", { class: "name" }, me.name), out);
}

addEventListener("hashchange", show);
show();
frame();
