// User sources: where people come from and who answers for their passwords.
import { api, query as toQuery } from '../api.js';
import { h, fill, head, table, chip, icon, button, empty, dialog, toast, say, name, number } from '../ui.js';
import { probe } from '../probe.js';
import { finder, shown } from '../assign.js';
import { t } from '../words.js';

const types = ['edirectory', 'active_directory', 'openldap', 'dsfw'];
const attrs = ['person_class', 'login', 'mail', 'name', 'phone', 'guid', 'disabled', 'group_class', 'group_name', 'member', 'dynamic_class'];
const lines = (s) => s.split('\n').map((x) => x.trim()).filter(Boolean);
const etag = (s) => `"${s.version}"`;

// "dc=example,dc=org" and "host.example.org" suggest the domain example.org.
function guess(v) {
  const dc = [...v.root.matchAll(/(?:^|,)\s*dc=([^,]+)/gi)].map((m) => m[1].trim());
  return dc.length ? dc.join('.') : /[a-z]/i.test(v.host) ? v.host.split('.').slice(1).join('.') : '';
}

// Groups of the source as it shows them, by DN, which is what is kept.
function chooser(s) {
  const find = async (q) => (await api('GET', `user-groups${toQuery({ source: s.id, q, limit: 20 })}`)).data.items.filter((g) => g.dn).map((g) => ({ id: g.dn, name: g.name, sub: g.dn }));
  const made = finder({ id: 'authorisers', label: t('src_authorisers_find'), most: 50, find, changed: () => {} });
  for (const dn of s.config.authorisers || []) made.chosen.set(dn, { id: dn, name: dn.replace(/^[^=]*=|,.*$/g, '') });
  return made;
}

function fields(s, groups) {
  const c = s?.config || {};
  return [{ name: 'name', label: t('name'), value: s?.name, required: true, max: 200 },
    { name: 'type', label: t('src_type'), type: 'select', value: c.type || 'edirectory', options: types.map((x) => [x, t(`src_${x}`)]) },
    { name: 'host', label: t('src_host'), value: c.host, required: true, max: 255 },
    { name: 'port', label: t('src_port'), type: 'number', value: c.port || '', hint: t('src_port_hint') },
    { name: 'tls', label: t('src_tls'), type: 'select', value: c.tls || 'ldaps', options: ['ldaps', 'starttls', 'none'].map((x) => [x, t(`src_tls_${x}`)]) },
    { name: 'root', label: t('src_root'), value: c.root, max: 1000, hint: t('src_root_hint') },
    { name: 'bind_dn', label: t('src_bind'), value: c.bind_dn, max: 1000, hint: t('src_bind_hint') },
    { name: 'secret', label: t('password'), type: 'password', auto: 'new-password', max: 500, hint: s ? t('src_secret_hint') : null },
    { name: 'containers', label: t('src_containers'), type: 'area', value: (c.containers || []).join('\n'), required: true, hint: t('src_lines') },
    { name: 'domains', label: t('src_domains'), type: 'area', value: (s?.domains || []).join('\n'), hint: t('src_domains_hint') },
    { name: 'ca', label: t('src_ca'), type: 'area', value: c.ca, hint: t('src_ca_hint') },
    { name: 'attributes', label: t('src_attributes'), type: 'area', value: Object.entries(c.attributes || {}).map((x) => x.join('=')).join('\n'), hint: t('src_attributes_hint', null, attrs.join(', ')) },
    ...(groups ? [{ name: 'authorisers', label: t('src_authorisers'), type: 'own', input: groups.input, node: groups.node, hint: t('src_authorisers_hint'), read: () => [...groups.chosen.keys()] }] : []),
    { name: 'sync_minutes', label: t('src_sync_minutes'), type: 'number', value: c.sync_minutes || 60 },
    { name: 'position', label: t('src_position'), type: 'number', value: s?.position ?? 100 },
    { name: 'ignore_dynamic', label: t('src_ignore_dynamic'), type: 'check', value: c.ignore_dynamic },
    ...(s ? [{ name: 'enabled', label: t('src_enabled'), type: 'check', value: s.enabled }] : [])];
}

function body(v, s) {
  const { pin, ...rest } = s?.config || {};
  const config = { ...rest, type: v.type, host: v.host.trim(), tls: v.tls, root: v.root.trim(), bind_dn: v.bind_dn.trim(), containers: lines(v.containers), ca: v.ca.trim(),
    ignore_dynamic: v.ignore_dynamic, ...(v.authorisers ? { authorisers: v.authorisers } : {}), sync_minutes: Number(v.sync_minutes) || 60, attributes: Object.fromEntries(lines(v.attributes).map((x) => x.split('=').map((y) => y.trim()))) };
  if (v.port) config.port = Number(v.port); else delete config.port;
  const domains = lines(v.domains);
  if (!s && !domains.length && guess(v)) domains.push(guess(v));
  return { name: v.name, config, domains, position: Number(v.position) || 0, ...(v.secret || !s ? { secret: v.secret } : {}), ...(s ? { enabled: v.enabled } : {}) };
}

// Asks once more if the server names devices whose mail account may have to be set up again.
async function put(method, path, body, match, done) {
  try {
    await api(method, path, { body, match });
    toast(t('saved')); done();
  } catch (e) {
    if (e.status !== 409 || e.field !== 'confirm') throw e;
    dialog({ title: t('src_confirm'), lead: h('p', { class: 'alert warn' }, e.message), submit: t('save_anyway'), danger: true, save: () => put(method, path, { ...body, confirm: true }, match, done) });
  }
}

const add = (again) => dialog({ title: t('src_add'), lead: t('src_add_lead'), submit: t('create'), fields: fields(),
  save: (v) => put('POST', 'sources', body(v), undefined, again) });

function edit(s, again, may) {
  const groups = may('person:read') && chooser(s);
  dialog({ title: `${t('edit')}: ${s.name}`, submit: t('save'), fields: fields(s, groups), save: (v) => put('PATCH', `sources/${s.id}`, body(v, s), etag(s), again) });
  if (groups) groups.look();
}

const remove = (s, again) => dialog({ title: `${t('src_delete')}: ${s.name}`, lead: t('src_delete_lead', null, number(s.people), number(s.devices)), submit: t('src_delete'), danger: true,
  save: async () => { await api('DELETE', `sources/${s.id}`, { match: etag(s) }); toast(t('deleted')); again(); } });

const simple = (s, again) => dialog({ title: `${t('src_simple')}: ${s.name}`, lead: t('src_simple_lead'), submit: t('src_simple'),
  save: () => put('PATCH', `sources/${s.id}`, { simple: true }, etag(s), again) });

const test = (s, again) => probe({ title: `${t('src_test')}: ${s.name}`, path: `sources/${s.id}`, etag: etag(s), steps: ['dns', 'tcp', 'tls', 'bind', 'search'], again });

export default async function page({ main, signal, may, me, again }) {
  const { items } = (await api('GET', 'sources', { signal })).data;
  const write = may('source:write');
  const sync = async (s) => { try { await api('POST', `sources/${s.id}/sync`); toast(t('src_sync_asked')); } catch (e) { say(e); } };
  const acts = (s) => h('div', { class: 'acts' }, may('policy:read') && button(t('policies'), 'shield', () => shown({ kind: 'user_source', id: s.id, name: s.name }, { may, me })), write && !s.simple && button(t('src_simple'), 'me', () => simple(s, again)), write && s.kind === 'ldap' && [button(t('src_test'), 'ok', () => test(s, again)),
    button(t('src_sync'), 'refresh', () => sync(s)), button(t('edit'), 'edit', () => edit(s, again, may)), button(t('src_delete'), 'trash', () => remove(s, again), 'danger')]);
  const list = items.length === 0 ? empty(t('nothing'), 'people') : table([
    { label: t('name'), lead: true, cell: (s) => [h('span', { class: 'main' }, name(s.name)), h('span', { class: 'sub' }, s.kind === 'local' ? t('src_local') : `${t(`src_${s.config.type}`)} · ${s.config.host}`)] },
    { label: t('state'), tight: true, cell: (s) => chip(s.enabled ? 'enabled' : 'disabled') },
    { label: t('src_log_in'), cell: (s) => [s.simple ? h('div', {}, icon('ok'), ' ', t('src_is_simple')) : null, s.domains.length ? s.domains.join(', ') : s.simple ? null : name(s.name)] },
    { label: t('people'), cell: (s) => number(s.people) }, { label: t('devices'), cell: (s) => number(s.devices) }, { label: '', cell: acts }], items);
  fill(main, head(t('sources'), write && button(t('src_add'), 'plus', () => add(again), 'primary')), h('div', { class: 'panel flush' }, list));
}
