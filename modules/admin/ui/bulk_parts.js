// What the list of bulk runs and the page of one have in common.
import { api, url } from './api.js';
import { h, button, dialog, icon, number, toast } from './ui.js';
import { stack } from './progress.js';
import { t } from './words.js';

export const busy = (r) => ['checking', 'running'].includes(r.state);
export const parts = (r) => [['succeeded', r.good - r.warned, t('s_row_good')], ['expired', r.warned, t('s_row_warning')], ['failed', r.bad, t('s_row_bad')], ['initiated', r.total - r.walked, t('s_row_waiting')]].filter(([, n]) => n);

// "120 of 200 rows, 3 with errors; 117 enrolments made"
export const told = (r) => [t('bulk_done_of', null, number(r.walked), number(r.total)) + (r.bad ? `, ${t('bulk_bad', null, number(r.bad))}` : ''), r.started_at && t('bulk_made_n', null, number(r.made))].filter(Boolean).join('; ');
export const gauge = (r) => h('div', { class: 'gauge' }, stack(parts(r), t('bulk_none_yet')), h('span', { class: 'small' }, told(r)));

const start = (r, again) => dialog({ title: t('bulk_start'), lead: [r.state === 'failed' ? t('bulk_go_on_lead') : t('bulk_start_lead', null, number(r.good)), r.bad ? h('p', { class: 'alert warn' }, t('bulk_start_bad', null, number(r.bad))) : null].filter(Boolean), submit: t('bulk_start'),
  save: async () => { await api('POST', `bulk-runs/${r.id}/start`); again(); } });
const cancel = (r, again) => dialog({ title: t('bulk_cancel'), lead: t('bulk_cancel_lead'), submit: t('bulk_cancel'), danger: true, save: async () => { await api('POST', `bulk-runs/${r.id}/cancel`); again(); } });
const remove = (r, again) => dialog({ title: t('bulk_remove'), lead: t('bulk_remove_lead'), submit: t('bulk_remove'), danger: true,
  fields: r.made ? [{ name: 'open', label: t('bulk_open'), type: 'radio', value: 'keep', options: [['keep', t('bulk_open_keep')], ['cancel', t('bulk_open_cancel')]] }] : [],
  save: async (v) => {
    await api('DELETE', `bulk-runs/${r.id}${v.open ? `?open=${v.open}` : ''}`);
    toast(t('bulk_removed'));
    if (location.hash.startsWith('#/bulkrun/')) location.hash = '#/bulk'; else again();
  } });

export function acts(r, write, again, { short } = {}) {
  if (!write) return null;
  return [r.result && h('a', { class: 'btn', href: url(`bulk-runs/${r.id}/result`), download: 'bulk-result.csv' }, icon('csv'), t('bulk_result')),
    !short && ['checked', 'failed'].includes(r.state) && button(t(r.state === 'failed' ? 'bulk_go_on' : 'bulk_start'), 'ok', () => start(r, again), 'primary'),
    !short && ['checking', 'running', 'failed'].includes(r.state) && button(t('bulk_cancel'), 'off', () => cancel(r, again), 'danger'),
    button(t('bulk_remove'), 'trash', () => remove(r, again))];
}
