// One policy: its settings, versions, assignments, and what became of it on devices.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, csvLink, table, tabbar, pager, chip, number as count, time, icon, button, empty, dialog, toast, say, name, word, said } from '../ui.js';
import { folderOptions } from '../tree.js';
import { catalogue, columns, label, valueText } from '../catalogue.js';
import { editor } from '../policy_editor.js';
import { enrollEditor, label as enrollLabel, valueText as enrollText } from '../enroll_editor.js';
import { progress } from '../policy_progress.js';
import { channelName, channels, deliveries as states, legend, stack } from '../progress.js';
import { ofPolicy } from '../assign.js';
import { levelFields, marks } from './policies.js';
import { t } from '../words.js';

const etag = (p) => `"${p.version}"`;
const versionName = (n) => (n ? t('pol_version_n', null, n) : t('s_sandbox'));

// ---- differences

async function differences(p, cat, servers, from, to, signal) {
  const { data } = await api('GET', `policies/${p.id}/diff${toQuery({ from, to })}`, { signal });
  const shown = p.type === 'enrollment' ? (d, v) => enrollText(d.setting, v) : (d, v) => valueText(cat, d.setting, v, servers);
  return data.items.length === 0 ? h('p', { class: 'muted' }, t('pol_no_difference')) : table([
    { label: t('pol_setting'), lead: true, cell: (d) => [h('span', { class: 'main' }, p.type === 'enrollment' ? enrollLabel(d.setting) : label(cat.by.get(d.setting)) || d.setting), d.column && h('span', { class: 'sub' }, word('own', d.column))] },
    { label: t('pol_before'), cell: (d) => h('del', {}, shown(d, d.before)) },
    { label: t('pol_after'), cell: (d) => h('ins', {}, shown(d, d.after)) },
  ], data.items);
}

async function compare(p, cat, servers, versions, number) {
  const box = h('div'), options = versions.map((v) => [String(v.number), versionName(v.number)]);
  const pick = (id, now) => h('select', { id, 'aria-label': t(id === 'cmp-from' ? 'pol_before' : 'pol_after'), onchange: () => show().catch(say) }, options.map(([v, text]) => h('option', { value: v, selected: v === String(now) }, text)));
  const older = versions.find((v) => v.number && v.number < (number || Infinity))?.number ?? p.published;
  const from = pick('cmp-from', older), to = pick('cmp-to', number);
  const show = async () => fill(box, await differences(p, cat, servers, from.value, to.value));
  await show();
  dialog({ title: t('pol_compare'), body: [h('div', { class: 'bar' }, from, icon('right'), to), box] }).classList.add('wide');
}

// ---- what can be done to it

const rename = (p, folders, again) => dialog({ title: `${t('edit')}: ${p.name}`, submit: t('save'), fields: [{ name: 'name', label: t('name'), value: p.name, required: true, max: 100 },
  { name: 'folder', label: t('folder'), type: 'select', value: p.folder?.id, options: folderOptions(folders) }, { name: 'description', label: t('description'), type: 'area', value: p.description, max: 2000 }],
save: async (v) => { await api('PATCH', `policies/${p.id}`, { body: v, match: etag(p) }); toast(t('saved')); again(); } });

const duplicate = (p, number) => dialog({ title: `${t('pol_duplicate')}: ${p.name}`, lead: t('pol_duplicate_lead', null, versionName(number)), submit: t('create'),
  fields: [{ name: 'name', label: t('name'), required: true, max: 100 }],
  save: async (v) => { const { data } = await api('POST', `policies/${p.id}/duplicate`, { body: { name: v.name, number } }); location.hash = `#/policy/${data.id}`; } });

async function publish(p, cat, servers, number, again) {
  const what = p.published && p.published !== number ? await differences(p, cat, servers, p.published, number) : null;
  dialog({ title: `${t('pol_publish')}: ${p.name}`, lead: [t('pol_publish_lead', null, versionName(number))], body: what && h('details', {}, h('summary', {}, t('pol_what_changes')), what), submit: t('pol_publish'),
    fields: [{ name: 'as', label: t('pol_publish_as'), type: 'radio', value: 'next', options: [['next', t('pol_as_next')], ['new', t('pol_as_new')]] },
      { name: 'name', label: t('pol_new_name'), max: 100, hint: t('pol_new_name_hint') }, { name: 'note', label: t('pol_note'), type: 'area', max: 2000 }],
    save: async (v) => {
      if (v.as === 'new' && !v.name.trim()) throw Object.assign(new Error(t('pol_new_name_hint')), { field: 'name' });
      const body = { number, note: v.note, ...(v.as === 'new' ? { name: v.name } : {}) };
      const { data } = await api('POST', `policies/${p.id}/publish`, { body, match: etag(p) });
      toast(t('pol_published'));
      if (data?.id && data.id !== p.id) location.hash = `#/policy/${data.id}`; else again();
    } }).classList.add('wide');
}

const discard = (p, again) => dialog({ title: t('pol_sandbox_drop'), lead: t('pol_sandbox_drop_lead'), submit: t('pol_sandbox_drop'), danger: true,
  save: async () => { await api('DELETE', `policies/${p.id}/sandbox`, { match: etag(p) }); toast(t('deleted')); again(); } });

function remove(p) {
  const sure = p.devices > 1;
  dialog({ title: `${t('pol_delete')}: ${p.name}`, lead: t('pol_delete_lead', null, p.devices), submit: t('pol_delete'), danger: true,
    fields: sure ? [{ name: 'confirm', label: t('delete_many_type', null, p.devices), required: true, max: 6 }] : [],
    save: async (v) => {
      await api('DELETE', `policies/${p.id}${sure ? toQuery({ confirm: v.confirm.trim() }) : ''}`, { match: etag(p) });
      toast(t('deleted'));
      location.hash = '#/policies';
    } });
}

const levels = (p, cat, version, again) => dialog({ title: t('pol_levels'), lead: t('pol_levels_lead'), submit: t('pol_save'), fields: levelFields(cat, version.levels),
  save: async (v) => { await api('PUT', `policies/${p.id}/sandbox`, { body: { levels: { corporate: v.corporate, personal: v.personal } }, match: etag(p) }); toast(t('saved')); again(); } });

// ---- its parts

async function enrolls({ p, version, write, again, signal, may }) {
  return [h('p', {}, t('pol_shown', null, versionName(version.number)), ' ', t('enp_lead')), await enrollEditor({ policy: p, version, write, may, signal, save: async (changes) => {
    await api('PATCH', `policies/${p.id}/sandbox`, { body: { settings: changes }, match: etag(p) });
    toast(t('pol_saved'));
    again();
  } })];
}

async function settings(ctx) {
  const { p, cat, servers, version, write, again, signal } = ctx;
  if (p.type === 'enrollment') return enrolls(ctx);
  const of = (col) => label(cat.levels.find((l) => l.id === version.levels[col]));
  const inherited = (await api('GET', `policies/${p.id}/inherited`, { signal })).data;
  return [h('div', { class: 'bar' }, h('p', { class: 'grow' }, t('pol_shown', null, versionName(version.number)), ' ', t('pol_levels_are', null, columns.map((col) => `${word('own', col)}: ${of(col)}`).join(' · '))),
    write && button(t('pol_levels'), 'edit', () => levels(p, cat, version, again))),
  editor({ policy: p, version, cat, servers, inherited, write, save: async (changes) => {
    await api('PATCH', `policies/${p.id}/sandbox`, { body: { settings: changes }, match: etag(p) });
    toast(t('pol_saved'));
    again();
  } })];
}

async function versions({ p, cat, servers, write, again, signal }) {
  const { data: { items } } = await api('GET', `policies/${p.id}/versions?limit=200`, { signal });
  return h('div', { class: 'panel flush' }, table([
    { label: t('version'), lead: true, cell: (v) => [h('a', { class: 'main', href: `#/policy/${p.id}?version=${v.number}` }, versionName(v.number)), v.note && h('span', { class: 'sub' }, name(v.note))] },
    { label: t('state'), cell: (v) => (v.in_force ? h('span', { class: 'chip good' }, icon('ok'), t('pol_in_force')) : v.number ? '–' : h('span', { class: 'chip warn' }, icon('box'), t('pol_tests_only'))) },
    { label: t('created'), tight: true, cell: (v) => time(v.created_at) },
    { label: t('by'), cell: (v) => name(v.created_by) },
    { label: '', cell: (v) => h('div', { class: 'acts' }, items.length > 1 && button(t('pol_compare'), 'cols', () => compare(p, cat, servers, items, v.number).catch(say)),
      write && !v.in_force && button(t('pol_publish'), 'up', () => publish(p, cat, servers, v.number, again).catch(say)), write && button(t('pol_duplicate'), 'copy', () => duplicate(p, v.number))) },
  ], items));
}

const assignments = ({ p, may, me, again, signal }) => ofPolicy(p, { may, me, again, signal });

// How far it is, channel by channel, and the devices behind a state.
async function delivery({ p, query, signal }) {
  const path = `policies/${p.id}/status`, channel = channels.includes(query.channel) ? query.channel : '', state = states.includes(query.state) ? query.state : '';
  const at = (c, s) => `#/policy/${p.id}${toQuery({ part: 'delivery', channel: c, state: s })}`;
  const devices = (more) => `policies/${p.id}/devices${toQuery({ channel, state, ...more })}`;
  const pictures = h('div', { class: 'cols', id: 'delivery' }), list = h('div');
  let rows = (await api('GET', devices(), { signal })).data;
  const draw = ({ counts }) => fill(pictures, channels.filter((c) => counts.some((x) => x.channel === c)).map((c) => {
    const seen = states.flatMap((s) => counts.filter((x) => x.channel === c && x.state === s).map((x) => [s, x.devices, t(`s_del_${s}`), at(c, s)]));
    return h('section', { class: 'panel' }, h('h2', {}, channelName(c)), stack(seen), h('p', {}, t('del_of', null, count(seen.find(([s]) => s === 'applied')?.[1] || 0), count(seen.reduce((n, x) => n + x[1], 0)))),
      legend(seen, c === channel ? state : ''));
  }));
  const drawList = () => fill(list, rows.items.length ? table([
    { label: t('device'), lead: true, cell: (d) => [h('a', { class: 'main', href: `#/device/${d.id}?tab=policies` }, name(d.name)), d.person && h('span', { class: 'sub' }, name(d.person))] },
    { label: t('del_channel'), tight: true, cell: (d) => channelName(d.channel) }, { label: t('state'), tight: true, cell: (d) => chip(`del_${d.state}`) },
    { label: t('task_said'), cell: (d) => [d.error && name(said(d.said, d.error)), d.attempts > 1 && h('span', { class: 'sub' }, t('del_tries', null, count(d.attempts)))] },
    { label: t('version'), tight: true, cell: (d) => versionName(d.number) }, { label: t('when'), tight: true, cell: (d) => time(d.updated_at) }], rows.items)
    : empty(t(state || channel ? 'no_match' : 'del_none'), 'devices'), pager(list, rows, () => more().catch(say)));
  // A page may be short, even empty, with more behind it.
  const more = async () => {
    const had = rows.items.length;
    while (rows.next && rows.items.length === had) {
      const { data } = await api('GET', devices({ cursor: rows.next }), { signal });
      rows.items.push(...data.items);
      rows.next = data.next;
    }
    drawList();
  };
  const fresh = async (now) => {
    draw(now);
    try {
      const { data } = await api('GET', devices({ limit: Math.min(200, Math.max(50, rows.items.length)) }), { signal });
      if (rows.items.length <= data.items.length || !data.next) rows = data;
      if (rows.items.length) drawList(); else await more();
    } catch (e) { if (!signal.aborted) say(e); }
  };
  const { data, etag: seen } = await api('GET', path, { signal });
  draw(data);
  if (rows.items.length) drawList(); else await more();
  poll(path, signal, fresh, { etag: seen, every: 3000 });
  const select = (id, text, all, now, words, go) => h('div', {}, h('label', { for: id }, text), h('select', { id, onchange: (e) => { location.hash = go(e.target.value); } },
    h('option', { value: '' }, t('all')), all.map((x) => h('option', { value: x, selected: x === now }, words(x)))));
  return [pictures, h('section', { class: 'panel flush spaced' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('devices')),
    select('q-channel', t('del_channel'), channels, channel, channelName, (c) => at(c, state)), select('q-state', t('state'), states, state, (s) => t(`s_del_${s}`), (s) => at(channel, s)),
    csvLink(url(devices({ format: 'csv' })), 'policy-devices')), list)];
}

const parts = { settings, assignments, delivery, versions };

export default async function page({ main, id, query, signal, may, me, again }) {
  const [{ data: p }, cat, { data: { items: folders } }, servers, mailed] = await Promise.all([api('GET', `policies/${id}`, { signal }), catalogue(), api('GET', 'policy-folders', { signal }),
    may('mail:read') ? api('GET', 'eas-servers?limit=200', { signal }).then((r) => r.data.items) : [],
    may('device:read') ? api('GET', 'overview', { signal }).then((r) => r.data.mail_server) : true]);
  const editable = may('policy:write') && !me.limited;
  const number = query.version === undefined ? (p.sandbox ? 0 : p.published) : Number(query.version);
  const part = parts[query.part] ? query.part : 'settings';
  const version = (await api('GET', `policies/${p.id}/versions/${number}`, { signal })).data;
  const latest = number === (p.sandbox ? 0 : p.published);
  const stage = h('div', { id: 'panel', role: 'tabpanel', 'aria-labelledby': `tab-${part}` });
  fill(stage, await parts[part]({ p, cat, servers, version, write: editable && latest, again, signal, may, me, query }));
  const acts = editable ? [button(t('edit'), 'edit', () => rename(p, folders, again)), button(t('pol_duplicate'), 'copy', () => duplicate(p, number)),
    p.sandbox && p.published ? button(t('pol_sandbox_drop'), 'off', () => discard(p, again)) : null, button(t('pol_delete'), 'trash', () => remove(p), 'danger'),
    p.sandbox && button(t('pol_publish'), 'up', () => publish(p, cat, servers, 0, again).catch(say), 'primary')] : [];
  document.title = `${p.name} · mod_mdm`;
  fill(main, h('a', { class: 'crumb', href: `#/policies${toQuery({ type: p.type })}` }, icon('left'), t('policies')), h('div', { class: 'head' }, h('h1', {}, name(p.name)), h('div', { class: 'acts' }, acts)),
    progress(signal), h('div', { class: 'under' }, h('span', { class: 'chip' }, word('pol_type', p.type)), marks(p), p.description && h('span', { class: 'muted' }, name(p.description))),
    !mailed && ['email', 'enrollment'].includes(p.type) && h('p', { class: 'alert warn' }, t('pol_no_mail'), ' ', may('zone:read') && h('a', { href: '#/notifications?tab=server' }, t('pol_no_mail_set'))),
    p.republish && h('p', { class: 'alert warn' }, t('pol_republish')), !latest && h('p', { class: 'alert' }, t('pol_older'), ' ', h('a', { href: `#/policy/${p.id}` }, t('pol_latest'))),
    tabbar(Object.keys(parts).filter((k) => k !== 'delivery' || p.type !== 'enrollment').map((k) => [k, t(`pol_${k}`)]), part, (k) => { location.hash = `#/policy/${p.id}${toQuery({ version: query.version, part: k })}`; }), stage);
}
