// How far a quick task is: as a picture and in words.
import { h, number } from './ui.js';
import { t } from './words.js';

// In the order of the picture: what has ended well, badly, not at all; then what is on its way.
export const states = ['succeeded', 'failed', 'expired', 'cancelled', 'not_applicable', 'delivered', 'notified', 'initiated'];
const open = ['delivered', 'notified', 'initiated'];
export const ended = (task) => ['done', 'cancelled'].includes(task.state);
export const there = (task) => states.filter((s) => task.counts[s]);
const words = (task) => there(task).map((s) => `${t(`s_${s}`)}: ${number(task.counts[s])}`).join(', ');

export function bar(task) {
  return h('div', { class: 'stackbar', role: 'img', 'aria-label': words(task) || t('task_none_yet') }, there(task).map((s) => {
    const part = h('span', { class: `seg-${s}`, title: `${t(`s_${s}`)}: ${number(task.counts[s])}` });
    part.style.flexGrow = task.counts[s];
    return part;
  }));
}

// "7 of 10 done, 1 failed"
export function told(task) {
  const done = task.total - open.reduce((n, s) => n + (task.counts[s] || 0), 0), bad = (task.counts.failed || 0) + (task.counts.expired || 0);
  if (!task.total) return t(ended(task) ? 'task_no_devices' : 'task_collecting');
  return [t('task_done_of', null, number(there(task).length ? done : 0), number(task.total)), bad ? t('task_bad', null, number(bad)) : ''].filter(Boolean).join(', ');
}

// Who is meant, in words.
export const who = (task) => (task.target.filter ? t(Object.keys(task.target.filter).length ? 'task_all_filter' : 'all_devices') : task.target.devices === 1 ? t('task_one') : t('task_devices', null, number(task.target.devices)));
