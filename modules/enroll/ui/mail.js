// E-mail only: the account's settings, the wait for the mail app, the end of its enrolment.
import { ago, ask, call, copies, denied, el, platform as here, poll, portal, radio, t } from "./common.js";

const systems = ["ios", "android", "windows", "blackberry"];

const whose = () => el("fieldset", {}, el("legend", {}, t("enroll.whose")),
    radio("whose", "personal", t("enroll.personal"), t("enroll.personal_text"), { checked: true }),
    radio("whose", "corporate", t("enroll.corporate"), t("enroll.corporate_text")));

// The person's devices that this mail app may be on, the likeliest first. One with mail alone is no guess: it is offered only.
const which = (items, other, told) => {
    const guess = items[0].is === "mail" ? "new" : items[0].id;
    const facts = (item) => [item.model, item.hint && t("complete.hint", { hint: item.hint }), item.is === "expected" ? t("complete.expected") : t("contact", { when: ago(item.last_contact) })];
    return el("fieldset", {}, el("legend", {}, t("complete.which")), told ? el("p", { class: "alert", role: "alert" }, told) : null,
        ...items.map((item) => radio("which", item.id, item.name, facts(item).filter(Boolean).join(" · "), { checked: item.id === guess })),
        radio("which", "new", t(`${other}.new`), t(`${other}.new_text`), { checked: guess === "new" }));
};

// Some mail apps don't say what they run on: the person does, whatever the policy says. null if they changed their mind.
async function systemOf(device) {
    if (device.platform !== "unknown") return undefined;
    const question = el("fieldset", {}, el("legend", {}, t("complete.system")),
        ...systems.map((name) => radio("system", name, t(`platform.${name}`), t(`complete.system_${name}`), { checked: name === (here || "ios") })));
    return await ask(t("complete.title", { name: device.name }), question, t("complete.next")) ? question.querySelector(":checked").value : null;
}

const choicesOf = (device, system) => call("GET", `/api/v1/devices/${device.id}/choices${system ? `?platform=${system}` : ""}`);

// Sends the answer. True if all is done, else what to say with a new list: the device was taken meanwhile.
async function tell(device, answer) {
    try {
        await call("POST", `/api/v1/devices/${device.id}/complete`, answer);
        return true;
    } catch (error) {
        if (error.status !== 409 || !answer.same_as || answer.same_as === "new") throw error;
        return t("complete.taken");
    }
}

// It is enrolled, and could be one of the managed devices that came later: false if the person changed their mind.
export async function settle(device, told) {
    const { items } = await choicesOf(device);
    if (!items.length) return true;
    const question = which(items, "same", told);
    if (!await ask(t("same.title", { name: device.name }), question, t("same.confirm"))) return false;
    const done = await tell(device, { same_as: question.querySelector(":checked").value });
    return done === true || settle(device, done);
}

// Asks what the policy leaves open and finishes; false if the person changed their mind. wanted: the answer given before.
export async function complete(device, wanted) {
    const platform = await systemOf(device);
    if (platform === null) return false;
    let told;
    for (;;) {
        const [policy, choices] = await Promise.all([call("GET", "/api/v1/policy"), choicesOf(device, platform)]);
        if (!policy.may) throw new Error(denied(policy.reason));
        let ownership = policy.ownership === "choose" ? wanted : policy.ownership;
        let same_as;
        if (!wanted || !ownership || choices.items.length) {
            const parts = [!ownership && whose(), choices.items.length && which(choices.items, "complete", told)].filter(Boolean);
            const question = el("div", {}, ...(parts.length ? parts : [t("complete.text")]));
            if (!await ask(t("complete.title", { name: device.name }), question, t("complete.button"))) return false;
            ownership ??= question.querySelector("[name=whose]:checked").value;
            same_as = question.querySelector("[name=which]:checked")?.value;
        }
        told = await tell(device, { ownership, same_as, platform });
        if (told === true) return true;
    }
}

function setting(key, value, say) {
    const copy = el("button", { class: "button quiet", type: "button" }, t("mail.copy")), shown = el("span", { "data-setting": key }, value);
    copies(copy, shown, t(`mail.${key}`), say);
    return [el("dt", {}, t(`mail.${key}`)), el("dd", {}, shown, copy)];
}

function settings(account, say) {
    const rows = ["mail", "server", "domain", "user"].filter((key) => account[key]).flatMap((key) => setting(key, account[key], say));
    return el("dl", { class: "settings" }, ...rows, el("dt", {}, t("mail.tls")), el("dd", {}, t(account.tls ? "mail.tls_on" : "mail.tls_off")),
        el("dt", {}, t("mail.password")), el("dd", {}, t("mail.password_text")));
}

const how = (kind) => el("details", {}, el("summary", {}, t(`mail.how_${kind}`)),
    el("ol", { class: "how" }, ...[1, 2, 3].map((n) => el("li", {}, t(`mail.how_${kind}${n}`)))));

function finished(card) {
    card.replaceChildren(el("h1", { tabindex: "-1" }, t("mail.done")), el("p", { class: "live good", role: "status" }, t("mail.done_text")),
        el("a", { class: "button wide", href: "#" }, t("to_devices")));
    card.firstChild.focus();
}

// Fills the card and returns the watcher. attempt(button, work) runs work and shows its faults.
export async function mailView(card, { wanted, say, attempt, fault }) {
    const account = await call("GET", "/api/v1/mail");
    const found = el("div", { id: "found", "aria-live": "polite" }, el("p", { class: "live" }, t("mail.waiting")));
    card.replaceChildren(el("h1", { tabindex: "-1" }, t("mail.title")), el("p", { class: "lead" }, t("mail.lead")), settings(account, say),
        how("ios"), how("android"), found, el("p", {}, el("a", { href: "#" }, t("back"))));
    let shown = "";
    const watcher = poll(`${portal}/api/v1/devices`, ({ devices }) => {
        const waiting = devices.filter((device) => device.complete);
        card.querySelector(".alert")?.remove();
        if (!waiting.length || waiting.map((device) => device.id).join() === shown) return;
        shown = waiting.map((device) => device.id).join();
        found.replaceChildren(...waiting.map((device) => {
            const button = el("button", { class: "button wide", "data-complete": device.id }, t("complete.button"));
            button.addEventListener("click", () => attempt(button, async () => {
                if (await complete(device, wanted)) {
                    watcher.stop();
                    finished(card);
                }
            }));
            return el("div", { class: "found" }, el("p", { class: "live good" }, t("mail.found", { name: device.name })), button);
        }));
    }, () => fault(t("offline")));
    return watcher;
}
