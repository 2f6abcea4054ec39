// How far a quick task or the delivery of a policy is: as a picture and in words.
import { h, number } from './ui.js';
import { t } from './words.js';

// In the order of the picture: what has ended well, badly, not at all; then what is on its way.
export const states = ['succeeded', 'failed', 'expired', 'cancelled', 'not_applicable', 'delivered', 'notified', 'initiated'];
const open = ['delivered', 'notified', 'initiated'];
export const ended = (task) => ['done', 'cancelled'].includes(task.state);
export const there = (task) => states.filter((s) => task.counts[s]);

// Of the delivery of a policy: its states in the order of the picture, and its channels.
export const deliveries = ['applied', 'failed', 'not_applicable', 'sent', 'pending'];
export const channels = ['mdm', 'eas', 'agent'];
export const channelName = (c) => t(`ch_${c}`, c);

// parts: [[state, count, words]]
export function stack(parts, none) {
  const words = ([, n, text]) => `${text}: ${number(n)}`;
  return h('div', { class: 'stackbar', role: 'img', 'aria-label': parts.map(words).join(', ') || none }, parts.map((p) => {
    const part = h('span', { class: `seg-${p[0]}`, title: words(p) });
    part.style.flexGrow = p[1];
    return part;
  }));
}
export const bar = (task) => stack(there(task).map((s) => [s, task.counts[s], t(`s_${s}`)]), t('task_none_yet'));
// entries: [[state, count, words, address]]; now: the state whose list is shown
export const legend = (entries, now) => h('ul', { class: 'legend' }, entries.map(([s, n, text, href]) => h('li', {}, h('a', { href, 'aria-current': s === now ? 'true' : null }, h('i', { class: `seg-${s}` }), text, h('strong', {}, number(n))))));

// "7 of 10 done, 1 failed"
export function told(task) {
  const done = task.total - open.reduce((n, s) => n + (task.counts[s] || 0), 0), bad = (task.counts.failed || 0) + (task.counts.expired || 0);
  if (!task.total) return t(ended(task) ? 'task_no_devices' : 'task_collecting');
  return [t('task_done_of', null, number(there(task).length ? done : 0), number(task.total)), bad ? t('task_bad', null, number(bad)) : ''].filter(Boolean).join(', ');
}

// Who is meant, in words.
export const who = (task) => (task.target.filter ? t(Object.keys(task.target.filter).length ? 'task_all_filter' : 'all_devices') : task.target.devices === 1 ? t('task_one') : t('task_devices', null, number(task.target.devices)));
