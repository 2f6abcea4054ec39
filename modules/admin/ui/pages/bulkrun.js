// One bulk run: how far its check or the run itself is, what is said of its rows, and what can be done.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, csvLink, table, pager, chip, time, icon, say, name, number, empty } from '../ui.js';
import { legend, stack } from '../progress.js';
import { acts, busy, parts, told } from '../bulk_parts.js';
import { t } from '../words.js';

const results = ['bad', 'warning', 'good'];
const columns = [
  { label: t('person'), lead: true, cell: (r) => [h('span', { class: 'main' }, name(r.username || t('bulk_no_user'))), h('span', { class: 'sub' }, `${t('bulk_line')} ${r.line}`)] },
  { label: t('state'), tight: true, cell: (r) => chip(`row_${r.result}`) },
  { label: t('bulk_note'), cell: (r) => r.note && h('span', {}, r.field && [h('code', {}, r.field), ' '], r.note) },
  { label: t('bulk_made'), tight: true, cell: (r) => (r.made ? number(r.made) : null) }];
const pairs = (rows) => h('dl', {}, rows.filter(Boolean).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]));
const settings = (r) => pairs([[t('ownership'), r.options.ownership ? t(`own_${r.options.ownership}`) : t('bulk_by_policy')], r.options.platform && [t('platform'), r.options.platform], [t('bulk_notify'), t(`bulk_notify_${r.options.notify || 'none'}`)],
  [t('bulk_language'), r.options.language || t('bulk_by_person')], r.options.otp_hours && [t('bulk_otp_hours'), number(r.options.otp_hours)], [t('who'), name(r.created_by)], [t('created'), time(r.created_at)],
  r.started_at && [t('started'), time(r.started_at)], r.kept_until && [t('bulk_kept'), time(r.kept_until)]]);

export default async function page({ main, id, query, signal, may, again }) {
  const path = `bulk-runs/${encodeURIComponent(id)}`, result = results.includes(query.result) ? query.result : '', go = (s) => `#/bulkrun/${id}${toQuery({ result: s })}`;
  const rowsOf = (cursor) => api('GET', `${path}/rows${toQuery({ result, limit: cursor ? '' : 100, cursor })}`, { signal });
  let [{ data: run, etag }, { data: rows }] = await Promise.all([api('GET', path, { signal }), rowsOf()]);
  const head = h('div', { class: 'head' }), picture = h('section', { class: 'panel' }), list = h('div'), side = h('section', { class: 'panel' });
  const drawHead = () => {
    document.title = `${run.file || t('bulk_run')} · mod_mdm`;
    const help = head.querySelector('.help');
    fill(head, h('div', { class: 'hero' }, h('span', { class: 'glyph' }, icon('csv')), h('div', {}, h('h1', {}, name(run.file || t('bulk_run'))), h('div', { class: 'muted' }, chip(run.state), ' ', t('bulk_rows', null, number(run.total))))),
      h('div', { class: 'acts' }, acts(run, may('pending:write'), again), help));
    fill(picture, h('h2', {}, t(run.started_at ? 'progress' : 'bulk_dry')), stack(parts(run), t('bulk_none_yet')), h('p', { role: 'status' }, told(run)),
      run.error && h('p', { class: 'alert bad' }, run.error), run.unknown_columns.length > 0 && h('p', { class: 'alert warn' }, t('bulk_unknown'), ' ', run.unknown_columns.map((c, i) => [i ? ', ' : '', name(c)])),
      legend([['failed', run.bad, t('s_row_bad'), go('bad')], ['expired', run.warned, t('s_row_warning'), go('warning')], ['succeeded', run.good, t('s_row_good'), go('')]].filter(([, n]) => n), result));
    fill(side, h('h2', {}, t('bulk_settings')), settings(run));
  };
  const more = async () => {
    const { data } = await rowsOf(rows.next);
    rows = { items: [...rows.items, ...data.items], next: data.next };
    drawList();
  };
  const drawList = () => fill(list, rows.items.length ? table(columns, rows.items) : empty(t(run.state === 'expired' ? 'bulk_gone' : 'no_match'), 'csv'), pager(list, rows, () => more().catch(say)));
  const watch = new AbortController();
  signal.addEventListener('abort', () => watch.abort());
  const fresh = async (now) => {
    run = now;
    drawHead();
    try {
      if (rows.items.length <= 100) { rows = (await rowsOf()).data; drawList(); }
    } catch (e) { if (!signal.aborted) say(e); }
    if (!busy(run)) watch.abort();
  };
  drawHead();
  drawList();
  fill(main, h('a', { class: 'crumb', href: '#/bulk' }, icon('left'), t('bulk')), head, h('div', { class: 'cols' }, picture, side),
    h('section', { class: 'panel flush spaced' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('bulk_report')),
      h('div', {}, h('label', { class: 'sr', for: 'q-result' }, t('state')), h('select', { id: 'q-result', onchange: (e) => { location.hash = go(e.target.value); } }, h('option', { value: '' }, t('all')),
        results.map((s) => h('option', { value: s, selected: s === result }, t(`s_row_${s}`))))),
      csvLink(url(`${path}/rows${toQuery({ result, format: 'csv' })}`), 'bulk-report')), list));
  if (busy(run)) poll(path, watch.signal, fresh, { etag, every: 2000 });
}
