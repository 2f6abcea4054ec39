// The list of devices: its filters, order and columns are its address.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, icon, button, empty, word, dialog, toast, say, name, system } from '../ui.js';
import { tree, moveTo, addTo } from '../tree.js';
import { filterOf, start } from '../orders.js';
import { shown as policiesOf } from '../assign.js';
import { t } from '../words.js';

const optional = ['model', 'os', 'mode', 'ownership', 'serial', 'enrolled', 'compliance', 'last_eas'];
const shownFirst = ['model', 'os', 'ownership'];

const columns = (shown) => [
  { key: 'name', label: t('name'), lead: true, sort: 'name', cell: (d) => [h('a', { class: 'main', href: `#/device/${d.id}` }, name(d.name)),
    h('span', { class: 'sub' }, d.person ? name(d.person.name) : t('no_owner'))] },
  { key: 'state', label: t('state'), cell: (d) => h('div', { class: 'chips' }, chip(d.state), d.lost_since && chip('lost'), d.test_device && chip('test'),
    d.severity > 1 && h('span', { class: `chip ${d.severity > 2 ? 'bad' : 'warn'}` }, icon('warn'), t('messages'))) },
  { key: 'model', label: t('model'), tight: true, cell: (d) => d.model || d.product || '–' },
  { key: 'os', label: t('os'), tight: true, cell: system },
  { key: 'mode', label: t('mode'), cell: (d) => word('mode', d.mode) },
  { key: 'ownership', label: t('ownership'), cell: (d) => word('own', d.ownership) },
  { key: 'serial', label: t('serial'), cell: (d) => h('span', { class: 'mono' }, d.serial || '–') },
  { key: 'enrolled', label: t('enrolled'), tight: true, cell: (d) => time(d.enrolled_at) },
  { key: 'compliance', label: t('compliance'), cell: (d) => word('comp', d.compliance) },
  { key: 'last_eas', label: t('last_eas'), tight: true, cell: (d) => time(d.last_eas_at) },
  { key: 'contact', label: t('last_contact'), tight: true, sort: 'last_contact', cell: (d) => time(d.last_contact_at) },
].filter((c) => !optional.includes(c.key) || shown.includes(c.key));

export default async function page({ main, query, signal, may, me, again }) {
  const { cols, ...filter } = query;
  const shown = cols === undefined ? shownFirst : cols.split(',');
  const state = { items: [], next: null };
  const picked = new Set();
  const list = h('div', { class: 'panel flush' });
  const go = (change) => { location.hash = `#/devices${toQuery({ ...query, ...change })}`; };
  const get = (cursor) => api('GET', `devices${toQuery({ ...filter, cursor })}`, { signal });

  const draw = () => {
    if (state.items.length === 0 && !state.next) {
      const filtered = Object.keys(filter).some((k) => k !== 'sort');
      return fill(list, empty(filtered ? t('no_match') : t('no_devices'), 'devices', filtered
        ? h('a', { class: 'btn', href: '#/devices' }, t('reset')) : h('a', { class: 'btn primary', href: '#/pending' }, t('provision'))));
    }
    return fill(list,
      picked.size ? h('div', { class: 'bulk' }, h('strong', {}, t('selected', null, picked.size)), may('device:task') && button(t('task_start'), 'task', () => start({ body: { devices: [...picked] }, label: t('task_selected'), may })),
        may('device:write') && button(t('move'), 'folder', () => moveTo(folders, [...picked], moved)), may('group:write') && button(t('group_put'), 'box', () => addTo(groups.filter((g) => g.kind === 'static'), [...picked], moved)), may('device:write') && button(t('del'), 'trash', removeMany, 'danger'), button(t('clear'), null, () => { picked.clear(); draw(); }, 'quiet')) : null,
      table(columns(shown), state.items, { sort: filter.sort || 'name', onsort: (sort) => go({ sort }), pick: may('device:task') || may('device:write') ? draw : null, picked }),
      pager(list, state, more));
  };
  const more = async () => {
    try {
      const had = state.items.length;
      while (state.next && state.items.length === had) { // a page may be short, with more behind it
        const r = await get(state.next);
        state.items.push(...r.data.items);
        state.next = r.data.next;
      }
      draw();
    } catch (e) { say(e); }
  };
  // One after the other, with a bar; those that can't (any more) are counted.
  async function each(ids, bar, act) {
    let ok = 0;
    bar.hidden = false;
    for (const [i, id] of ids.entries()) {
      try { await act(id); ok++; } catch (e) { if (e.status !== 409 && e.status !== 404) throw e; }
      bar.value = i + 1;
    }
    return [ok, ids.length - ok];
  }
  const progress = (ids) => h('progress', { max: ids.length, value: 0, hidden: true, 'aria-label': t('progress') });
  function removeMany() {
    const ids = [...picked], bar = progress(ids);
    dialog({ title: t('delete_many', null, ids.length), lead: t('delete_many_lead', null, ids.length), body: bar, submit: t('del'), danger: true,
      fields: [{ name: 'number', label: t('delete_many_type', null, ids.length), required: true, max: 6 }], save: async (v) => {
        if (v.number.trim() !== String(ids.length)) throw Object.assign(new Error(t('delete_many_wrong')), { field: 'number' });
        toast(t('delete_result', null, ...await each(ids, bar, (id) => api('DELETE', `devices/${id}`))));
        moved();
      } });
  }

  const moved = () => { picked.clear(); again(); };
  const [first, { data: { items: folders } }, { data: { items: groups } }] = await Promise.all([get(), api('GET', 'folders', { signal }), api('GET', 'groups?limit=200', { signal })]);
  Object.assign(state, first.data);
  if (!state.items.length && state.next) await more();
  draw();
  const select = (key, label, values, group) => h('div', {}, h('label', { for: `q-${key}` }, label), h('select', { id: `q-${key}`, onchange: (e) => go({ [key]: e.target.value }) },
    h('option', { value: '' }, t('all')), values.map((v) => h('option', { value: v, selected: filter[key] === v }, word(group, v)))));
  const flag = (key, label) => h('label', { class: 'check' }, h('input', { id: `q-${key}`, type: 'checkbox', checked: filter[key] === '1', onchange: (e) => go({ [key]: e.target.checked ? '1' : undefined }) }), label);
  const search = h('input', { id: 'q', type: 'search', value: filter.q || '', placeholder: t('search_devices'), autocomplete: 'off' });
  const chooser = h('details', { class: 'pick' }, h('summary', { class: 'btn' }, icon('cols'), t('columns')), h('div', { class: 'menu' }, optional.map((key) => h('label', { class: 'check' },
    h('input', { type: 'checkbox', checked: shown.includes(key), onchange: (e) => go({ cols: optional.filter((c) => (c === key ? e.target.checked : shown.includes(c))).join(',') || 'none' }) }), t(key)))));
  const whole = () => start({ body: { filter: filterOf(filter) }, label: t(Object.keys(filterOf(filter)).length ? 'task_all_filter' : 'all_devices'), may });
  fill(main, head(t('devices'), may('device:task') && button(t('task_start'), 'task', whole), chooser, csvLink(url(`devices${toQuery({ ...filter, format: 'csv' })}`), 'devices')),
    h('form', { class: 'bar', role: 'search', onsubmit: (e) => { e.preventDefault(); go({ q: search.value.trim() }); } },
      h('div', { class: 'grow' }, h('label', { for: 'q' }, t('search')), h('div', { class: 'search' }, icon('search'), search)),
      select('state', t('state'), ['active', 'pending', 'wipe_pending', 'retired', 'blocked', 'removed'], 's'),
      select('platform', t('platform'), ['ios', 'android', 'windows', 'blackberry', 'unknown'], 'plat'),
      select('mode', t('mode'), ['ios_mdm', 'ios_mdm_eas', 'android_app', 'android_app_eas', 'eas', 'unknown'], 'mode'),
      select('ownership', t('ownership'), ['corporate', 'personal'], 'own'),
      flag('lost', t('s_lost')), flag('source_removed', t('src_removed')),
      groups.length ? h('div', {}, h('label', { for: 'q-group' }, t('group')), h('select', { id: 'q-group', onchange: (e) => go({ group: e.target.value }) }, h('option', { value: '' }, t('all')),
        groups.map((g) => h('option', { value: g.id, selected: filter.group === g.id }, g.name)))) : null),
    h('div', { class: 'beside' }, tree(folders, filter.folder || '', { go: (folder) => go({ folder }), again, write: may('folder:write'), policies: may('policy:read') && ((f) => policiesOf({ kind: 'folder', id: f.id, name: f.name }, { may, me })) }), list));
  poll(`devices${toQuery(filter)}`, signal, (d) => {
    const rest = state.items.slice(d.items.length).filter((x) => !d.items.some((y) => y.id === x.id));
    state.items = state.items.length > d.items.length ? [...d.items, ...rest] : d.items;
    if (state.items.length === d.items.length) state.next = d.next;
    draw();
  }, { etag: first.etag });
}
