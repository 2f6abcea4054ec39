// What enrolling needs, one-time passwords, and what links and codes hold (PEN-03, PEN-07, PEN-09, POR-02, IOS-08).
import { api } from '../api.js';
import { h, fill, head, button, dialog, toast, say, name, number } from '../ui.js';
import { t, lang } from '../words.js';

const needs = ['otp', 'password', 'both', 'either'], alphabets = ['digits', 'letters', 'both'], phones = ['off', 'optional', 'required'];
const pick = (key, all, now) => ({ name: key, label: t(`otp_${key}`), type: 'select', value: now[key], options: all.map((v) => [v, t(`otp_${key}_${v}`, t(`otp_need_${v}`, v))]) });
const figure = (key, now, min, max) => ({ name: key, label: t(`otp_${key}`), type: 'number', mode: 'numeric', required: true, value: String(now[key]), min, max, hint: t(`otp_${key}_hint`) });
const hours = (n) => new Intl.NumberFormat(lang(), { style: 'unit', unit: 'hour', unitDisplay: 'long' }).format(n);
const numbers = ['length', 'life_hours', 'tries'];

const edit = (now, again) => dialog({ title: t('otp_settings'), lead: t('otp_edit_lead'), submit: t('save'), fields: [
  figure('length', now), pick('alphabet', alphabets, now), figure('life_hours', now), figure('tries', now), pick('ios', needs, now), pick('android', needs, now), pick('phone', phones, now),
  { name: 'authorise', label: t('otp_authorise'), type: 'check', value: now.authorise }],
save: async (v) => {
  await api('PUT', 'otp-settings', { body: { ...v, ...Object.fromEntries(numbers.map((k) => [k, Number(v[k])])) } });
  toast(t('saved'));
  again();
} });

const address = (now, again) => dialog({ title: t('link_base'), lead: t('link_base_lead'), submit: t('save'),
  fields: [{ name: 'public_url', label: t('link_base'), type: 'url', value: now.public_url, max: 300, hint: t('link_base_hint', null, now.default_url) }],
  save: async (v) => { await api('PUT', 'enrollment-settings', { body: { public_url: v.public_url.trim() } }); toast(t('saved')); again(); } });

// ---- the agent's package
const lines = (extras) => Object.entries(extras || {}).map(([k, v]) => `${k}=${v}`).join('\n');
const extras = (text) => Object.fromEntries(text.split('\n').map((l) => l.trim()).filter(Boolean).map((l) => {
  const at = l.indexOf('=');
  if (at < 1) throw Object.assign(new Error(t('agent_extras_line', null, l)), { field: 'extras' });
  return [l.slice(0, at).trim(), l.slice(at + 1).trim()];
}));
const agentEdit = (a, again) => dialog({ title: t('agent'), lead: t('agent_lead'), submit: t('save'), fields: [
  { name: 'component', label: t('agent_component'), value: a?.component, required: true, max: 255, hint: t('agent_component_hint') },
  { name: 'url', label: t('agent_url'), type: 'url', value: a?.url, required: true, max: 500, hint: t('agent_url_hint') },
  { name: 'checksum', label: t('agent_checksum'), value: a?.checksum, required: true, max: 120, hint: t('agent_checksum_hint') },
  { name: 'checksum_of', label: t('agent_checksum_of'), type: 'select', value: a?.checksum_of, options: ['signature', 'package'].map((k) => [k, t(`agent_of_${k}`)]) },
  { name: 'system_apps', label: t('agent_system_apps'), type: 'check', value: a ? a.system_apps : true },
  { name: 'extras', label: t('agent_extras'), type: 'area', value: lines(a?.extras), hint: t('agent_extras_hint') }],
save: async (v) => {
  const body = { ...v };
  if (v.extras.trim()) body.extras = extras(v.extras); else delete body.extras;
  try { await api('PUT', 'enrollment-settings', { body: { agent: body } }); } catch (e) { throw e.field ? Object.assign(e, { field: e.field.replace(/^agent\./, '') }) : e; }
  toast(t('saved'));
  again();
} });
const agentDrop = (again) => dialog({ title: t('agent_drop'), lead: t('agent_drop_lead'), submit: t('agent_drop'), danger: true,
  save: async () => { await api('PUT', 'enrollment-settings', { body: { agent: null } }); toast(t('saved')); again(); } });

// ---- enrolment that begins in the settings of a device (IOS-08)
const modes = ['off', 'byod', 'adde', 'both'];
const accountEdit = (now, again) => dialog({ title: t('account_way'), lead: t('account_way_lead'), submit: t('save'), fields: [
  { name: 'mode', label: t('account_mode'), type: 'select', value: now.mode, options: modes.map((m) => [m, t(`account_mode_${m}`)]) },
  { name: 'domain', label: t('account_domain'), value: now.domain, max: 200, hint: t('account_domain_hint') }],
save: async (v) => {
  try { await api('PUT', 'enrollment-settings', { body: { account: { mode: v.mode, domain: v.domain.trim() } } }); } catch (e) { throw e.field ? Object.assign(e, { field: e.field.replace(/^account\./, '') }) : e; }
  toast(t('saved'));
  again();
} });

const panel = (title, lead, rows, ...buttons) => h('section', { class: 'panel' }, h('h2', {}, title), lead && h('p', { class: 'muted' }, lead),
  h('dl', {}, rows.map(([k, v, hint]) => [h('dt', {}, k), h('dd', {}, v, hint && h('span', { class: 'sub muted' }, hint))])), buttons.some(Boolean) && h('div', { class: 'acts apart' }, buttons));

export default async function page({ main, signal, may, again }) {
  const [o, e] = (await Promise.all([api('GET', 'otp-settings', { signal }), api('GET', 'enrollment-settings', { signal })])).map((r) => r.data);
  const write = may('zone:write'), a = e.agent;
  const change = (path, fn) => async () => { try { fn((await api('GET', path)).data); } catch (x) { say(x); } };
  fill(main, head(t('otps')), h('p', { class: 'muted' }, t('otp_lead')), h('div', { class: 'cols' },
    panel(t('otp_settings'), null, [[t('otp_ios'), t(`otp_need_${o.ios}`)], [t('otp_android'), t(`otp_need_${o.android}`)], [t('otp_length'), number(o.length)], [t('otp_alphabet'), t(`otp_alphabet_${o.alphabet}`)],
      [t('otp_life_hours'), hours(o.life_hours)], [t('otp_tries'), number(o.tries)], [t('otp_phone'), t(`otp_phone_${o.phone}`)], [t('otp_authorise'), t(o.authorise ? 'yes' : 'no')]],
    write && button(t('edit'), 'edit', change('otp-settings', (now) => edit(now, again)))),
    h('div', { class: 'stacked' }, panel(t('link_base'), null, [[t('activation_url'), h('code', { class: 'mono' }, `${e.public_url || e.default_url}/enroll/`), e.public_url ? null : t('link_base_own')]],
      write && button(t('link_base_change'), 'edit', change('enrollment-settings', (now) => address(now, again)))),
    panel(t('account_way'), e.account.mode === 'off' ? t('account_way_lead') : null, [[t('account_mode'), t(`account_mode_${e.account.mode}`)], e.account.domain && [t('account_domain'), h('bdi', {}, e.account.domain)]].filter(Boolean),
      write && button(t('account_edit'), 'edit', change('enrollment-settings', (now) => accountEdit(now.account, again)))),
    panel(t('agent'), a ? null : t('agent_none'), a ? [[t('agent_component'), h('code', { class: 'mono' }, a.component)], [t('agent_url'), name(a.url)], [t(`agent_of_${a.checksum_of}`), h('code', { class: 'mono' }, a.checksum)],
      [t('agent_extras'), h('pre', { class: 'wrap mono' }, lines(a.extras))]] : [],
    write && button(t(a ? 'agent_edit' : 'agent_set'), 'edit', change('enrollment-settings', (now) => agentEdit(now.agent, again))), write && a && button(t('agent_drop'), 'trash', () => agentDrop(again))))));
}
