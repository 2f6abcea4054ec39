// The servers of the zone: MDM role, names that devices are given, end.
import { api } from '../api.js';
import { h, fill, head, table, chip, time, icon, button, empty, dialog, toast, say, name, number } from '../ui.js';
import { t } from '../words.js';

const etag = async (n) => (await api('GET', `nodes/${n.id}`)).etag;
const patch = async (n, body) => api('PATCH', `nodes/${n.id}`, { body, match: await etag(n) });
const devices = (n) => `#/devices?node=${n.id}`;

// What a change would cost is the server's answer to the first try; the second one insists.
async function insist(n, body, ask, again) {
  try {
    await patch(n, body);
    toast(t('saved'));
    again();
  } catch (e) {
    if (e.field !== 'confirm') throw e;
    dialog({ ...ask, lead: h('p', { class: 'alert warn' }, e.message), danger: true, save: () => insist(n, { ...body, confirm: true }, ask, again),
      body: n.devices > 0 && h('p', {}, h('a', { href: devices(n), target: '_blank' }, t('node_which'))) });
  }
}

const give = async (n, again) => { try { await patch(n, { mdm_role: true }); toast(t('saved')); again(); } catch (e) { say(e); } };
const take = (n, again) => dialog({ title: t('node_take'), lead: t('node_take_lead', null, n.name), submit: t('node_take'), danger: true,
  save: () => insist(n, { mdm_role: false }, { title: t('node_take'), submit: t('node_take_yes') }, again) });
const drop = (n, again) => dialog({ title: t('node_delete'), lead: t('node_delete_lead', null, n.name), submit: t('node_delete'), danger: true,
  save: async () => { await api('DELETE', `nodes/${n.id}`, { match: await etag(n) }); toast(t('saved')); again(); } });

const names = (n, again) => dialog({ title: t('node_names'), lead: t('node_names_lead'), submit: t('save'), fields: [
  { name: 'default_name', label: t('node_default'), type: 'select', value: n.default_name,
    options: n.names.map((x) => (x.from === 'configuration' ? ['', t('node_from_conf', null, x.name)] : [x.name, x.name])) },
  { name: 'extra_names', label: t('node_extra'), type: 'area', value: n.extra_names.join('\n'), hint: t('node_extra_hint'), max: 4000 }],
save: (v) => insist(n, { default_name: v.default_name, extra_names: v.extra_names.split(/\s+/).filter(Boolean) }, { title: t('node_rename'), submit: t('node_rename_yes') }, again) });

const role = (n) => h('div', {}, n.mdm_role ? t('yes') : [t('no'), n.role_back_at && h('span', { class: 'sub' }, t('node_back', null, new Date(n.role_back_at).toLocaleTimeString()))],
  !n.outbound && h('span', { class: 'sub' }, icon('off'), ' ', t('node_no_outbound')));

export default async function page({ main, signal, may, again }) {
  const { items } = (await api('GET', 'nodes', { signal })).data;
  const write = may('zone:write');
  const acts = (n) => write && h('div', { class: 'acts' }, n.mdm_role ? button(t('node_take'), 'exit', () => take(n, again)) : !n.role_back_at && button(t('node_give'), 'ok', () => give(n, again)),
    button(t('node_names'), 'edit', () => names(n, again)), !n.mdm_role && n.state === 'offline' && button(t('node_delete'), 'trash', () => drop(n, again)));
  const stuck = items.length > 0 && !items.some((n) => n.mdm_role && n.outbound && n.state === 'online');
  fill(main, head(t('nodes')), stuck && h('p', { class: 'alert warn' }, t('node_no_way')), h('div', { class: 'panel flush' }, items.length === 0 ? empty(t('no_nodes'), 'nodes') : table([
    { label: t('name'), lead: true, cell: (n) => [h('span', { class: 'main' }, name(n.name)), h('span', { class: 'sub mono' }, n.base_url)] },
    { label: t('state'), tight: true, cell: (n) => chip(n.state) }, { label: t('node_role'), cell: role },
    { label: t('node_devices'), tight: true, cell: (n) => h('a', { href: devices(n) }, n.devices >= 1000 ? '≥ 1000' : number(n.devices)) },
    { label: t('last_seen'), cell: (n) => h('div', {}, time(n.seen_at), h('span', { class: 'sub' }, n.software, ' · ', t('started'), ' ', time(n.started_at))) },
    { label: '', cell: acts }], items)));
}
