// What policies give to a person: each setting with its two columns and where they come from; what devices add is on their pages.
import { api } from '../api.js';
import { h, table, empty, dialog, name, word } from '../ui.js';
import { catalogue, columns, label, typeOf, valueText } from '../catalogue.js';
import { origin } from './device_policies.js';
import { t } from '../words.js';

// {column: [{type, settings}]} as types with rows {setting, corporate, personal} in the order of the catalogue.
function types(data, cat) {
  const order = new Map(cat.settings.map((s, i) => [s.id, i]));
  return cat.types.map(({ id }) => {
    const rows = new Map();
    for (const c of columns) {
      for (const s of data[c].find((x) => x.type === id)?.settings || []) rows.set(s.setting, { ...rows.get(s.setting), setting: s.setting, [c]: s });
    }
    return { id, rows: [...rows.values()].sort((a, b) => order.get(a.setting) - order.get(b.setting)) };
  }).filter((x) => x.rows.length);
}

export async function effective(p, { may }) {
  const [cat, servers, { data }] = await Promise.all([catalogue(), may('mail:read') ? api('GET', 'eas-servers?limit=200').then((r) => r.data.items) : [], api('GET', `people/${p.id}/policies`)]);
  const cell = (c) => (r) => (r[c] ? h('div', {}, h('bdi', {}, valueText(cat, r.setting, r[c].value, servers)), h('div', { class: 'small muted' }, origin(r[c], may))) : '–');
  const all = types(data, cat);
  const box = dialog({ title: [t('pp_effective'), ': ', name(p.name)], lead: t('pp_lead'), body: all.length ? all.map((x) => h('section', { class: 'panel flush', id: `person-${x.id}` },
    h('div', { class: 'bar' }, h('h3', {}, label(typeOf(cat, x.id)) || x.id)), table([
      { label: t('pol_setting'), lead: true, cell: (r) => h('span', { class: 'main' }, label(cat.by.get(r.setting)) || r.setting) },
      ...columns.map((c) => ({ label: word('own', c), cell: cell(c) }))], x.rows))) : empty(t('pp_none'), 'shield') });
  box.classList.add('wide');
  box.addEventListener('click', (e) => { if (e.target.closest('a')) box.close(); });
}
