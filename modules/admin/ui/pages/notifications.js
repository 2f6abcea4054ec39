// Notices by mail and SMS: what waits, was sent or failed; the texts; the mail server; the gateway.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, chip, time, button, empty, dialog, toast, say, name, number, pager, tabbar, word } from '../ui.js';
import { probe } from '../probe.js';
import { gateway } from '../sms.js';
import { t } from '../words.js';

const modes = ['starttls', 'tls', 'none'], languages = ['en', 'de'], states = ['waiting', 'sent', 'failed', 'cancelled'];
const steps = ['dns', 'tcp', 'connect', 'tls', 'login', 'sender', 'recipient', 'message'];
const title = (event) => word('notice', event);

// ---- the mail server
const edit = (s, again) => dialog({ title: t('smtp_edit'), submit: t('save'), fields: [
  { name: 'host', label: t('smtp_host'), value: s.host, max: 255, hint: t('smtp_host_hint') },
  { name: 'tls', label: t('smtp_tls'), type: 'select', value: s.tls, options: modes.map((m) => [m, word('smtp_tls', m)]) },
  { name: 'port', label: t('src_port'), type: 'number', value: s.configured ? s.port : '', hint: t('smtp_port_hint') },
  { name: 'user', label: t('smtp_user'), value: s.user, max: 200, hint: t('smtp_user_hint') },
  { name: 'password', label: t('password'), type: 'password', auto: 'new-password', max: 500, hint: s.password_set ? t('smtp_password_kept') : null },
  { name: 'from', label: t('smtp_from'), type: 'email', value: s.from, max: 254 },
  { name: 'from_name', label: t('smtp_from_name'), value: s.from_name, max: 200 }],
save: async ({ port, password, ...v }) => {
  await api('PUT', 'notifications/server', { body: { ...v, host: v.host.trim(), port: port ? Number(port) : null, ...(password ? { password } : {}) } });
  toast(t('saved'));
  again();
} });

const test = (again) => probe({ title: t('smtp_test'), lead: t('smtp_test_lead'), path: 'notifications/server', steps, again,
  fields: [{ name: 'to', label: t('smtp_test_to'), type: 'email', required: true, max: 254 }] });

const trouble = (s) => [!s.configured && h('p', { class: 'alert warn' }, t('smtp_none')),
  s.away_since && h('p', { class: 'alert bad' }, t('smtp_away'), ' ', time(s.away_since), ': ', name(s.trouble))];

function server(s, write, again) {
  const rows = [['smtp_host', s.configured ? h('code', { class: 'mono' }, `${s.host}:${s.port}`) : '–'], ['smtp_tls', word('smtp_tls', s.tls)], ['smtp_user', name(s.user || '–')],
    ['smtp_from', [name(s.from_name), s.from_name && ' · ', name(s.from || '–')]], s.pin && ['smtp_pin', h('code', { class: 'mono' }, s.pin)],
    ['smtp_waiting', number(s.waiting)], s.next_try && ['smtp_next', time(s.next_try)]].filter(Boolean);
  return h('section', { class: 'panel' }, h('dl', {}, rows.map(([k, v]) => [h('dt', {}, t(k)), h('dd', {}, v)])),
    write && h('div', { class: 'acts' }, button(t('edit'), 'edit', () => edit(s, again), s.configured ? '' : 'primary'), s.configured && button(t('smtp_test'), 'ok', () => test(again))));
}

// ---- what all of them say
const about = ['organisation', 'support_mail', 'support_phone'];
const generalEdit = (s, again) => dialog({ title: t('nt_general'), submit: t('save'), fields: [
  { name: 'language', label: t('nt_language'), type: 'select', value: s.language, options: languages.map((l) => [l, word('lang', l)]) },
  ...about.map((k) => ({ name: k, label: t(`nt_${k}`), value: s[k], type: { support_mail: 'email', support_phone: 'tel' }[k], max: k === 'support_phone' ? 40 : 200 }))],
save: async (v) => { await api('PUT', 'notifications/settings', { body: v }); toast(t('saved')); again(); } });

const general = (s, write, again) => h('section', { class: 'panel' }, h('p', { class: 'muted' }, t('nt_general_lead')),
  h('dl', {}, [h('dt', {}, t('nt_language')), h('dd', {}, word('lang', s.language))], about.map((k) => [h('dt', {}, t(`nt_${k}`)), h('dd', {}, name(s[k] || '–'))])),
  write && h('div', { class: 'acts' }, button(t('edit'), 'edit', () => generalEdit(s, again))));

// ---- texts
const preview = (r) => [h('p', {}, h('strong', {}, name(r.subject))), h('iframe', { class: 'mailview', sandbox: '', srcdoc: r.html, title: t('tpl_html') }),
  h('details', {}, h('summary', {}, t('tpl_text')), h('pre', { class: 'wrap' }, r.text)),
  r.sms && h('div', {}, h('h3', {}, t('tpl_sms')), h('pre', { class: 'wrap' }, r.sms),
    h('p', { class: r.sms_length.parts > 3 ? 'alert warn' : 'muted' }, t('sms_parts', null, number(r.sms_length.parts), number(r.sms_length.units), t(`sms_${r.sms_length.encoding}`))))];

function template(x, write, again) {
  const path = `notifications/templates/${x.event}/${x.language}`, shown = h('div', { 'aria-live': 'polite' });
  const now = () => Object.fromEntries(['subject', 'text', 'html', ...(x.sms === null ? [] : ['sms'])].map((k) => [k, box.querySelector(`#f-${k}`).value]));
  const show = async () => { try { fill(shown, preview((await api('POST', `${path}/preview`, { body: now() })).data)); shown.lastChild.scrollIntoView({ block: 'nearest' }); } catch (e) { fill(shown, h('p', { class: 'alert bad' }, e.message)); } };
  const back = () => dialog({ title: t('tpl_reset'), lead: t('tpl_reset_lead'), submit: t('tpl_reset'), danger: true,
    save: async () => { await api('DELETE', path, { match: `"${x.version}"` }); toast(t('saved')); again(); } });
  const box = dialog({ title: `${title(x.event)} · ${word('lang', x.language)}`, submit: write ? t('save') : null,
    lead: [h('p', {}, t('tpl_vars'), ' ', x.variables.map((v) => [h('code', { class: 'mono' }, `\${${v}}`), ' ']), x.required.length ? t('tpl_required', null, x.required.map((v) => `\${${v}}`).join(' ')) : null)],
    fields: [{ name: 'subject', label: t('tpl_subject'), value: x.subject, required: true, max: 200 }, { name: 'text', label: t('tpl_text'), type: 'area', value: x.text, required: true, max: 16384 },
      { name: 'html', label: t('tpl_html'), type: 'area', value: x.html, required: true, max: 16384 },
      ...(x.sms === null ? [] : [{ name: 'sms', label: t('tpl_sms'), type: 'area', value: x.sms, required: true, max: 1000 }])],
    save: async (v) => { await api('PUT', path, { body: v, match: `"${x.version}"` }); toast(t('saved')); again(); } });
  box.classList.add('wide');
  box.querySelector('.foot').before(shown);
  box.querySelector('.foot').prepend(button(t('tpl_preview'), 'search', show), ...(write && x.changed ? [button(t('tpl_reset'), 'refresh', () => { box.close(); back(); })] : []));
}

const texts = (items, write, again) => h('div', { class: 'panel flush' }, table([
  { label: t('notice'), lead: true, cell: (x) => [h('span', { class: 'main' }, title(x.event)), h('span', { class: 'sub' }, name(x.subject))] },
  { label: t('tpl_to'), tight: true, cell: (x) => word('tpl_to', x.audience) }, { label: t('smtp_language'), tight: true, cell: (x) => word('lang', x.language) },
  { label: t('tpl_changed'), tight: true, cell: (x) => (x.changed ? time(x.changed_at) : '–') },
  { label: '', cell: (x) => h('div', { class: 'acts' }, button(t(write ? 'edit' : 'tpl_show'), write ? 'edit' : 'search', () => template(x, write, again))) }], items));

// ---- the outbox
const cancel = (n, again) => dialog({ title: t('notice_cancel'), lead: [h('p', {}, title(n.event), ': ', name(n.name || '–')), h('p', {}, t('notice_cancel_lead'))], submit: t('notice_cancel'), danger: true,
  save: async () => { await api('POST', `notices/${n.id}/cancel`); toast(t('saved')); again(); } });

const columns = (write, retry, again) => [
  { label: t('notice'), lead: true, cell: (n) => [h('span', { class: 'main' }, title(n.event)), n.device_id && n.device_name ? h('span', { class: 'sub' }, h('a', { href: `#/device/${n.device_id}` }, name(n.device_name))) : null,
    n.error && h('span', { class: 'sub' }, name(n.error))] },
  { label: t('tpl_to'), fair: true, cell: (n) => [h('span', {}, name(n.name || '–')), h('span', { class: 'sub' }, name(n.channel === 'sms' ? n.phone : n.mail))] },
  { label: t('state'), tight: true, cell: (n) => [chip(n.state === 'sent' ? 'mail_sent' : n.state), n.attempts > 1 && h('span', { class: 'sub' }, t('attempts'), `: ${number(n.attempts)}`)] },
  { label: t('created'), tight: true, cell: (n) => time(n.created_at) }, { label: t('run_or_end'), tight: true, cell: (n) => time(n.next_at || n.done_at) },
  { label: '', cell: (n) => write && n.state !== 'sent' && h('div', { class: 'acts' }, button(t('notice_retry'), 'refresh', () => retry(n)), n.state === 'waiting' && button(t('notice_cancel'), 'off', () => cancel(n, again))) }];

async function outbox({ query, signal, again }, write) {
  const filter = { state: query.state || '' }, path = `notices${toQuery(filter)}`, list = h('div', { class: 'panel flush' });
  const { data: state, etag } = await api('GET', path, { signal });
  const retry = async (n) => { try { await api('POST', `notices/${n.id}/retry`); toast(t('saved')); again(); } catch (e) { say(e); } };
  const more = async () => {
    try { const r = await api('GET', `notices${toQuery({ ...filter, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  };
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_notices'), 'mail') : [table(columns(write, retry, again), state.items), pager(list, state, more)]);
  draw();
  poll(path, signal, (d) => { if (state.items.length <= d.items.length) { Object.assign(state, d); draw(); } }, { etag });
  return [h('div', { class: 'bar' }, h('div', {}, h('label', { for: 'q-state' }, t('state')), h('select', { id: 'q-state', onchange: (e) => { location.hash = `#/notifications${toQuery({ state: e.target.value })}`; } },
    h('option', { value: '' }, t('all')), states.map((s) => h('option', { value: s, selected: s === filter.state }, word('s', s)))))), list];
}

export default async function page(view) {
  const { main, query, signal, may, again } = view, write = may('zone:write');
  const tabs = { outbox: 'nt_outbox', texts: 'nt_texts', general: 'nt_general', server: 'nt_server', sms: 'tpl_sms' };
  const tab = query.tab in tabs ? query.tab : 'outbox', read = async (path) => (await api('GET', path, { signal })).data;
  const s = await read('notifications/server');
  const panel = h('div', { id: 'panel', role: 'tabpanel', 'aria-labelledby': `tab-${tab}` });
  const draw = { outbox: () => outbox(view, write), texts: async () => texts((await read('notifications/templates')).items, write, again), general: async () => general(await read('notifications/settings'), write, again),
    server: () => server(s, write, again), sms: async () => gateway(await read('sms-gateway'), write, again) };
  fill(panel, await draw[tab]());
  fill(main, head(t('notifications'), tab === 'outbox' && csvLink(url(`notices${toQuery({ state: query.state, format: 'csv' })}`), 'notices')), tab !== 'sms' && trouble(s),
    tabbar(Object.entries(tabs).map(([k, l]) => [k, t(l)]), tab, (key) => { location.hash = `#/notifications${key === 'outbox' ? '' : `?tab=${key}`}`; }), panel);
}
