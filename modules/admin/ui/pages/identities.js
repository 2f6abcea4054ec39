// Identities of devices by their end, and how their renewal goes.
import { api, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, time, icon, empty, say, name } from '../ui.js';
import { t } from '../words.js';

const looks = { waiting: ['', 'wait'], asked: ['warn', 'wait'], issued: ['good', 'ok'], failed: ['bad', 'bad'] };
const renewal = (i) => { const [cls, pic] = looks[i.renewal]; return h('span', { class: `chip ${cls}` }, icon(pic), t(`renewal_${i.renewal}`)); };

export default async function page({ main, query, signal }) {
  const days = query.days || '90';
  const state = (await api('GET', `identities${toQuery({ days })}`, { signal })).data;
  const list = h('div', { class: 'panel flush' });
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_identities'), 'ok') : [table([
    { label: t('device'), lead: true, cell: (i) => [i.device ? h('a', { class: 'main', href: `#/device/${i.device.id}` }, name(i.device.name)) : h('span', { class: 'main' }, t('no_owner')), h('span', { class: 'sub mono' }, i.serial)] },
    { label: t('ends'), tight: true, cell: (i) => time(i.ends_at) }, { label: t('renewal'), tight: true, cell: renewal }, { label: t('renew_at'), tight: true, cell: (i) => time(i.renew_at) }], state.items),
  pager(list, state, async () => {
    try { const r = await api('GET', `identities${toQuery({ days, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  })]);
  draw();
  fill(main, head(t('identities'), csvLink(url(`identities${toQuery({ days, format: 'csv' })}`), 'identities')), h('p', { class: 'muted' }, t('identities_lead')),
    h('div', { class: 'bar' }, h('div', {}, h('label', { for: 'q-days' }, t('ends_within')), h('select', { id: 'q-days', onchange: (e) => { location.hash = `#/identities${toQuery({ days: e.target.value })}`; } },
      ['30', '90', '365', '3650'].map((d) => h('option', { value: d, selected: d === days }, t('n_days', null, d)))))), list);
}
