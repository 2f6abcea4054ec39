// People of the local source: who may log in at the portal.
import { api, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, icon, button, empty, dialog, toast, say, name, number } from '../ui.js';
import { shown } from '../assign.js';
import { importPeople } from '../people_import.js';
import { enrollment } from './person_enrollment.js';
import { effective } from './person_policies.js';
import { t } from '../words.js';

const add = (again) => dialog({ title: t('add_person'), submit: t('create'), fields: [
  { name: 'login', label: t('login'), required: true, max: 200 }, { name: 'name', label: t('name'), required: true, max: 200 },
  { name: 'mail', label: t('mail'), type: 'email', max: 200 }, { name: 'phone', label: t('phone'), type: 'tel', max: 60 },
  { name: 'password', label: t('password'), type: 'password', auto: 'new-password', required: true, max: 500, hint: t('password_hint') }],
save: async (v) => { await api('POST', 'people', { body: v }); toast(t('saved')); again(); } });

const password = (p) => dialog({ title: `${t('set_password')}: ${p.login}`, lead: t('password_lead'), submit: t('save'),
  fields: [{ name: 'password', label: t('new_password'), type: 'password', auto: 'new-password', required: true, max: 500, hint: t('password_hint') }],
  save: async (v) => { await api('PUT', `people/${p.id}/password`, { body: v }); toast(t('saved')); } });

async function edit(p, again) {
  const { data, etag } = await api('GET', `people/${p.id}`);
  dialog({ title: t('edit_person'), submit: t('save'), fields: [{ name: 'name', label: t('name'), value: data.name, required: true, max: 200 },
    { name: 'mail', label: t('mail'), type: 'email', value: data.mail, max: 200 }, { name: 'phone', label: t('phone'), value: data.phone, max: 60 },
    { name: 'disabled', label: t('disabled_hint'), type: 'check', value: data.disabled }],
  save: async (v) => { await api('PATCH', `people/${p.id}`, { body: v, match: etag }); toast(t('saved')); again(); } });
}

export default async function page({ main, query, signal, may, me, again }) {
  const state = (await api('GET', `people${toQuery(query)}`, { signal })).data;
  const list = h('div', { class: 'panel flush' });
  const write = may('person:write');
  const row = (p) => h('div', { class: 'acts' }, p.source_kind !== 'local' ? h('span', { class: 'muted small' }, t('local_only'))
    : write && [button(t('edit'), 'edit', () => edit(p, again).catch(say)), button(t('password'), 'key', () => password(p))],
  may('policy:read') && button(t('policies'), 'shield', () => shown({ kind: 'person', id: p.id, name: p.name }, { may, me })),
  button(t('pp_effective'), 'shield', () => effective(p, { may }).catch(say)), button(t('pe_title'), 'question', () => enrollment(p, { may })));
  const draw = () => fill(list, state.items.length === 0 ? empty(query.q ? t('no_match') : t('no_people'), 'people') : [table([
    { label: t('name'), lead: true, cell: (p) => [h('span', { class: 'main' }, name(p.name)), h('span', { class: 'sub' }, p.login)] },
    { label: t('mail'), cell: (p) => p.mail || '–' }, { label: t('source'), cell: (p) => p.source || '–' }, { label: t('state'), tight: true, cell: (p) => chip(p.disabled ? 'disabled' : 'enabled') },
    { label: t('devices'), cell: (p) => (p.devices ? h('a', { href: `#/devices?person=${p.id}` }, number(p.devices)) : '0') }, { label: '', cell: row }], state.items),
  pager(list, state, async () => {
    try { const r = await api('GET', `people${toQuery({ ...query, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  })]);
  draw();
  const search = h('input', { id: 'q', type: 'search', value: query.q || '', placeholder: t('search_people'), autocomplete: 'off' });
  fill(main, head(t('people'), csvLink(url(`people${toQuery({ q: query.q, format: 'csv' })}`), 'people'), write && button(t('pi_import'), 'csv', () => importPeople(again)), write && button(t('add_person'), 'plus', () => add(again), 'primary')),
    h('form', { class: 'bar', role: 'search', onsubmit: (e) => { e.preventDefault(); location.hash = `#/people${toQuery({ q: search.value.trim() })}`; } },
      h('div', { class: 'grow' }, h('label', { for: 'q' }, t('search')), h('div', { class: 'search' }, icon('search'), search))), list);
}
