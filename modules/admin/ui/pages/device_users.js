// The people on one device (macOS, Shared iPad): each has a channel of his own, for profiles alone.
import { api } from '../api.js';
import { h, table, time, button, dialog, toast, say, name, base64 } from '../ui.js';
import { t } from '../words.js';

const called = (u) => u.long_name || u.short_name || u.user;
const profiles = (u) => (u.profiles?.length ? { type: 'select', options: u.profiles.map((p) => [p.identifier, p.name || p.identifier]) } : { max: 250 });

function order(path, u, action, again) {
  const send = async (request_type, payload) => {
    await api('POST', `${path}/users/${u.id}/commands`, { body: { request_type, ...(payload && { payload }) } });
    toast(t('do_sent')); again();
  };
  if (action === 'ask_profiles') return send('ProfileList').catch(say);
  const install = action === 'install_profile', label = t(`do_${action}`);
  return dialog({ title: label, lead: [t('user_only'), h('p', {}, name(called(u)))], submit: label, danger: !install,
    fields: [install ? { name: 'file', label: t('do_file'), type: 'file', required: true } : { name: 'identifier', label: t('do_profile'), required: true, ...profiles(u) }],
    save: async (v) => (install ? send('InstallProfile', { Payload: { $data: await base64(document.getElementById('f-file').files[0]) } })
      : send('RemoveProfile', { Identifier: v.identifier })) });
}

export function users(list, path, may, again) {
  const acts = ['ask_profiles', ...(may('device:write') ? ['install_profile', 'remove_profile'] : [])];
  return list.length > 0 && h('section', { class: 'panel flush spaced', id: 'users' }, h('div', { class: 'bar' }, h('h2', {}, t('device_users'))), table([
    { label: t('name'), lead: true, cell: (u) => [h('span', { class: 'main' }, name(called(u))), h('span', { class: 'sub mono' }, name(u.user))] },
    { label: t('last_contact'), tight: true, cell: (u) => time(u.last_seen_at) },
    { label: t('push'), tight: true, cell: (u) => (u.push_ok ? t('push_ok') : t('push_no')) },
    { label: t('user_waiting'), cell: (u) => String(u.waiting) },
    { label: t('profiles'), fair: true, cell: (u) => (u.profiles ? h('div', {}, u.profiles.map((p) => h('div', { class: 'small' }, name(p.name || p.identifier))), u.profiles.length === 0 && t('nothing')) : '–') },
    { label: '', cell: (u) => may('device:task') && h('div', { class: 'acts' }, acts.map((a) => button(t(`do_${a}`), null, () => order(path, u, a, again)))) }], list));
}
