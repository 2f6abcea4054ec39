// Background work.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, button, empty, toast, say, word, number } from '../ui.js';
import { t } from '../words.js';

const title = (kind) => word('job', kind.split('@')[0].replace('.', '_'));

export default async function page({ main, query, signal, may, again }) {
  const filter = { state: query.state || '' };
  const path = `jobs${toQuery(filter)}`;
  const { data: state, etag } = await api('GET', path, { signal });
  const list = h('div', { class: 'panel flush' });
  const stop = (j) => button(t('cancel_job'), null, async () => { try { await api('POST', `jobs/${j.id}/cancel`); toast(t('cancel_asked')); again(); } catch (e) { say(e); } });
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_jobs'), 'jobs') : [table([
    { label: t('kind'), lead: true, cell: (j) => [h('span', { class: 'main' }, title(j.kind)), h('span', { class: 'sub' }, j.kind, j.progress_total ? ` · ${number(j.progress_done)} / ${number(j.progress_total)}` : null), j.result?.error ? h('span', { class: 'sub' }, String(j.result.error)) : null] },
    { label: t('state'), tight: true, cell: (j) => chip(j.state) },
    { label: t('attempts'), tight: true, cell: (j) => `${j.attempts} / ${j.max_attempts}` },
    { label: t('created'), tight: true, cell: (j) => time(j.created_at) }, { label: t('run_or_end'), tight: true, cell: (j) => time(j.state === 'waiting' ? j.run_at : j.finished_at) },
    { label: '', cell: (j) => (may('zone:write') && ['waiting', 'running'].includes(j.state) && !j.cancel_asked ? h('div', { class: 'acts' }, stop(j)) : null) }], state.items),
  pager(list, state, async () => {
    try { const r = await api('GET', `jobs${toQuery({ ...filter, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  })]);
  draw();
  fill(main, head(t('jobs'), csvLink(url(`jobs${toQuery({ state: query.state, format: 'csv' })}`), 'jobs')), h('div', { class: 'bar' }, h('div', {}, h('label', { for: 'q-state' }, t('state')), h('select', { id: 'q-state', onchange: (e) => { location.hash = `#/jobs${toQuery({ state: e.target.value })}`; } },
    h('option', { value: '' }, t('all')), ['waiting', 'running', 'done', 'failed', 'cancelled'].map((s) => h('option', { value: s, selected: s === filter.state }, word('s', s)))))), list);
  poll(path, signal, (d) => { if (state.items.length <= d.items.length) { Object.assign(state, d); draw(); } }, { etag });
}
