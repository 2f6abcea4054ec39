// How long history and messages are kept (DEV-16).
import { api } from '../api.js';
import { h, fill, head, button, dialog, toast, say, number } from '../ui.js';
import { t } from '../words.js';

const kept = (days) => (days ? t('ret_days', null, number(days)) : t('ret_ever'));
const field = (name, label, hint, now) => ({ name, label, hint, type: 'number', mode: 'numeric', required: true, value: String(now[name]) });

function edit(now, again) {
  dialog({ title: t('retention'), lead: t('ret_edit_lead'), submit: t('save'),
    fields: [field('history_days', t('ret_history'), t('ret_history_hint'), now), field('message_days', t('ret_messages'), t('ret_messages_hint'), now),
      field('pending_days', t('ret_pending'), t('ret_pending_hint'), now)],
    save: async (v) => {
      await api('PUT', 'retention', { body: Object.fromEntries(Object.entries(v).map(([k, x]) => [k, Number(x)])) });
      toast(t('saved'));
      again();
    } });
}

export default async function page({ main, signal, may, again }) {
  const { data: now } = await api('GET', 'retention', { signal });
  const change = async () => { try { edit((await api('GET', 'retention')).data, again); } catch (e) { say(e); } };
  const rows = [[t('ret_history'), kept(now.history_days), t('ret_history_hint')], [t('ret_messages'), kept(now.message_days), t('ret_messages_hint')],
    [t('ret_pending'), kept(now.pending_days), t('ret_pending_hint')], [t('audit'), t('ret_audit'), t('ret_audit_hint')]];
  fill(main, head(t('retention')), h('p', { class: 'muted' }, t('ret_lead')), h('div', { class: 'cols' }, h('section', { class: 'panel' }, h('h2', {}, t('ret_kept')),
    h('dl', {}, rows.map(([label, value, hint]) => [h('dt', {}, label), h('dd', {}, value, h('span', { class: 'sub muted' }, hint))])),
    may('zone:write') && h('div', { class: 'acts apart' }, button(t('sch_change'), 'edit', change)))));
}
