// One quick task: what was ordered, how far it is, and what became of each device.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, csvLink, table, pager, chip, time, icon, button, dialog, toast, say, name, number, word, answer, empty } from '../ui.js';
import { actionOf, orderName } from '../orders.js';
import { bar, legend, told, who, ended, states, there } from '../progress.js';
import { t } from '../words.js';

const pairs = (rows) => h('dl', {}, rows.filter(Boolean).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]));
const groupOf = { state: 's', platform: 'plat', ownership: 'own', mode: 'mode' };
const listOf = (f) => `#/devices${toQuery(Object.fromEntries(Object.entries(f).map(([k, v]) => [k, v === true ? '1' : v])))}`;

// The names of what a filter names by its id; "" for what is gone, or not to be seen.
async function named(filter) {
  const from = { folder: 'folders', group: 'groups', person: 'people' };
  const found = await Promise.all(Object.entries(filter || {}).filter(([k]) => from[k]).map(async ([k, id]) => { try { return [k, (await api('GET', `${from[k]}/${id}`)).data.name]; } catch { return [k, '']; } }));
  return Object.fromEntries(found);
}

function target(task, names) {
  const f = task.target.filter;
  if (!f) return who(task);
  return [h('a', { href: listOf(f) }, who(task)), Object.keys(f).length ? h('span', { class: 'sub muted' }, Object.entries(f).flatMap(([k, v], i) => [i ? ' · ' : '',
    groupOf[k] ? word(groupOf[k], v) : k === 'q' ? ['“', name(v), '”'] : k === 'lost' ? t('c_lost') : k === 'source_removed' ? t('src_removed') : [t(k), names[k] && [': ', name(names[k])]]])) : null];
}

const option = (k, v) => (k === 'then' ? t(`then_${v}`) : k === 'wipe' ? t(v === 'full' ? 'do_wipe' : 'unenroll') : name(v));
const label = { message: 'do_message', phone: 'do_phone', footnote: 'do_footnote', profile: 'do_profile', identifier: 'do_identifier', command: 'command', reason: 'reason', name: 'do_new_name', wipe: 'do_way', then: 'then' };

const what = (task, names) => pairs([[t('command'), orderName(actionOf(task))], ...Object.entries(task.options).map(([k, v]) => [t(label[k] || k), option(k, v)]), [t('task_meant'), target(task, names)],
  [t('task_notify'), task.spread_minutes ? t('task_spread_n', null, number(task.spread_minutes)) : t('task_at_once')], task.kind !== 'unenroll' && [t('task_expiry'), task.expires_minutes ? t('task_after_n', null, number(task.expires_minutes)) : t('task_never')],
  [t('who'), name(task.created_by)], [t('started'), time(task.created_at)]]);

const columns = [
  { label: t('device'), lead: true, cell: (d) => (d.there ? h('a', { class: 'main', href: `#/device/${d.id}` }, name(d.name)) : [h('span', { class: 'main' }, name(d.name)), h('span', { class: 'sub' }, t('task_gone'))]) },
  { label: t('state'), tight: true, cell: (d) => chip(d.state) },
  { label: t('task_said'), cell: (d) => [d.why && h('span', {}, d.reason ? t(`no_${d.reason}`, d.why) : d.why), answer(d)] },
  { label: t('task_sent'), tight: true, cell: (d) => time(d.sent_at) }, { label: t('ended'), tight: true, cell: (d) => (d.done_at || !d.expires_at ? time(d.done_at) : [t('expires'), ' ', time(d.expires_at)]) }];

const cancel = (task, again) => dialog({ title: t('task_cancel'), lead: [t('task_cancel_lead', null, number(task.counts.initiated + task.counts.notified)), told(task)], submit: t('task_cancel'), danger: true,
  save: async () => { await api('POST', `tasks/${task.id}/cancel`); toast(t('cancel_asked')); again(); } });

export default async function page({ main, id, query, signal, may, again }) {
  const path = `tasks/${encodeURIComponent(id)}`, state = states.includes(query.state) ? query.state : '';
  const devices = `${path}/devices`, first = (limit) => `${devices}${toQuery({ state, limit })}`;
  let [{ data: task, etag }, { data: rows }] = await Promise.all([api('GET', path, { signal }), api('GET', first(), { signal })]);
  const names = await named(task.target.filter);
  const head = h('div', { class: 'head' }), picture = h('section', { class: 'panel' }), list = h('div'), go = (s) => `#/task/${id}${toQuery({ state: s })}`;
  const hide = async (what_, said) => { try { await api('POST', `${path}/${what_}`); toast(t(said)); again(); } catch (e) { say(e); } };
  const drawHead = () => {
    document.title = `${orderName(actionOf(task))} · mod_mdm`;
    const help = head.querySelector('.help');
    fill(head, h('div', { class: 'hero' }, h('span', { class: 'glyph' }, icon('task')), h('div', {}, h('h1', {}, orderName(actionOf(task))), h('div', { class: 'muted' }, chip(task.state), ' ', who(task)))),
      h('div', { class: 'acts' }, may('device:task') && [!ended(task) && task.state !== 'cancelling' && button(t('task_cancel'), 'off', () => cancel(task, again), 'danger'),
        task.hidden ? button(t('task_show'), null, () => hide('show', 'task_shown')) : button(t('task_hide'), null, () => hide('hide', 'task_hidden'))], help));
    fill(picture, h('h2', {}, t('progress')), bar(task), h('p', { role: 'status' }, told(task)), task.counted_at && h('p', { class: 'muted small' }, t('task_counted'), ' ', time(task.counted_at)),
      legend(there(task).map((s) => [s, task.counts[s], t(`s_${s}`), go(s)]), state));
  };
  // A page may be short, even empty, with more behind it.
  const more = async () => {
    const had = rows.items.length;
    while (rows.next && rows.items.length === had) {
      const { data } = await api('GET', `${devices}${toQuery({ state, cursor: rows.next })}`, { signal });
      rows.items.push(...data.items);
      rows.next = data.next;
    }
    drawList();
  };
  const drawList = () => fill(list, rows.items.length ? table(columns, rows.items) : empty(t(task.state === 'preparing' ? 'task_collecting' : state ? 'no_match' : 'task_no_devices'), 'devices'), pager(list, rows, () => more().catch(say)));
  // What is shown is read again, as far as one page goes.
  const fresh = async (now) => {
    task = now;
    drawHead();
    try {
      const { data } = await api('GET', first(Math.min(200, Math.max(50, rows.items.length))), { signal });
      rows = rows.items.length > data.items.length && data.next ? { items: [...data.items, ...rows.items.slice(data.items.length)], next: rows.next } : data;
      if (rows.items.length) drawList(); else await more();
    } catch (e) { if (!signal.aborted) say(e); }
    if (ended(task)) watch.abort();
  };
  const watch = new AbortController();
  signal.addEventListener('abort', () => watch.abort());
  drawHead();
  if (rows.items.length) drawList(); else await more();
  fill(main, h('a', { class: 'crumb', href: '#/tasks' }, icon('left'), t('tasks')), head, h('div', { class: 'cols' }, picture, h('section', { class: 'panel' }, h('h2', {}, t('task_order')), what(task, names))),
    h('section', { class: 'panel flush spaced' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('devices')),
      h('div', {}, h('label', { class: 'sr', for: 'q-state' }, t('state')), h('select', { id: 'q-state', onchange: (e) => { location.hash = go(e.target.value); } }, h('option', { value: '' }, t('all')), states.map((s) => h('option', { value: s, selected: s === state }, t(`s_${s}`))))),
      csvLink(url(`${devices}${toQuery({ state, format: 'csv' })}`), 'task')), list));
  if (!ended(task)) poll(path, watch.signal, fresh, { etag, every: 2000 });
}
