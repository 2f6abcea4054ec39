// Mail apps that no rule could join with a device: who they could be, and what people decide about them.
import { api, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, time, button, empty, dialog, toast, say, name, number, compared } from '../ui.js';
import { t } from '../words.js';

const ORIGINS = ['gate', 'discovered'];
const MODES = ['strict', 'standard', 'outlook_sole'];
const CODES = ['ambiguous', 'multiple_exact', 'slot_taken', 'owner_conflict', 'no_candidate', 'too_many', 'contradicts', 'manual_pending', 'manual_timed_out'];

const possible = (c) => !['platform', 'taken'].includes(c.excluded);
const option = (c) => `${c.name}: ${c.excluded ? t(`no_match_${c.excluded}`) : compared(c.why)}`;

const candidates = (list) => h('div', {}, list.length === 0 ? t('no_candidates')
  : list.slice(0, 3).map((c) => h('div', {}, h('a', { href: `#/device/${c.device}` }, name(c.name)), h('span', { class: 'sub' }, c.excluded ? t(`no_match_${c.excluded}`) : compared(c.why)))),
list.length > 3 && h('span', { class: 'sub' }, t('more_candidates', null, number(list.length - 3))));

function join(e, again) {
  const list = e.candidates.filter(possible);
  dialog({ title: t('join'), lead: t(e.device ? 'join_lead' : 'join_told_lead', null, e.person.name), submit: t('join'),
    fields: [{ name: 'device', label: t('device'), type: 'select', options: list.map((c) => [c.device, option(c)]) }],
    save: async (v) => { await api('POST', `exceptions/${e.id}/link`, { body: v }); toast(t('saved')); again(); } });
}

const decide = (e, what, again) => dialog({ title: t(`ex_${what}`), lead: t(`ex_${what}_lead`), submit: t(`ex_${what}`),
  save: async () => { await api('POST', `exceptions/${e.id}/${what}`); toast(t('saved')); again(); } });

// No mail, and nothing left to decide.
const block = (e, again) => dialog({ title: t('ex_block'), lead: t('ex_block_lead'), submit: t('ex_block'), danger: true,
  save: async () => { await api('PUT', `devices/${e.device.id}/mail-gate`, { body: { exception: 'block' } }); await api('POST', `exceptions/${e.id}/ignore`); toast(t('saved')); again(); } });
const part = (e, again) => dialog({ title: t('part'), lead: t('part_lead'), submit: t('part'),
  save: async () => { await api('POST', `devices/${e.device.id}/split`, { body: { record: e.id } }); toast(t('saved')); again(); } });

const settings = (state, again) => dialog({ title: t('matching_settings'), lead: t('matching_settings_lead'), submit: t('save'),
  fields: [{ name: 'minutes', label: t('matching_minutes'), type: 'number', value: state.minutes, min: 1, max: 1440 },
    { name: 'mode', label: t('matching_mode'), type: 'select', value: state.mode, options: MODES.map((m) => [m, t(`matching_${m}`)]) }],
  save: async (v) => { await api('PUT', 'matching', { body: { minutes: Number(v.minutes), mode: v.mode } }); toast(t('saved')); again(); } });

function runs(state, may, again) {
  const last = state.last;
  return h('div', { class: 'panel' }, h('div', { class: 'head' }, h('h2', {}, t('matching')), h('div', { class: 'acts' },
    may('exception:write') && button(t('run_now'), null, async () => { try { await api('POST', 'matching/run'); toast(t('run_asked')); setTimeout(again, 1500); } catch (x) { say(x); } }),
    may('zone:write') && button(t('matching_settings'), null, () => settings(state, again)))),
  h('p', {}, last ? [t('last_run'), ' ', time(new Date(last.began_ms).toISOString()), ': ', t('run_did', null, number(last.people), number(last.exact + last.attr), number(last.exceptions))] : t('no_run_yet')),
  h('p', { class: 'muted' }, t('run_period', null, number(state.minutes), number(state.waiting))),
  h('p', { class: 'muted' }, `${t('matching_mode')}: ${t(`matching_${state.mode}`)}`));
}

export default async function page({ main, query, signal, may, again }) {
  const filter = { code: query.code ?? '', origin: query.origin ?? '', ignored: query.ignored ?? '' };
  const [state, matching] = (await Promise.all([api('GET', `exceptions${toQuery(filter)}`, { signal }), api('GET', 'matching', { signal })])).map((r) => r.data);
  const list = h('div', { class: 'panel flush' });
  const write = may('exception:write');
  const go = (change) => { location.hash = `#/exceptions${toQuery({ ...filter, ...change })}`; };
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_exceptions'), 'pending') : [table([
    { label: t('person'), lead: true, cell: (e) => [h('span', { class: 'main' }, name(e.person.name)), h('span', { class: 'sub' }, e.person.login)] },
    { label: t('mail_app'), cell: (e) => h('div', {}, e.device ? h('a', { href: `#/device/${e.device.id}` }, name(e.device.name)) : h('span', { class: 'main' }, t('ex_origin_discovered')), h('span', { class: 'sub' }, name(e.device_id)), h('span', { class: 'sub' }, name(e.user_agent || e.type || '')), e.last_seen && h('span', { class: 'sub' }, t('last_seen'), ' ', time(e.last_seen))) },
    { label: t('ex_why'), cell: (e) => h('div', {}, t(`ex_code_${e.code}`), e.ignored_at && h('span', { class: 'sub' }, t('ex_ignored'))) },
    { label: t('candidates'), cell: (e) => candidates(e.candidates) }, { label: t('since'), tight: true, cell: (e) => time(e.since) },
    { label: '', cell: (e) => write && h('div', { class: 'acts' }, ...(e.code === 'contradicts' ? [button(t('part'), null, () => part(e, again))]
      : [e.candidates.some(possible) && button(t('join'), null, () => join(e, again)), e.device && button(t('ex_own'), null, () => decide(e, 'own', again))]),
    e.device && may('device:write') && button(t('ex_block'), null, () => block(e, again)),
      !e.ignored_at && button(t('ex_ignore'), null, () => decide(e, 'ignore', again))) }], state.items),
  pager(list, state, async () => {
    try { const r = await api('GET', `exceptions${toQuery({ ...filter, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (x) { say(x); }
  })]);
  draw();
  const choose = (id, label, options, value, set) => h('div', {}, h('label', { for: id }, label), h('select', { id, onchange: (e) => set(e.target.value) }, options.map(([v, l]) => h('option', { value: v, selected: v === value }, l))));
  fill(main, head(t('exceptions'), csvLink(url(`exceptions${toQuery({ ...filter, format: 'csv' })}`), 'exceptions')), h('p', { class: 'lead' }, t('exceptions_lead')), runs(matching, may, again),
    h('div', { class: 'bar' }, choose('q-code', t('ex_why'), [['', t('all')], ...CODES.map((c) => [c, t(`ex_code_${c}`)])], filter.code, (code) => go({ code })),
      choose('q-origin', t('ex_origin'), [['', t('all')], ...ORIGINS.map((o) => [o, t(`ex_origin_${o}`)])], filter.origin, (origin) => go({ origin })),
      choose('q-ignored', t('show'), [['', t('ex_open')], ['1', t('ex_all')]], filter.ignored, (ignored) => go({ ignored }))), list);
}
