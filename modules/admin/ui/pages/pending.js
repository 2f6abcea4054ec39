// Enrolments that have begun or are prepared.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, button, empty, dialog, toast, say, name, copyField, word } from '../ui.js';
import { t } from '../words.js';

const OPEN = ['created', 'opened', 'profile', 'issued', 'authenticated', 'locked'];

function showLink(p, link) {
  dialog({ title: t('show_link'), lead: t('link_lead', null, p.person?.name || ''), body: [
    h('img', { class: 'qr', src: url(`pending/${p.id}/qr.svg`), alt: t('qr_alt') }), copyField(link, t('link'))] });
}
const link = async (p) => showLink(p, (await api('GET', `pending/${p.id}/link`)).data.link);

async function make(again) {
  const people = (await api('GET', 'people?limit=200')).data.items.filter((p) => !p.disabled);
  if (!people.length) { toast(t('no_person_yet'), true); return; }
  dialog({ title: t('new_enrollment'), lead: t('new_enrollment_lead'), submit: t('create'), fields: [
    { name: 'person_id', label: t('person'), type: 'select', options: people.map((p) => [p.id, `${p.name} (${p.login})`]) },
    { name: 'ownership', label: t('ownership'), type: 'select', value: 'corporate', options: [['corporate', t('own_corporate')], ['personal', t('own_personal')]] }],
  save: async (v) => { const r = await api('POST', 'pending', { body: v }); again(); setTimeout(() => showLink(r.data, r.data.link), 60); } });
}

const cancel = (p, again) => dialog({ title: t('cancel_enrollment'), lead: [t('cancel_lead'), p.person && h('p', { class: 'alert warn' }, name(p.person.name))], submit: t('cancel_enrollment'), danger: true,
  save: async () => { await api('POST', `pending/${p.id}/cancel`); toast(t('saved')); again(); } });

export default async function page({ main, query, signal, may, again }) {
  const filter = { state: query.state ?? 'open' };
  const path = `pending${toQuery(filter)}`;
  const state = (await api('GET', path, { signal })).data;
  const list = h('div', { class: 'panel flush' });
  const write = may('pending:write');
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_pending'), 'pending') : [table([
    { label: t('person'), lead: true, cell: (p) => [h('span', { class: 'main' }, p.person ? name(p.person.name) : t('no_owner')), h('span', { class: 'sub' }, p.person?.login)] },
    { label: t('state'), tight: true, cell: (p) => chip(p.state) }, { label: t('ownership'), cell: (p) => word('own', p.ownership) }, { label: t('origin'), cell: (p) => word('origin', p.origin) },
    { label: t('created'), tight: true, cell: (p) => time(p.created_at) }, { label: t('expires'), tight: true, cell: (p) => time(p.expires_at) },
    { label: '', cell: (p) => h('div', { class: 'acts' }, p.device_id && h('a', { class: 'btn', href: `#/device/${p.device_id}` }, t('devices')),
      write && ['created', 'opened'].includes(p.state) && button(t('show_link'), 'qr', () => link(p).catch(say)),
      write && OPEN.includes(p.state) && button(t('cancel'), null, () => cancel(p, again))) }], state.items),
  pager(list, state, async () => {
    try { const r = await api('GET', `pending${toQuery({ ...filter, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  })]);
  draw();
  const options = [['open', t('open_ones')], ['', t('all')], ...['completed', 'expired', 'cancelled'].map((s) => [s, word('s', s)])];
  fill(main, head(t('pending'), csvLink(url(`pending${toQuery({ state: query.state, format: 'csv' })}`), 'pending'), write && button(t('new_enrollment'), 'plus', () => make(again).catch(say), 'primary')),
    h('div', { class: 'bar' }, h('div', {}, h('label', { for: 'q-state' }, t('state')), h('select', { id: 'q-state', onchange: (e) => { location.hash = `#/pending?state=${e.target.value}`; } },
      options.map(([v, l]) => h('option', { value: v, selected: v === filter.state }, l))))), list);
  poll(path, signal, (d) => { if (state.items.length <= d.items.length || !state.next) { Object.assign(state, d); draw(); } });
}
