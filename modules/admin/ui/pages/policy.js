// One policy: its settings, versions, assignments, and what became of it on devices.
import { api, query as toQuery } from '../api.js';
import { h, fill, table, tabbar, time, icon, button, empty, dialog, toast, say, name, word } from '../ui.js';
import { folderOptions } from '../tree.js';
import { catalogue, columns, label, valueText } from '../catalogue.js';
import { editor } from '../policy_editor.js';
import { progress } from '../policy_progress.js';
import { levelFields, marks } from './policies.js';
import { t } from '../words.js';

const etag = (p) => `"${p.version}"`;
const versionName = (n) => (n ? t('pol_version_n', null, n) : t('s_sandbox'));

// ---- differences

async function differences(p, cat, servers, from, to, signal) {
  const { data } = await api('GET', `policies/${p.id}/diff${toQuery({ from, to })}`, { signal });
  return data.items.length === 0 ? h('p', { class: 'muted' }, t('pol_no_difference')) : table([
    { label: t('pol_setting'), lead: true, cell: (d) => [h('span', { class: 'main' }, label(cat.by.get(d.setting)) || d.setting), h('span', { class: 'sub' }, word('own', d.column))] },
    { label: t('pol_before'), cell: (d) => h('del', {}, valueText(cat, d.setting, d.before, servers)) },
    { label: t('pol_after'), cell: (d) => h('ins', {}, valueText(cat, d.setting, d.after, servers)) },
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

async function settings({ p, cat, servers, version, write, again, signal }) {
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

const parts = { settings, versions };

export default async function page({ main, id, query, signal, may, again }) {
  const [{ data: p }, cat, { data: { items: folders } }, servers] = await Promise.all([api('GET', `policies/${id}`, { signal }), catalogue(), api('GET', 'policy-folders', { signal }),
    may('mail:read') ? api('GET', 'eas-servers?limit=200', { signal }).then((r) => r.data.items) : []]);
  const editable = may('policy:write') && p.type !== 'enrollment';
  const number = query.version === undefined ? (p.sandbox ? 0 : p.published) : Number(query.version);
  const part = parts[query.part] ? query.part : 'settings';
  const version = (await api('GET', `policies/${p.id}/versions/${number}`, { signal })).data;
  const latest = number === (p.sandbox ? 0 : p.published);
  const stage = h('div', { id: 'panel', role: 'tabpanel', 'aria-labelledby': `tab-${part}` });
  fill(stage, p.type === 'enrollment' && part === 'settings' ? empty(t('pol_enrollment'), 'shield') : await parts[part]({ p, cat, servers, version, write: editable && latest, again, signal, may }));
  const acts = editable ? [button(t('edit'), 'edit', () => rename(p, folders, again)), button(t('pol_duplicate'), 'copy', () => duplicate(p, number)),
    p.sandbox && p.published ? button(t('pol_sandbox_drop'), 'off', () => discard(p, again)) : null, button(t('pol_delete'), 'trash', () => remove(p), 'danger'),
    p.sandbox && button(t('pol_publish'), 'up', () => publish(p, cat, servers, 0, again).catch(say), 'primary')] : [];
  document.title = `${p.name} · mod_mdm`;
  fill(main, h('a', { class: 'crumb', href: `#/policies${toQuery({ type: p.type })}` }, icon('left'), t('policies')), h('div', { class: 'head' }, h('h1', {}, name(p.name)), h('div', { class: 'acts' }, acts)),
    progress(signal), h('div', { class: 'under' }, h('span', { class: 'chip' }, word('pol_type', p.type)), marks(p), p.description && h('span', { class: 'muted' }, name(p.description))),
    p.republish && h('p', { class: 'alert warn' }, t('pol_republish')), !latest && h('p', { class: 'alert' }, t('pol_older'), ' ', h('a', { href: `#/policy/${p.id}` }, t('pol_latest'))),
    tabbar(Object.keys(parts).map((k) => [k, t(`pol_${k}`)]), part, (k) => { location.hash = `#/policy/${p.id}${toQuery({ ...query, part: k })}`; }), stage);
}
