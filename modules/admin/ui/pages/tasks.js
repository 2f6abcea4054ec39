// Quick tasks: what was ordered, and how far it is.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, button, empty, toast, say, name, tabbar } from '../ui.js';
import { actionOf, orderName } from '../orders.js';
import { bar, told, who, ended } from '../progress.js';
import { t } from '../words.js';

const shows = { all: {}, running: { state: 'running' }, ended: { state: 'ended' }, hidden: { hidden: 'only' } };

export default async function page({ main, query, signal, may, again }) {
  const show = Object.hasOwn(shows, query.show || '') ? query.show : 'all', path = `tasks${toQuery(shows[show])}`;
  const list = h('div', { class: 'panel flush', role: 'tabpanel', id: 'panel', tabindex: '0', 'aria-labelledby': `tab-${show}` });
  const { data: state, etag } = await api('GET', path, { signal });
  const act = async (task, what, said) => { try { await api('POST', `tasks/${task.id}/${what}`); toast(t(said)); again(); } catch (e) { say(e); } };
  const columns = [
    { label: t('task'), lead: true, cell: (x) => [h('a', { class: 'main', href: `#/task/${x.id}` }, orderName(actionOf(x))), h('span', { class: 'sub' }, who(x))] },
    { label: t('progress'), fair: true, cell: (x) => h('div', { class: 'gauge' }, bar(x), h('span', { class: 'small' }, told(x))) },
    { label: t('state'), tight: true, cell: (x) => chip(x.state) }, { label: t('who'), cell: (x) => name(x.created_by) }, { label: t('started'), tight: true, cell: (x) => time(x.created_at) },
    { label: '', cell: (x) => may('device:task') && h('div', { class: 'acts' }, x.hidden ? button(t('task_show'), null, () => act(x, 'show', 'task_shown'))
      : ended(x) ? button(t('task_hide'), null, () => act(x, 'hide', 'task_hidden')) : null) }];
  const more = async () => {
    try {
      const had = state.items.length;
      while (state.next && state.items.length === had) { // a page may be short, with more behind it
        const { data } = await api('GET', `tasks${toQuery({ ...shows[show], cursor: state.next })}`, { signal });
        state.items.push(...data.items);
        state.next = data.next;
      }
      draw();
    } catch (e) { say(e); }
  };
  const draw = () => fill(list, state.items.length ? table(columns, state.items) : empty(t(show === 'all' ? 'no_tasks' : 'no_tasks_here'), 'task',
    show === 'all' && may('device:task') ? h('a', { class: 'btn', href: '#/devices' }, t('devices')) : null), pager(list, state, more));
  if (!state.items.length && state.next) await more(); else draw();
  fill(main, head(t('tasks'), csvLink(url(`tasks${toQuery({ ...shows[show], format: 'csv' })}`), 'tasks')),
    tabbar(Object.keys(shows).map((k) => [k, t(`tasks_${k}`)]), show, (k) => { location.hash = `#/tasks${k === 'all' ? '' : `?show=${k}`}`; }), list);
  poll(path, signal, (d) => {
    const rest = state.items.slice(d.items.length).filter((x) => !d.items.some((y) => y.id === x.id));
    Object.assign(state, rest.length ? { items: [...d.items, ...rest] } : d);
    draw();
  }, { etag });
}
