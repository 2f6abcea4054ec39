// The SMS gateway: its settings, a preview of its request, a test.
import { api } from './api.js';
import { h, fill, time, button, dialog, toast, name, number } from './ui.js';
import { probe } from './probe.js';
import { t } from './words.js';

const steps = ['request', 'dns', 'tcp', 'answer', 'message'], pointers = ['ok_pointer', 'ok_value', 'id_pointer', 'error_pointer'];
const words = (text) => text.split(/[\s,;]+/).filter(Boolean);
const lines = (text) => text.split('\n').map((l) => l.trim()).filter(Boolean);
const cut = (line, at) => { const i = line.indexOf(at); return i < 0 ? [line, ''] : [line.slice(0, i).trim(), line.slice(i + 1).trim()]; };

// What the form says, as the API wants it.
const settings = (v) => ({ url: v.url.trim(), method: v.method, headers: lines(v.headers).map((l) => { const [n, value] = cut(l, ':'); return { name: n, value }; }),
  body: v.method === 'GET' ? '' : v.body, secrets: Object.fromEntries(lines(v.secrets).map((l) => { const [n, value] = cut(l, '='); return [n, value || null]; })),
  sender: v.sender.trim(), country: v.country.trim(), ...Object.fromEntries(pointers.map((k) => [k, v[k].trim()])), prefixes: words(v.prefixes), networks: words(v.networks),
  per_second: Number(v.per_second), daily_cap: Number(v.daily_cap), insecure: v.insecure });

const request = (r) => [h('p', {}, h('code', { class: 'mono' }, `${r.method} ${r.url}`)), h('pre', { class: 'wrap' }, r.headers.map((x) => `${x.name}: ${x.value}\n`).join(''), '\n', r.body)];

function edit(s, again) {
  const shown = h('div', { 'aria-live': 'polite' });
  const names = ['url', 'method', 'headers', 'body', 'secrets', 'sender', 'country', ...pointers, 'prefixes', 'networks', 'per_second', 'daily_cap'];
  const now = () => settings({ ...Object.fromEntries(names.map((k) => [k, box.querySelector(`#f-${k}`).value])), insecure: box.querySelector('#f-insecure').checked });
  const show = async () => {
    try { fill(shown, request((await api('POST', 'sms-gateway/preview', { body: now() })).data)); } catch (e) { fill(shown, h('p', { class: 'alert bad' }, e.message)); }
    shown.lastChild.scrollIntoView({ block: 'nearest' });
  };
  const box = dialog({ title: t('sms_gateway'), lead: h('p', {}, t('sms_lead')), submit: t('save'), fields: [
    { name: 'url', label: t('sms_url'), value: s.url, max: 2000, hint: t('sms_url_hint') },
    { name: 'method', label: t('sms_method'), type: 'select', value: s.method, options: ['POST', 'PUT', 'GET'].map((m) => [m, m]) },
    { name: 'headers', label: t('sms_headers'), type: 'area', value: s.headers.map((x) => `${x.name}: ${x.value}`).join('\n'), hint: t('sms_headers_hint') },
    { name: 'body', label: t('sms_body'), type: 'area', value: s.body, max: 8192, hint: t('sms_body_hint') },
    { name: 'secrets', label: t('sms_secrets'), type: 'area', value: '', hint: t('sms_secrets_hint', null, s.secrets.join(', ') || '–') },
    { name: 'sender', label: t('sms_sender'), value: s.sender, max: 16 },
    { name: 'country', label: t('sms_country'), value: s.country, max: 3, hint: t('sms_country_hint') },
    ...pointers.map((k) => ({ name: k, label: t(`sms_${k}`), value: s[k], max: 200, hint: k === 'ok_pointer' ? t('sms_pointer_hint') : null })),
    { name: 'prefixes', label: t('sms_prefixes'), value: s.prefixes.join(' '), hint: t('sms_prefixes_hint') },
    { name: 'networks', label: t('sms_networks'), value: s.networks.join(' '), hint: t('sms_networks_hint') },
    { name: 'per_second', label: t('sms_per_second'), type: 'number', value: s.per_second },
    { name: 'daily_cap', label: t('sms_daily_cap'), type: 'number', value: String(s.daily_cap) },
    { name: 'insecure', label: t('sms_insecure'), type: 'check', value: s.insecure }],
  save: async (v) => { await api('PUT', 'sms-gateway', { body: settings(v) }); toast(t('saved')); again(); } });
  box.classList.add('wide');
  box.querySelector('.foot').before(shown);
  box.querySelector('.foot').prepend(button(t('tpl_preview'), 'search', show));
}

const test = (again) => probe({ title: t('sms_test'), lead: t('smtp_test_lead'), path: 'sms-gateway', steps, again,
  fields: [{ name: 'to', label: t('sms_test_to'), type: 'tel', required: true, max: 40 }, { name: 'text', label: t('sms_test_text'), value: t('sms_test_words'), required: true, max: 1000 }] });

export function gateway(s, write, again) {
  const rows = [['sms_url', s.configured ? h('code', { class: 'mono' }, `${s.method} ${s.url}`) : '–'], ['sms_sender', name(s.sender || '–')], ['sms_secrets', s.secrets.join(', ') || '–'],
    ['sms_prefixes', s.prefixes.join(' ') || t('all')], s.networks.length > 0 && ['sms_networks', s.networks.join(' ')], ['sms_today', s.daily_cap ? `${number(s.sent_today)} / ${number(s.daily_cap)}` : number(s.sent_today)],
    ['smtp_waiting', number(s.waiting)], s.next_try && ['smtp_next', time(s.next_try)]].filter(Boolean);
  return h('div', {}, !s.configured && h('p', { class: 'alert warn' }, t('sms_none')), s.away_since && h('p', { class: 'alert bad' }, t('sms_away'), ' ', time(s.away_since), ': ', name(s.trouble)),
    h('section', { class: 'panel' }, h('dl', {}, rows.map(([k, v]) => [h('dt', {}, t(k)), h('dd', {}, v)])),
      write && h('div', { class: 'acts' }, button(t('edit'), 'edit', () => edit(s, again), s.configured ? '' : 'primary'), s.configured && button(t('sms_test'), 'ok', () => test(again)))));
}
