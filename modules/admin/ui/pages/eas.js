// ActiveSync servers: where allowed mail goes, for which user sources in which order, and whether a live account gets through.
import { api, url } from '../api.js';
import { h, fill, head, table, chip, button, empty, dialog, csvLink, toast, say, name, number, word } from '../ui.js';
import { probe } from '../probe.js';
import { t } from '../words.js';

const forms = ['as_typed', 'user', 'domain_user', 'mail'];
const steps = ['dns', 'tcp', 'tls', 'user', 'options', 'versions', 'foldersync'];
const etag = (s) => `"${s.version}"`;
const address = (s) => `${s.tls ? 'https' : 'http'}://${s.host.includes(':') ? `[${s.host}]` : s.host}:${s.port}`;

const fields = (s, sources) => [
  { name: 'name', label: t('name'), value: s?.name, required: true, max: 200 },
  { name: 'host', label: t('src_host'), value: s?.host, required: true, max: 255, hint: t('eas_host_hint') },
  { name: 'port', label: t('src_port'), type: 'number', value: s?.port, hint: t('eas_port_hint') },
  { name: 'tls', label: t('eas_tls'), type: 'check', value: s ? s.tls : true },
  { name: 'user_form', label: t('eas_form'), type: 'select', value: s?.user_form || 'as_typed', options: forms.map((f) => [f, word('eas_form', f)]) },
  { name: 'domain', label: t('eas_domain'), value: s?.domain, max: 200, hint: t('eas_domain_hint') },
  ...(sources ? [{ name: 'sources', label: t('sources'), type: 'checks', value: new Set(s ? s.sources.map((x) => x.id) : sources.length === 1 ? [sources[0].id] : []),
    options: sources.map((x) => [x.id, x.name]), hint: t('eas_sources_hint') }] : []),
  { name: 'enabled', label: t('src_enabled'), type: 'check', value: s ? s.enabled : true }];

const body = ({ port, ...v }) => ({ ...v, host: v.host.trim(), domain: v.domain.trim(), ...(port ? { port: Number(port) } : {}) });

const add = (sources, again) => dialog({ title: t('eas_add'), lead: t('eas_add_lead'), submit: t('create'), fields: fields(null, sources),
  save: async (v) => { await api('POST', 'eas-servers', { body: body(v) }); toast(t('saved')); again(); } });

const edit = (s, sources, again) => dialog({ title: `${t('edit')}: ${s.name}`, lead: t('eas_edit_lead'), submit: t('save'), fields: fields(s, sources),
  save: async (v) => { await api('PATCH', `eas-servers/${s.id}`, { body: body(v), match: etag(s) }); toast(t('saved')); again(); } });

const remove = (s, again) => dialog({ title: `${t('src_delete')}: ${s.name}`, lead: t('eas_delete_lead'), submit: t('src_delete'), danger: true,
  save: async () => { await api('DELETE', `eas-servers/${s.id}`, { match: etag(s) }); toast(t('deleted')); again(); } });

export const test = (s, again, login) => probe({ title: `${t('eas_test')}: ${s.name}`, lead: t('eas_test_lead'), path: `eas-servers/${s.id}`, etag: etag(s), steps, again,
  fields: [{ name: 'login', label: t('eas_test_login'), value: login, required: true, max: 256, hint: t('eas_test_login_hint') }, { name: 'password', label: t('password'), type: 'password', auto: 'off', required: true, max: 256 }] });

// The server's own device list: a file goes up, what came of it is told, and what it has told so far can be fetched.
const counts = ['rows', 'new', 'changed', 'same', 'errors'];
const result = (r) => h('div', { role: 'status' }, h('dl', {}, counts.map((c) => [h('dt', {}, t(`found_${c}`)), h('dd', {}, number(r[c]))])),
  r.first_errors.length > 0 && h('ul', { class: 'plain' }, r.first_errors.map((e) => h('li', {}, `${t('found_line')} ${e.line}: `, e.field && h('code', {}, e.field), ' ', name(e.reason)))));

function devices(s, write) {
  const out = h('div', { 'aria-live': 'polite' });
  const input = h('input', { type: 'file', accept: '.csv,text/csv', required: true, 'aria-label': t('found_file') });
  return dialog({ title: `${t('found')}: ${s.name}`, lead: t('found_lead'), submit: write && t('found_send'), stay: true,
    body: h('div', {}, h('p', {}, csvLink(url(`eas-servers/${s.id}/discovered?format=csv`), 'mail-devices')), out),
    fields: write ? [{ name: 'file', label: t('found_file'), type: 'own', input, node: input, read: () => input.files[0], hint: t('found_file_hint') }] : [],
    save: async (v) => { fill(out, result((await api('PUT', `eas-servers/${s.id}/discovered.csv`, { csv: v.file })).data)); } });
}

async function everything(signal) {
  const all = [];
  for (let cursor = ''; cursor !== null;) {
    const { data } = await api('GET', `eas-servers?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { signal });
    all.push(...data.items);
    cursor = data.next;
  }
  return all;
}

// Where a source has several servers, who is asked first.
function order(source, list, match, write, again) {
  const move = async (i, by) => {
    const ids = list.map((s) => s.id);
    ids.splice(i + by, 0, ...ids.splice(i, 1));
    try { await api('PUT', `sources/${source.id}/eas-servers`, { body: { servers: ids }, match }); toast(t('saved')); again(); } catch (e) { say(e); }
  };
  return h('section', { class: 'panel spaced' }, h('h2', {}, t('eas_order'), ' ', name(source.name)), h('p', { class: 'muted' }, t('eas_order_lead')),
    h('ol', { class: 'steps' }, list.map((s, i) => h('li', {}, h('span', { class: 'mark' }, String(i + 1)), h('div', { class: 'grow' }, h('strong', {}, name(s.name)), ' ', h('span', { class: 'muted' }, s.host)), s.enabled ? null : chip('disabled'),
      write && h('div', { class: 'acts' }, i > 0 && button(t('move_up'), 'up', () => move(i, -1)), i < list.length - 1 && button(t('move_down'), 'down', () => move(i, 1)))))));
}

// How strict the gate is (GATE-03).
const gateWords = { mode: ['on', 'detect'], without_policy: ['auto', 'server_only', 'allow'], language: ['en', 'de'] };
function gatePanel(gate, write, again) {
  const change = () => dialog({ title: t('gate'), lead: t('gate_lead'), submit: t('save'),
    fields: Object.entries(gateWords).map(([k, all]) => ({ name: k, label: t(`gate_${k}`), hint: t(`gate_${k}_hint`), type: 'select', value: gate[k], options: all.map((w) => [w, word(`gate_${k}`, w)]) })),
    save: async (v) => { await api('PUT', 'mail-gate', { body: v }); toast(t('saved')); again(); } });
  return h('section', { class: 'panel spaced' }, h('h2', {}, t('gate')), gate.mode === 'detect' && h('p', { class: 'alert warn' }, t('gate_detecting')),
    h('dl', {}, Object.keys(gateWords).map((k) => [h('dt', {}, t(`gate_${k}`)), h('dd', {}, word(`gate_${k}`, gate[k]))])), write && h('div', { class: 'acts apart' }, button(t('sch_change'), 'edit', change)));
}

export default async function page({ main, signal, may, again }) {
  const [items, sources] = await Promise.all([everything(signal), may('source:read') ? api('GET', 'sources', { signal }).then((r) => r.data.items) : null]);
  const { data: gate } = await api('GET', 'mail-gate', { signal });
  const linked = new Map(items.flatMap((s) => s.sources).map((x) => [x.id, x]));
  const several = [...linked.values()].filter((x) => items.filter((s) => s.sources.some((y) => y.id === x.id)).length > 1);
  const orders = await Promise.all(several.map((x) => api('GET', `sources/${x.id}/eas-servers`, { signal })));
  const write = may('mail:write');
  const acts = (s) => h('div', { class: 'acts' }, write && button(t('eas_test'), 'ok', () => test(s, again)), button(t('found'), 'devices', () => devices(s, write)), write && button(t('edit'), 'edit', () => edit(s, sources, again)), write && button(t('src_delete'), 'trash', () => remove(s, again), 'danger'));
  const list = items.length === 0 ? empty(t('eas_none'), 'mail') : table([
    { label: t('name'), lead: true, cell: (s) => [h('span', { class: 'main' }, name(s.name)), h('span', { class: 'sub' }, address(s))] },
    { label: t('state'), tight: true, cell: (s) => chip(s.enabled ? 'enabled' : 'disabled') },
    { label: t('sources'), cell: (s) => (s.sources.length ? s.sources.map((x, i) => [i ? ', ' : '', name(x.name)]) : t('eas_no_source')) },
    { label: t('eas_form'), tight: true, cell: (s) => word('eas_form', s.user_form) },
    { label: t('eas_certificate'), cell: (s) => t(!s.tls ? 'eas_no_tls' : s.pin ? 'eas_pinned' : 'eas_trusted') }, { label: '', cell: acts }], items);
  fill(main, head(t('eas'), write && button(t('eas_add'), 'plus', () => add(sources, again), 'primary')), h('div', { class: 'panel flush' }, list), gatePanel(gate, write, again),
    several.map((x, i) => order(x, orders[i].data.items, orders[i].etag, write, again)));
}
