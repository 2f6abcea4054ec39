// What the page of a device tells of its mail apps, and what is done about them.
import { api } from '../api.js';
import { h, time, word, button, dialog, toast, say, name, number, compared } from '../ui.js';
import { t } from '../words.js';
import { target } from './device_actions.js';
import { test } from './eas.js';

const mono = (v) => v && h('span', { class: 'mono' }, v);
const why = (m) => (m ? t(`match_${m.rule}`, null, ['strong', 'sole'].includes(m.rule) ? compared(m.value) : m.value) : t('match_none'));
const amount = (n) => { const i = n < 1e3 ? 0 : n < 1e6 ? 1 : n < 1e9 ? 2 : 3; return `${number(Math.round(n / 10 ** (3 * i) * 10) / 10)} ${['B', 'KB', 'MB', 'GB'][i]}`; };

// What the app did here.
const used = (u) => (u ? [[t('use_last'), u.last_at && [mono(u.last_command), ' ', time(u.last_at)]], [t('use_sync'), u.last_sync_at ? time(u.last_sync_at) : t('never')],
  [t('use_heartbeat'), u.heartbeat_seconds && t('n_minutes', null, number(Math.round(u.heartbeat_seconds / 6) / 10))], [t('use_requests'), number(u.requests)],
  [t('use_bytes'), t('use_both', null, amount(u.bytes_in), amount(u.bytes_out))],
  [t('use_errors'), [number(u.errors), u.last_error_at && h('span', { class: 'sub' }, t('use_error_last', null, u.last_error_http), ' ', time(u.last_error_at))]]] : []);

// The server's own test, with the person's name filled in.
const tried = async (r, login, again) => { try { test((await api('GET', `eas-servers/${r.server.id}`)).data, again, login); } catch (e) { say(e); } };

export const mail = (d, r, parting, tries) => [[t('state'), r.withheld ? t(`withheld_${r.withheld}`) : word('mail', r.live ? r.state : 'left')], [t('mail_server'), r.server && [h('a', { href: '#/eas' }, name(r.server.name)), ' ', tries && d.person && button(t('eas_test'), 'ok', () => tried(r, d.person.login, tries))]], [t('last_eas'), time(d.last_eas_at)], [t('device_id'), mono(r.native_id)], [t('mail_gate'), d.mail_gate && word('mail_gate', d.mail_gate)],
  ...used(r.use), [t('client'), word('client', r.class.split(':')[0])], [t('device_type'), r.client?.type && h('bdi', {}, r.client.type)], [t('user_agent'), r.client?.user_agent && h('bdi', {}, r.client.user_agent)],
  [t('protocol'), r.client?.version], ...['name', 'model', 'imei', 'os', 'language', 'phone', 'operator'].map((k) => [t(`client_${k}`), r.client?.[k] && h('bdi', {}, r.client[k])]), [t('first_seen'), time(r.first_seen_at)], [t('why_matched'), [h('bdi', {}, why(r.match)), ' ', r.live && parting?.(r)]]];

export function gate(d, again) {
  dialog({ title: t('mail_gate'), lead: [t('mail_gate_lead'), target(d)], submit: t('save'),
    fields: [{ name: 'exception', label: t('mail_gate'), type: 'select', value: d.mail_gate || 'none', options: ['none', 'allow', 'block'].map((w) => [w, word('mail_gate', w)]) }],
    save: async (v) => { await api('PUT', `devices/${d.id}/mail-gate`, { body: { exception: v.exception === 'none' ? null : v.exception } }); toast(t('saved')); again(); } });
}
