// Policies: what there is, by type and folder; new ones from presets.
import { api, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, icon, button, empty, dialog, toast, say, name, number, word } from '../ui.js';
import { folderOptions } from '../tree.js';
import { catalogue, label } from '../catalogue.js';
import { progress } from '../policy_progress.js';
import { t } from '../words.js';

const types = ['device_control', 'security', 'email', 'enrollment'];
const etag = (o) => `"${o.version}"`;
const some = (n) => (n >= 1000 ? '1000+' : number(n));

export const levelFields = (cat, levels) => ['corporate', 'personal'].map((col) => ({ name: col, label: t('pol_level_of', null, word('own', col)), type: 'select', value: levels?.[col] || 'none',
  options: cat.levels.map((l) => [l.id, label(l)]) }));

function add(cat, folders, folder, type) {
  const box = dialog({ title: t('pol_add'), lead: t('pol_add_lead'), submit: t('create'), fields: [
    { name: 'type', label: t('pol_type'), type: 'select', value: type || 'security', options: types.map((x) => [x, word('pol_type', x)]) },
    { name: 'name', label: t('name'), required: true, max: 100 },
    { name: 'folder', label: t('folder'), type: 'select', value: folder, options: folderOptions(folders) },
    { name: 'description', label: t('description'), type: 'area', max: 2000 },
    ...levelFields(cat),
    { name: 'publish', label: t('pol_publish_now'), type: 'check' }],
  save: async (v) => {
    const { data } = await api('POST', 'policies', { body: { type: v.type, name: v.name, folder: v.folder, description: v.description, ...(v.type === 'enrollment' ? {} : { levels: { corporate: v.corporate, personal: v.personal } }), publish: v.publish } });
    location.hash = `#/policy/${data.id}`;
  } });
  const kind = box.querySelector('#f-type'), levels = ['corporate', 'personal'].map((col) => box.querySelector(`#f-${col}`).closest('.field'));
  const fit = () => levels.forEach((el) => { el.hidden = kind.value === 'enrollment'; });
  kind.addEventListener('change', fit);
  fit();
}

const addFolder = (folders, parent, again) => dialog({ title: t('folder_add'), submit: t('create'), fields: [{ name: 'name', label: t('name'), required: true, max: 100 },
  { name: 'parent', label: t('folder_in'), type: 'select', value: parent, options: folderOptions(folders) }],
save: async (v) => { await api('POST', 'policy-folders', { body: v }); toast(t('saved')); again(); } });
const editFolder = (folders, f, again) => dialog({ title: `${t('edit')}: ${f.name}`, submit: t('save'), fields: [{ name: 'name', label: t('name'), value: f.name, required: true, max: 100 },
  { name: 'parent', label: t('folder_in'), type: 'select', value: f.parent, options: folderOptions(folders, [f.id]) }],
save: async (v) => { await api('PATCH', `policy-folders/${f.id}`, { body: v, match: etag(f) }); toast(t('saved')); again(); } });
const removeFolder = (f, gone) => dialog({ title: `${t('folder_delete')}: ${f.name}`, lead: t('pol_folder_delete_lead'), submit: t('folder_delete'), danger: true,
  save: async () => { await api('DELETE', `policy-folders/${f.id}`, { match: etag(f) }); toast(t('deleted')); gone(); } });

export const marks = (p) => h('div', { class: 'chips' }, p.published ? h('span', { class: 'chip good' }, icon('ok'), t('pol_version_n', null, p.published)) : chip('unpublished'),
  p.sandbox && chip('sandbox'), p.republish && chip('republish'));

export default async function page({ main, query, signal, may, me, again }) {
  const state = { items: [], next: null }, list = h('div', { class: 'panel flush' }), write = may('policy:write') && !me.limited; // policies are for the whole zone
  const go = (change) => { location.hash = `#/policies${toQuery({ ...query, ...change })}`; };
  const [cat, { data: { items: folders } }] = await Promise.all([catalogue(), api('GET', 'policy-folders', { signal })]);
  const load = async () => {
    const { data } = await api('GET', `policies${toQuery({ ...query, cursor: state.next })}`, { signal });
    state.items.push(...data.items);
    state.next = data.next;
    const filtered = query.q || query.type || query.folder;
    fill(list, state.items.length === 0 ? empty(t(filtered ? 'no_match' : 'pol_none'), 'shield', filtered ? h('a', { class: 'btn', href: '#/policies' }, t('reset')) : write && button(t('pol_add'), 'plus', () => add(cat, folders, query.folder, query.type), 'primary'))
      : table([
        { label: t('name'), lead: true, cell: (p) => [h('a', { class: 'main', href: `#/policy/${p.id}` }, name(p.name)), p.description && h('span', { class: 'sub' }, name(p.description))] },
        { label: t('pol_type'), cell: (p) => label(cat.types.find((x) => x.id === p.type)) || word('pol_type', p.type) },
        { label: t('state'), cell: marks },
        { label: t('folder'), cell: (p) => (p.folder ? name(p.folder.name) : '–') },
        { label: t('pol_assignments'), cell: (p) => some(p.assignments) },
        { label: t('devices'), cell: (p) => some(p.devices) },
      ], state.items), pager(list, state, () => load().catch(say)));
  };
  await load();
  const search = h('input', { id: 'q', type: 'search', value: query.q || '', autocomplete: 'off' });
  const f = folders.find((x) => x.id === query.folder);
  fill(main, head(t('policies'), csvLink(url(`policies${toQuery({ ...query, format: 'csv' })}`), 'policies'), write && button(t('folder_add'), 'folder', () => addFolder(folders, f?.id || folders[0]?.id, again)),
    write && button(t('pol_add'), 'plus', () => add(cat, folders, f?.id, query.type), 'primary')),
  progress(signal),
  h('form', { class: 'bar', role: 'search', onsubmit: (e) => { e.preventDefault(); go({ q: search.value.trim() }); } },
    h('div', { class: 'grow' }, h('label', { for: 'q' }, t('search')), h('div', { class: 'search' }, icon('search'), search)),
    h('div', {}, h('label', { for: 'q-type' }, t('pol_type')), h('select', { id: 'q-type', onchange: (e) => go({ type: e.target.value }) }, h('option', { value: '' }, t('all')),
      types.map((x) => h('option', { value: x, selected: x === query.type }, word('pol_type', x))))),
    h('div', {}, h('label', { for: 'q-folder' }, t('folder')), h('select', { id: 'q-folder', onchange: (e) => go({ folder: e.target.value }) }, h('option', { value: '' }, t('all')),
      folderOptions(folders).map(([id, text]) => h('option', { value: id, selected: id === query.folder }, text)))),
    write && f?.parent && [button(t('edit'), 'edit', () => editFolder(folders, f, again)), button(t('folder_delete'), 'trash', () => removeFolder(f, () => go({ folder: '' })))]), list);
}
