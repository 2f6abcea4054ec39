// What both pages share: texts, elements, requests, polling.
export const portal = document.body.dataset.portal;
const version = document.body.dataset.version;
const lang = document.documentElement.lang;
export const texts = await (await fetch(`${portal}/ui/${lang}.json?v=${version}`)).json();

// Names come from devices: isolated, so that their writing direction does not reach our words.
const shown = (name, value) => (name === "name" ? `\u2068${value}\u2069` : value);
export function t(key, values = {}) {
    return (texts[key] ?? key).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(name, values[name]) : whole));
}

// An element with properties and children; strings become text, never markup.
export function el(tag, props = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else if (value === true) node.setAttribute(name, "");
        else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
}

// A question; text: a sentence or an element. True if it was answered with the action.
export function ask(title, text, action, danger) {
    return new Promise((resolve) => {
        const box = el("dialog", { "aria-labelledby": "ask" }, el("h1", { id: "ask" }, title), typeof text === "string" ? el("p", {}, text) : text,
            el("div", { class: "row" },
                el("button", { class: danger ? "button danger" : "button", value: "yes", onclick: () => box.close("yes") }, action),
                el("button", { class: "button second", autofocus: true, onclick: () => box.close("no") }, t("cancel"))));
        box.addEventListener("close", () => { box.remove(); resolve(box.returnValue === "yes"); });
        document.body.append(box);
        box.showModal();
    });
}

export function radio(name, value, title, text, props = {}) {
    return el("label", { class: "choice" }, el("input", { type: "radio", name, value, ...props }), title, el("small", {}, text));
}

// A button that copies the text of an element; what: its name. Where the browser refuses, the text is marked.
export function copies(button, source, what, say) {
    button.setAttribute("aria-label", t("mail.copy_label", { what }));
    button.addEventListener("click", async () => {
        try {
            await navigator.clipboard.writeText(source.textContent);
            say(t("mail.copied", { what }));
            button.textContent = t("mail.copied_short");
        } catch {
            getSelection().selectAllChildren(source);
        }
    });
}

export class Problem extends Error {
    constructor(status, detail) {
        super(detail);
        this.status = status;
    }
}

// The server's sentences are English: who reads another language gets what the status says.
const reasons = { 400: "error.input", 403: "error.denied", 409: "error.conflict", 429: "login.throttled" };
function why(status, data) {
    if (data?.field === "phone") return t("enroll.phone_wrong");
    return lang === "en" && data?.detail ? data.detail : t(reasons[status] ?? "error.server");
}
export const denied = (reason) => (lang === "en" ? reason : t("error.denied"));

export async function call(method, path, body) {
    const answer = await fetch(portal + path, {
        method, credentials: "same-origin", headers: body ? { "Content-Type": "application/json" } : {},
        body: body ? JSON.stringify(body) : undefined,
    });
    if (answer.status === 401) {
        location.assign(`${portal}/login`);
        return new Promise(() => {});
    }
    const data = answer.headers.get("Content-Type")?.includes("json") ? await answer.json() : null;
    if (!answer.ok) throw new Problem(answer.status, why(answer.status, data));
    return data;
}

// Asks every 5 seconds with the last ETag; calls changed() only with news. Pauses while nobody looks.
export function poll(url, changed, failed = () => {}) {
    let etag = null, timer = null, stopped = false;
    function lost(status) {
        etag = null; // what comes next is news, whatever it is
        failed(status);
    }
    async function ask() {
        clearTimeout(timer);
        try {
            const answer = await fetch(url, { credentials: "same-origin", cache: "no-store", headers: etag ? { "If-None-Match": etag } : {} });
            if (answer.status === 401) location.assign(`${portal}/login`);
            if (answer.ok) {
                etag = answer.headers.get("ETag");
                changed(await answer.json());
            } else if (answer.status !== 304) lost(answer.status);
        } catch {
            lost(0);
        }
        if (!stopped && !document.hidden) timer = setTimeout(ask, 5000);
    }
    document.addEventListener("visibilitychange", () => { if (!document.hidden && !stopped) ask(); });
    ask();
    return { now: ask, stop() { stopped = true; clearTimeout(timer); } };
}

const relative = new Intl.RelativeTimeFormat(lang, { numeric: "auto" });
export function ago(ms) {
    if (!ms) return t("never");
    const s = (ms - Date.now()) / 1000;
    if (s > -60) return t("just_now");
    for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
        if (-s >= size) return relative.format(Math.round(s / size), unit);
    }
    return t("just_now");
}

const agent = navigator.userAgent;
export const ios = /iPhone|iPad|iPod/.test(agent) || (navigator.platform === "MacIntel" && navigator.maxTouchPoints > 1);
// Of this browser's device; "" if it says nothing that could be enrolled.
export const iosVersion = Number(/OS (\d+)[_.]/.exec(agent)?.[1] ?? 0); // 0: not said, as by iPads that look like Macs
export const platform = ios ? "ios" : /Android/.test(agent) ? "android" : /Windows/.test(agent) ? "windows" : /BB10/.test(agent) ? "blackberry" : "";
