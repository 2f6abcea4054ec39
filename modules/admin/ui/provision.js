// Enrolments for others: the dialogue that makes one, its one-time password with link and code, the code for a factory-fresh Android device (PEN-01, PEN-02, PEN-07).
import { api, query as toQuery, url } from './api.js';
import { h, button, dialog, toast, say, name, word, copyField, icon } from './ui.js';
import { finder, findPeople } from './assign.js';
import { t, lang } from './words.js';

const CLOSES = 120; // seconds that a secret stays on the screen without a touch
const fault = (field, message) => Object.assign(new Error(message), { field });

// ---- what is left of a time, ticking
const part = (n, unit) => new Intl.NumberFormat(lang(), { style: 'unit', unit, unitDisplay: 'narrow' }).format(n);
const two = (n) => String(n).padStart(2, '0');
export function left(iso) {
  const s = Math.max(0, Math.floor((new Date(iso) - Date.now()) / 1000)), d = Math.floor(s / 86400), hours = Math.floor((s % 86400) / 3600);
  return !s ? t('s_expired') : d ? `${part(d, 'day')} ${part(hours, 'hour')}` : `${hours}:${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
}
export const countdown = (iso) => h('time', { class: 'left', datetime: iso, 'data-until': iso, title: new Date(iso).toLocaleString(lang()) }, left(iso));
// Every countdown below an element, until the signal.
export function tick(below, signal) {
  const timer = setInterval(() => below.querySelectorAll('time[data-until]').forEach((x) => { x.textContent = left(x.dataset.until); }), 1000);
  signal.addEventListener('abort', () => clearInterval(timer));
}

// ---- secrets: the dialogue goes by itself
function secretive(box) {
  const gone = new AbortController(), said = h('p', { class: 'muted small apart' });
  let rest = CLOSES;
  const draw = () => { said.textContent = t('secret_closes', null, `${Math.floor(rest / 60)}:${two(rest % 60)}`); };
  const timer = setInterval(() => { rest -= 1; if (rest <= 0) box.close(); else draw(); }, 1000);
  for (const what of ['pointerdown', 'keydown']) box.addEventListener(what, () => { rest = CLOSES; draw(); });
  box.addEventListener('close', () => { clearInterval(timer); gone.abort(); });
  box.querySelector('.foot').before(said);
  draw();
  tick(box, gone.signal);
}

// In groups of four, or of five where that comes out even; what is copied has no blanks.
export const grouped = (otp) => otp.match(new RegExp(`.{1,${otp.length % 4 && otp.length % 5 === 0 ? 5 : 4}}`, 'g')).join(' ');

const picture = (id, otp) => `pending/${id}/qr.svg${toQuery({ otp: otp ? 1 : '' })}`;
function code(p, otp) {
  const img = h('img', { class: 'qr', src: url(picture(p.id, otp)), alt: t(otp ? 'qr_alt_otp' : 'qr_alt') });
  const png = h('a', { class: 'btn', href: url(picture(p.id, otp).replace('.svg', '.png')), download: 'enrolment.png' }, icon('csv'), 'PNG');
  const choose = otp && h('label', { class: 'check' }, h('input', { type: 'checkbox', checked: true, onchange: (e) => {
    img.src = url(picture(p.id, e.target.checked));
    img.alt = t(e.target.checked ? 'qr_alt_otp' : 'qr_alt');
    png.href = url(picture(p.id, e.target.checked).replace('.svg', '.png'));
  } }), t('qr_with_otp'));
  return [img, h('div', { class: 'acts apart' }, choose, png)];
}

// One-time password, link and code of an enrolment that is open.
export async function show(p) {
  const otp = p.otp?.state === 'open' ? (await api('POST', `pending/${p.id}/otp`)).data : null;
  const link = otp ? otp.url : (await api('GET', `pending/${p.id}/link`)).data.link;
  const box = dialog({ title: t(otp ? 'view_otp' : 'show_link'), lead: t('link_lead', null, p.person?.name || ''), body: [
    otp && h('div', { class: 'otp' }, h('p', { class: 'muted small' }, t('otp')), h('p', { class: 'mono secret', id: 'otp' }, grouped(otp.otp)),
      h('p', { class: 'muted small' }, t('otp_left'), ' ', countdown(otp.expires_at))),
    otp && copyField(otp.otp, t('otp')), code(p, Boolean(otp)), h('p', { class: 'label' }, t('activation_url')), copyField(link, t('activation_url')), otp && h('p', { class: 'label' }, t('token')), otp && copyField(otp.token, t('token'))] });
  secretive(box);
}

export const reset = (p, again) => dialog({ title: t('otp_reset'), lead: [h('p', { class: 'alert warn' }, name(p.person?.name || '')), h('p', {}, t('otp_reset_lead'))], submit: t('otp_reset'),
  fields: [{ name: 'notify', label: t('otp_reset_notify'), type: 'check', value: true }],
  save: async (v) => { const r = await api('POST', `pending/${p.id}/otp/reset`, { body: v.notify ? {} : { notify: '' } }); toast(t('otp_reset_done')); again(); setTimeout(() => show({ ...p, ...r.data, otp: { state: 'open' } }).catch(say), 60); } });

// ---- a new one
const notices = ['', 'mail', 'sms', 'both'];
function authoriser() {
  const at = 'authoriser', one = (k, type, auto) => h('input', { id: `f-${at}-${k}`, type, maxlength: 250, autocomplete: auto });
  const login = one('login', 'text', 'off'), password = one('password', 'password', 'off');
  return { name: at, label: t('prov_authoriser'), type: 'own', input: login, hint: t('prov_authoriser_hint'),
    node: [h('div', { class: 'field' }, h('label', { for: login.id }, t('login')), login), h('div', { class: 'field' }, h('label', { for: password.id }, t('password')), password)],
    read: () => { if (!login.value.trim() || !password.value) throw fault(at, t('prov_authoriser_none')); return { login: login.value.trim(), password: password.value }; } };
}

export async function provision({ again, may }) {
  const settings = may('zone:read') ? (await api('GET', 'otp-settings')).data : { authorise: true };
  const who = finder({ id: 'person_id', label: t('search_people'), most: 1, find: findPeople,
    changed: () => { who.input.removeAttribute('aria-invalid'); document.getElementById('f-person_id-say').replaceChildren(); } });
  const box = dialog({ title: t('provision'), lead: t('provision_lead'), submit: t('create'), fields: [
    { name: 'person_id', label: t('person'), type: 'own', input: who.input, node: who.node, read: () => { if (!who.chosen.size) throw fault('person_id', t('prov_person_none')); return [...who.chosen.keys()][0]; } },
    { name: 'platform', label: t('platform'), type: 'select', options: [['ios', t('plat_ios')], ['android', t('plat_android')], ['unknown', t('prov_any')]] },
    { name: 'level', label: t('enp_level'), type: 'select', hint: t('prov_level_hint'), options: [['', t('prov_by_policy')], ...['managed', 'email_only'].map((l) => [l, word('level', l)])] },
    { name: 'ownership', label: t('ownership'), type: 'select', options: [['', t('prov_by_policy')], ['corporate', t('own_corporate')], ['personal', t('own_personal')]] },
    { name: 'phone', label: t('phone'), type: 'tel', max: 30, hint: t('phone_hint') },
    { name: 'notify', label: t('prov_notify'), type: 'select', options: notices.map((n) => [n, t(`prov_notify_${n || 'none'}`)]) },
    { name: 'serial', label: t('prov_serial'), max: 40, hint: t('prov_serial_hint') },
    { name: 'valid_from', label: t('prov_from'), type: 'datetime-local', hint: t('prov_from_hint') },
    settings.authorise && authoriser()].filter(Boolean),
  save: async ({ valid_from: from, ...rest }) => {
    const v = { ...rest, valid_from: from && new Date(from).toISOString() };
    let made;
    try {
      made = (await api('POST', 'pending', { body: Object.fromEntries(Object.entries(v).filter(([, x]) => x !== '')) })).data;
    } catch (e) { throw e.field ? Object.assign(e, { field: e.field.split('.')[0] }) : e; }
    again();
    setTimeout(() => show(made).catch(say), 60);
  } });
  box.classList.add('wide');
  who.look();
}

// ---- a factory-fresh Android device
const svg = async (blob) => { // of our own server's encoder: numbers only
  const el = document.importNode(new DOMParser().parseFromString(await blob.text(), 'image/svg+xml').documentElement, true);
  for (const [k, v] of [['class', 'qr large'], ['role', 'img'], ['aria-label', t('owner_alt')]]) el.setAttribute(k, v);
  return el;
};
async function download(path, body) {
  const link = h('a', { href: URL.createObjectURL((await api('POST', `${path}?format=png`, { body, raw: true })).data), download: 'device-owner.png' });
  link.click();
  URL.revokeObjectURL(link.href);
}

export function owner(p) {
  const path = `pending/${p.id}/device-owner`;
  dialog({ title: t('owner'), lead: t('owner_lead'), submit: t('owner_make'), fields: [
    { name: 'wifi_ssid', label: t('wifi_ssid'), max: 32, hint: t('wifi_ssid_hint') },
    { name: 'wifi_security', label: t('wifi_security'), type: 'select', options: [['wpa', 'WPA'], ['wep', 'WEP'], ['none', t('wifi_open')]] },
    { name: 'wifi_password', label: t('wifi_password'), type: 'password', auto: 'off', max: 64, hint: t('wifi_password_hint') },
    { name: 'wifi_hidden', label: t('wifi_hidden'), type: 'check' }, { name: 'mobile_data', label: t('mobile_data'), type: 'check' },
    { name: 'locale', label: t('owner_locale'), value: lang() === 'de' ? 'de_DE' : '', max: 10, hint: t('owner_locale_hint') },
    { name: 'time_zone', label: t('owner_zone'), value: Intl.DateTimeFormat().resolvedOptions().timeZone, max: 64 },
    p.otp?.state === 'open' && { name: 'otp', label: t('owner_otp'), type: 'check', value: true }].filter(Boolean),
  save: async (v) => {
    const body = Object.fromEntries(Object.entries({ ...v, wifi_security: v.wifi_ssid && v.wifi_security }).filter(([, x]) => x !== ''));
    const made = await svg((await api('POST', path, { body, raw: true })).data);
    setTimeout(() => secretive(dialog({ title: t('owner'), lead: [t('owner_how'), ...(body.wifi_password ? [h('p', { class: 'alert warn' }, t('owner_secret'))] : [])],
      body: [made, h('div', { class: 'acts apart' }, button('PNG', 'csv', () => download(path, body).catch(say)))] })), 60);
  } });
}
