// Groups of devices: static ones are filled from the list of devices, dynamic ones by their criteria.
import { api, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, button, empty, dialog, toast, say, name, number } from '../ui.js';
import { start } from '../orders.js';
import { shown } from '../assign.js';
import { add as addDynamic, edit as editCriteria, update } from '../dynamic.js';
import { t } from '../words.js';

const etag = (g) => `"${g.version}"`;
const fields = (g) => [{ name: 'name', label: t('name'), value: g?.name, required: true, max: 100 },
  { name: 'position', label: t('group_position'), type: 'number', value: String(g?.position ?? 0), hint: t('group_position_hint') }];
const body = (v) => ({ name: v.name, position: Number(v.position) || 0 });

const add = (again) => dialog({ title: t('group_add'), lead: t('group_add_lead'), submit: t('create'), fields: fields(),
  save: async (v) => { await api('POST', 'groups', { body: body(v) }); toast(t('saved')); again(); } });
const edit = (g, again) => dialog({ title: `${t('edit')}: ${g.name}`, submit: t('save'), fields: fields(g),
  save: async (v) => { await api('PATCH', `groups/${g.id}`, { body: body(v), match: etag(g) }); toast(t('saved')); again(); } });
const remove = (g, again) => dialog({ title: `${t('group_delete')}: ${g.name}`, lead: t('group_delete_lead'), submit: t('group_delete'), danger: true,
  save: async () => { await api('DELETE', `groups/${g.id}`, { match: etag(g) }); toast(t('deleted')); again(); } });

export default async function page({ main, signal, may, me, again }) {
  const state = { items: [], next: null };
  const list = h('div', { class: 'panel flush' });
  const write = may('group:write');
  const load = async () => {
    const { data } = await api('GET', `groups${state.next ? `?cursor=${encodeURIComponent(state.next)}` : ''}`, { signal });
    state.items.push(...data.items);
    state.next = data.next;
    fill(list, state.items.length === 0 ? empty(t('group_none'), 'box') : table([
      { label: t('name'), lead: true, cell: (g) => h('a', { class: 'main', href: `#/devices?group=${g.id}` }, name(g.name)) },
      { label: t('kind'), tight: true, cell: (g) => t(`dyn_${g.kind}`, g.kind) },
      { label: t('devices'), cell: (g) => (g.devices >= 1000 ? '1000+' : number(g.devices)) },
      { label: t('group_position'), cell: (g) => number(g.position) },
      { label: '', cell: (g) => h('div', { class: 'acts' }, may('device:task') && button(t('task_start'), 'task', () => start({ body: { filter: { group: g.id } }, label: g.name, may })),
        may('policy:read') && button(t('policies'), 'shield', () => shown({ kind: 'device_group', id: g.id, name: g.name }, { may, me })),
        write && g.kind === 'dynamic' && [button(t('dyn_criteria'), 'search', () => editCriteria(g, again).catch(say)), button(t('dyn_update'), 'refresh', () => update(g, again))],
        write && button(t('edit'), 'edit', () => edit(g, again)), write && button(t('group_delete'), 'trash', () => remove(g, again), 'danger')) },
    ], state.items), pager(list, state, () => load().catch(say)));
  };
  await load();
  fill(main, head(t('groups'), csvLink(url('groups?format=csv'), 'groups'), write && button(t('dyn_add'), 'plus', () => addDynamic(fields(), body, again).catch(say)), write && button(t('group_add'), 'plus', () => add(again), 'primary')), list);
}
