// Address filters: one ordered list for a node or the zone and a category; edited here, saved as a whole.
import { api, query as toQuery } from '../api.js';
import { h, fill, head, table, button, empty, dialog, toast, say, word } from '../ui.js';
import { t } from '../words.js';

const fields = (f) => [
  { name: 'addresses', label: t('addresses'), value: f.addresses, required: true, max: 4000, hint: t('addresses_hint') },
  { name: 'action', label: t('access_action'), type: 'select', value: f.action || 'allow', options: ['allow', 'deny'].map((a) => [a, word('acc', a)]) },
  { name: 'description', label: t('description'), value: f.description, max: 200 }];

const rules = (items, acts) => table([
  { label: t('number'), tight: true, cell: (f) => String(items.indexOf(f) + 1) },
  { label: t('addresses'), lead: true, cell: (f) => [h('span', { class: 'main mono' }, f.addresses), h('span', { class: 'sub' }, f.description)] },
  { label: t('access_action'), tight: true, cell: (f) => word('acc', f.action) },
  { label: '', cell: (f) => acts && acts(f, items.indexOf(f)) }], items);

export default async function page({ main, query, signal, may, again }) {
  const place = { node: query.node || '', category: query.category || 'admin' };
  const [{ data, etag }, nodes] = await Promise.all([
    api('GET', `access${toQuery(place)}`, { signal }), api('GET', 'nodes', { signal }).then((r) => r.data.items)]);
  const write = may('zone:write');
  const list = [...data.filters];
  const box = h('div', { class: 'panel flush' });
  let dirty = false;
  const go = (change) => { location.hash = `#/access${toQuery({ ...place, ...change })}`; };
  const changed = () => { dirty = true; draw(); };
  // the server checks a filter before it goes into the list: the mistake is shown where it was typed
  const check = async (f) => {
    try { await api('POST', 'access/test', { body: { category: place.category, address: '::1', filters: [f] } }); } catch (e) { e.field = (e.field || '').split('.').pop(); throw e; }
  };
  const edit = (f, i) => dialog({ title: t(f ? 'edit_filter' : 'add_filter'), submit: t('apply'), fields: fields(f || {}),
    save: async (v) => { await check(v); if (f) list[i] = v; else list.push(v); changed(); } });
  const move = (i, by) => { const [f] = list.splice(i, 1); list.splice(i + by, 0, f); changed(); };
  const save = async (confirm) => {
    try {
      await api('PUT', `access${toQuery(place)}`, { body: { filters: list, confirm }, match: etag });
      toast(t('saved')); again();
    } catch (e) {
      if (e.status !== 409) { say(e); return; }
      dialog({ title: t('shut_out'), lead: h('p', { class: 'alert warn' }, e.message), submit: t('save_anyway'), danger: true, save: () => save(true) });
    }
  };
  const ask = () => dialog({ title: t('test_address'), lead: t('test_address_lead'), submit: t('test_address'), fields: [{ name: 'address', label: t('address'), required: true, max: 60 }],
    save: async (v) => {
      const r = (await api('POST', 'access/test', { body: { node: place.node || null, category: place.category, address: v.address, filters: list } })).data;
      dialog({ title: v.address, lead: `${word('acc', r.allowed ? 'allowed' : 'denied')}. ${r.source ? t('decided_by', null, r.number, word('src', r.source), r.addresses) : t('decided_by_none')}` });
    } });
  const copy = () => dialog({ title: t('copy_access'), lead: t('copy_access_lead'), submit: t('copy'), fields: [
    { name: 'nodes', label: t('nodes'), type: 'select', options: nodes.filter((n) => n.id !== place.node).map((n) => [n.id, n.name]) },
    { name: 'confirm', label: t('copy_anyway'), type: 'check' }],
  save: async (v) => { await api('POST', 'access/copy', { body: { node: place.node || null, category: place.category, nodes: [v.nodes], confirm: v.confirm } }); toast(t('saved')); } });

  const acts = (f, i) => write && h('div', { class: 'acts' }, i > 0 && button(t('move_up'), 'up', () => move(i, -1)), i < list.length - 1 && button(t('move_down'), 'down', () => move(i, 1)),
    button(t('edit'), 'edit', () => edit(f, i)), button(t('delete_filter'), 'trash', () => { list.splice(i, 1); changed(); }));
  function draw() {
    fill(box, list.length ? rules(list, acts) : empty(t('no_filters'), 'key'),
      write && dirty && h('div', { class: 'bulk' }, h('strong', {}, t('unsaved')), button(t('save'), 'ok', () => save(false), 'primary'), button(t('discard'), null, again, 'quiet')));
  }
  draw();
  const select = (key, label, options) => h('div', {}, h('label', { for: `q-${key}` }, label), h('select', { id: `q-${key}`, onchange: (e) => go({ [key]: e.target.value }) },
    options.map(([v, l]) => h('option', { value: v, selected: v === place[key] }, l))));
  fill(main, head(t('access'), button(t('test_address'), 'question', ask), write && !dirty && nodes.some((n) => n.id !== place.node) && button(t('copy_access'), 'copy', copy),
    write && button(t('add_filter'), 'plus', () => edit(), 'primary')),
  h('div', { class: 'bar' }, select('node', t('access_place'), [['', t('whole_zone')], ...nodes.map((n) => [n.id, n.name])]),
    select('category', t('category'), ['admin', 'endpoint', 'tools'].map((c) => [c, word('cat', c)]))),
  data.in_force ? null : h('p', { class: 'alert warn' }, t('rules_off')),
  data.conf.length ? h('section', {}, h('h2', {}, t('conf_rules')), h('div', { class: 'panel flush' }, rules(data.conf))) : null, box);
}
