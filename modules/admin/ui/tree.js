// The tree of device folders beside the list, and what one does with it.
import { api } from './api.js';
import { h, dialog, button, icon, toast, name, number, empty } from './ui.js';
import { edit as schedule } from './schedules.js';
import { t } from './words.js';

const etag = (o) => `"${o.version}"`;
const count = (n) => (n >= 1000 ? '1000+' : number(n));
// Somebody who may see some folders only gets a tree without its top: whoever has no parent here stands at the top.
const tops = (all) => all.filter((f) => !all.some((g) => g.id === f.parent));
const depth = (all, f) => { const up = all.find((g) => g.id === f.parent); return up ? 1 + depth(all, up) : 0; };
const ordered = (all, list = tops(all)) => list.flatMap((f) => [f, ...ordered(all, all.filter((g) => g.parent === f.id))]);

// Options of a select, indented.
export const folderOptions = (all, but = []) => ordered(all).filter((f) => !but.includes(f.id)).map((f) => [f.id, `${'\u2003'.repeat(depth(all, f))}${f.name}`]);

function below(all, id) {
  return all.filter((f) => f.parent === id).flatMap((f) => [f.id, ...below(all, f.id)]);
}

const normal = (all) => all.filter((f) => f.kind !== 'pending');

const add = (all, into, again) => dialog({ title: t('folder_add'), submit: t('create'), fields: [{ name: 'name', label: t('name'), required: true, max: 100 },
  { name: 'parent', label: t('folder_in'), type: 'select', value: into, options: folderOptions(normal(all)) }],
save: async (v) => { await api('POST', 'folders', { body: v }); toast(t('saved')); again(); } });

const edit = (all, f, again) => dialog({ title: `${t('edit')}: ${f.name}`, submit: t('save'), fields: [{ name: 'name', label: t('name'), value: f.name, required: true, max: 100 },
  { name: 'parent', label: t('folder_in'), type: 'select', value: f.parent, options: folderOptions(normal(all), [f.id, ...below(all, f.id)]) }],
save: async (v) => { await api('PATCH', `folders/${f.id}`, { body: v, match: etag(f) }); toast(t('saved')); again(); } });

const remove = (f, gone) => dialog({ title: `${t('folder_delete')}: ${f.name}`, lead: t('folder_delete_lead'), submit: t('folder_delete'), danger: true,
  save: async () => { await api('DELETE', `folders/${f.id}`, { match: etag(f) }); toast(t('deleted')); gone(); } });

// all: the folders; here: the one that is shown; go(id): shows another; again(): loads anew; policies(folder): shows them, if that is allowed.
export function tree(all, here, { go, again, write, policies }) {
  const level = (list) => h('ul', {}, list.map((f) => {
    const kids = all.filter((g) => g.parent === f.id);
    return h('li', {}, h('a', { href: `#/devices?folder=${f.id}`, 'aria-current': f.id === here ? 'true' : null, onclick: (e) => { e.preventDefault(); go(f.id); } },
      icon('folder'), name(f.name), h('span', { class: 'muted small' }, f.devices ? count(f.devices) : '')), kids.length ? level(kids) : null);
  }));
  const f = all.find((x) => x.id === here);
  const acts = (write || (f && policies)) && h('div', { class: 'acts' }, write && button(t('folder_add'), 'plus', () => add(all, f && f.kind !== 'pending' ? f.id : tops(all)[0]?.id, again), 'quiet'),
    write && f && button(t('schedule'), 'calendar', () => schedule({ path: `folders/${f.id}/schedule`, title: f.name, again }), 'quiet'),
    f && policies && button(t('policies'), 'shield', () => policies(f), 'quiet'),
    write && f?.kind === 'normal' && [button(t('edit'), 'edit', () => edit(all, f, again), 'quiet'), button(t('folder_delete'), 'trash', () => remove(f, () => go('')), 'quiet')]);
  return h('details', { class: 'tree panel', open: matchMedia('(min-width: 1380px)').matches || !!here }, h('summary', {}, t('folders')),
    h('nav', { 'aria-label': t('folders') }, h('a', { href: '#/devices', 'aria-current': here ? null : 'true', onclick: (e) => { e.preventDefault(); go(''); } }, icon('devices'), t('all_devices')),
      all.length ? level(tops(all)) : empty(t('nothing'))), acts);
}

export const moveTo = (all, ids, done) => dialog({ title: t('move_many', null, ids.length), submit: t('move'), fields: [{ name: 'folder', label: t('folder'), type: 'select', options: folderOptions(normal(all)) }],
  save: async (v) => { await api('POST', 'devices/move', { body: { devices: ids, folder: v.folder } }); toast(t('moved', null, ids.length)); done(); } });

export const addTo = (groups, ids, done) => dialog({ title: t('group_many', null, ids.length), submit: t('group_put'), lead: groups.length ? null : t('group_none'),
  fields: [{ name: 'group', label: t('group'), type: 'select', options: groups.map((g) => [g.id, g.name]) }],
  save: async (v) => { await api('POST', `groups/${v.group}/devices`, { body: { add: ids } }); toast(t('saved')); done(); } });
