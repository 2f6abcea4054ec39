// One device: what is going on and why, then everything known.
import { api, poll } from '../api.js';
import { h, fill, table, chip, time, icon, button, empty, word, dialog, toast, say, name, number, pager, system, tabbar, detail, answer } from '../ui.js';
import { summary } from '../schedules.js';
import { t } from '../words.js';
import { menu, target } from './device_actions.js';
import { users } from './device_users.js';
import { policies } from './device_policies.js';
import { mail, gate } from './device_mail.js';

const val = (v) => (v === null || v === undefined || v === '' ? h('span', { class: 'muted' }, '–') : v);
const yesno = (v) => (v === null || v === undefined ? null : v ? t('yes') : t('no'));
const pairs = (rows) => h('dl', {}, rows.map(([k, v]) => [h('dt', {}, k), h('dd', {}, val(v))]));
const panel = (title, rows) => h('section', { class: 'panel' }, h('h2', {}, title), pairs(rows));
const mono = (v) => v && h('span', { class: 'mono' }, v);
const from = (d) => mono([d.last_contact_ip, d.last_contact_peer !== d.last_contact_ip && d.last_contact_peer && t('by_way_of', null, d.last_contact_peer)].filter(Boolean).join(' '));

// The head of the page in sentences: state, what waits, and why it waits.
function sentences(d, records, commands) {
  const out = [];
  const live = records.find((r) => r.live && r.kind === 'mdm');
  const open = commands.filter((c) => c.open);
  if (d.state === 'active') out.push(d.last_contact_at ? t('why_active', null, time(d.last_contact_at).textContent) : t('why_active_never'));
  else out.push(t(d.state === 'pending' && d.mode === 'eas' ? 'why_mail_pending' : `why_${d.state}`));
  if (d.lost_since) out.push(t('why_lost', null, time(d.lost_since).textContent));
  if (open.length) out.push(open.length === 1 ? t('why_waiting_one') : t('why_waiting', null, open.length));
  if (open.some((c) => c.state === 'notnow')) out.push(t('why_notnow'));
  if (live && open.length && !live.push_ok) out.push(t('why_nopush'));
  else if (live?.push_error) out.push(t('why_push_error', null, live.push_error));
  return out.join(' ');
}

const part = (d, r, again) => dialog({ title: t('part'), lead: t(r.state === 'discovered' ? 'part_told_lead' : 'part_lead'), submit: t('part'),
  save: async () => { const made = await api('POST', `devices/${d.id}/split`, { body: { record: r.id } }); toast(t('saved')); again(); location.hash = `#/device/${made.data.id}`; } });
function info(d, records, schedule, parting, tries) {
  const channels = records.filter((r) => r.kind !== 'eas'), clients = records.filter((r) => r.kind === 'eas');
  const i = d.inventory.device || {}, sec = d.inventory.security || {}, where = d.inventory.location;
  const gb = (v) => v && t('gb', null, number(Math.round(v * 10) / 10));
  return h('div', { class: 'cols' },
    panel(t('general'), [[t('person'), d.person && [name(d.person.name), ' ', h('span', { class: 'muted' }, d.person.login)]], [t('model'), [d.model, d.product].filter(Boolean).join(' · ')],
      [t('model_number'), mono([i.Model, i.ModelNumber].filter(Boolean).join(' · '))], [t('device_name'), i.DeviceName && name(i.DeviceName)], [t('serial'), mono(d.serial)], [t('udid'), mono(d.udid)], [t('imei'), mono(d.imei)], [t('phone'), d.phone], [t('inventory_at'), time(d.inventory_at)]]),
    panel(t('administration'), [[t('ownership'), word('own', d.ownership)], [t('level'), word('level', d.level)], [t('mode'), word('mode', d.mode)], [t('folder'), name(d.folder.name)], [t('department'), d.department], [t('site'), d.site], [t('location'), d.location], [t('notes'), d.notes && h('bdi', {}, d.notes)], [t('enrolled'), time(d.enrolled_at)]]),
    panel(t('os_section'), [[t('os'), system(d)], [t('build'), mono(d.build)], [t('supplemental'), [i.SupplementalBuildVersion, i.SupplementalOSVersionExtra].filter(Boolean).join(' ')], [t('time_zone'), i.TimeZone && h('bdi', {}, i.TimeZone)], [t('supervised'), yesno(d.supervised)], [t('user_enrolled'), yesno(sec.ManagementStatus?.IsUserEnrollment)], [t('shared_ipad'), yesno(i.IsMultiUser)], [t('in_setup'), yesno(i.AwaitingConfiguration)], [t('dnd'), yesno(i.IsDoNotDisturbInEffect)], [t('diagnostics'), yesno(i.DiagnosticSubmissionEnabled)], [t('app_analytics'), yesno(i.AppAnalyticsEnabled)]]),
    panel(t('security'), [[t('passcode'), yesno(d.passcode_present)], [t('passcode_ok'), yesno(d.passcode_compliant)], [t('passcode_profiles'), yesno(sec.PasscodeCompliantWithProfiles)], [t('lock_grace'), Number.isFinite(sec.PasscodeLockGracePeriodEnforced) ? t('seconds', null, number(sec.PasscodeLockGracePeriodEnforced)) : null], [t('encryption'), d.encryption === null ? null : word('enc', d.encryption)], [t('compliance'), word('comp', d.compliance)], [t('locator'), yesno(i.IsDeviceLocatorServiceEnabled)], [t('activation_lock'), yesno(i.IsActivationLockEnabled)], [t('activation_lock_allowed'), yesno(i.MDMOptions?.ActivationLockAllowedWhileSupervised)], [t('lost_mode'), yesno(i.IsMDMLostModeEnabled)], [t('jailbroken'), t('unknown')]]),
    panel(t('network'), [[t('wifi_mac'), mono(i.WiFiMAC)], [t('bluetooth_mac'), mono(i.BluetoothMAC)], [t('hotspot'), yesno(i.PersonalHotspotEnabled)], [t('tethered'), yesno(i.IsNetworkTethered)], [t('ip'), from(d)]]),
    panel(t('cloud'), [[t('cloud_backup'), yesno(i.IsCloudBackupEnabled)], [t('last_backup'), i.LastCloudBackupDate && time(i.LastCloudBackupDate)], [t('store_account'), yesno(i.iTunesStoreAccountIsActive)], [t('eas_device_id'), mono(d.eas_device_id)]]),
    panel(t('storage'), [[t('battery'), d.battery === null ? null : `${Math.round(d.battery * 100)} %`], [t('capacity'), gb(d.capacity_gb)], [t('free'), gb(d.free_gb)], ...(d.platform === 'ios' ? ['external_storage', 'ram'].map((k) => [t(k), h('span', { class: 'muted' }, t('apple_silent'))]) : [])]),
    (i.lines || []).map((l) => panel(t('cellular'), [[t('slot'), [l.slot, l.label].filter(Boolean).join(' · ')], [t('phone'), l.phone], [t('carrier'), l.carrier && h('bdi', {}, l.carrier)], [t('home_carrier'), l.home_carrier && h('bdi', {}, l.home_carrier)], [t('roaming'), yesno(l.roaming)], [t('data_roaming'), yesno(i.DataRoamingEnabled)], [t('voice_roaming'), yesno(i.VoiceRoamingEnabled)], [t('network_code'), mono([l.mcc, l.mnc].filter(Boolean).join(' '))], [t('carrier_settings'), l.carrier_settings && h('bdi', {}, l.carrier_settings)], [t('technology'), Number.isInteger(i.CellularTechnology) ? word('cell', String(i.CellularTechnology)) : null], [t('imei'), mono(l.imei)], [t('meid'), mono(l.meid)], [t('iccid'), mono(l.iccid)], [t('eid'), mono(l.eid)], [t('modem'), i.ModemFirmwareVersion]])),
    schedule,
    where && panel(t('position'), [[t('latitude'), where.Latitude], [t('longitude'), where.Longitude], [t('accuracy'), where.HorizontalAccuracy && t('metres', null, Math.round(where.HorizontalAccuracy))], [t('when'), where.Timestamp && time(where.Timestamp)]]),
    h('section', { class: 'panel' }, h('h2', {}, t('channels')), channels.length === 0 ? h('p', { class: 'muted' }, t('nothing')) : channels.map((r) => pairs([
      [t('kind'), `${r.kind.toUpperCase()}${r.live ? '' : ` (${t('ended')})`}`], [t('last_contact'), time(d.last_contact_at)], [t('ip'), from(d)], [t('push'), r.push_ok ? t('push_ok') : t('push_no')]]))),
    clients.map((r) => panel(t('mail_client'), mail(d, r, parting, tries))));
}

function grow(path, draw, none, pic) {
  return async (box, signal) => {
    const state = { items: [], next: null };
    const load = async () => {
      const r = await api('GET', `${path}${state.next ? `?cursor=${encodeURIComponent(state.next)}` : ''}`, { signal });
      state.items.push(...r.data.items); state.next = r.data.next;
      if (!state.items.length) return fill(box, h('div', { class: 'panel' }, empty(none, pic)));
      return fill(box, draw(state.items), state.next ? pager(box, state, () => load().catch(say)) : null);
    };
    await load();
  };
}

const appList = (items) => h('div', { class: 'panel flush' }, table([
  { label: t('name'), lead: true, cell: (a) => [h('span', { class: 'main' }, name(a.name || a.identifier)), h('span', { class: 'sub mono' }, a.identifier)] },
  { label: t('version'), cell: (a) => a.short_version || a.version || '–' },
  { label: t('size'), cell: (a) => (a.size ? `${number(Math.round(a.size / 1e5) / 10)} MB` : '–') },
  { label: t('managed'), cell: (a) => (a.status && !a.managed ? h('bdi', {}, a.status) : yesno(a.managed)) }], items));

const profileList = (items) => h('div', { class: 'panel flush' }, table([
  { label: t('name'), lead: true, cell: (p) => [h('span', { class: 'main' }, name(p.name || p.identifier || '–')), h('span', { class: 'sub mono' }, p.identifier)] },
  { label: t('organization'), cell: (p) => (p.organization ? name(p.organization) : '–') },
  { label: t('contents'), cell: (p) => h('span', { class: 'small' }, (p.payloads || []).map((x) => x.type).join(', ') || '–') },
  { label: t('signed'), cell: (p) => yesno(p.signed) }], items));
const certificateList = (items) => h('div', { class: 'panel flush' }, table([
  { label: t('name'), lead: true, cell: (c) => [h('span', { class: 'main' }, name(c.name || c.subject || '–')), h('span', { class: 'sub' }, c.issuer && name(c.issuer))] },
  { label: t('identity'), cell: (c) => yesno(c.identity) }, { label: t('valid_until'), tight: true, cell: (c) => time(c.not_after) },
  { label: 'SHA-256', cell: (c) => (c.fingerprint ? h('span', { class: 'mono small', title: c.fingerprint }, `${c.fingerprint.slice(0, 16)}…`) : '–') }], items));
const restrictionList = (items) => h('div', { class: 'panel flush' }, table([
  { label: t('name'), lead: true, cell: (r) => h('span', { class: 'mono' }, r.name) },
  { label: t('value'), cell: (r) => (typeof r.value === 'boolean' ? yesno(r.value) : h('bdi', {}, [r.value].flat().join(', '))) }], items));

const changes = (o) => h('div', { class: 'small' }, Object.entries(o).map(([k, c]) => h('div', {}, `${t(`w_${k}`, k)}: `, h('bdi', {}, plain(c.before)), ' → ', h('bdi', {}, plain(c.after)))));
const plain = (v) => (typeof v === 'boolean' ? yesno(v) : String(v));
const timeline = (items) => h('div', { class: 'panel' }, h('ol', { class: 'line' }, items.map((e) => h('li', {}, h('strong', {}, word('ev', e.kind.replaceAll('.', '_'))), e.kind === 'changed' ? changes(e.detail) : detail(e.detail), h('div', { class: 'when' }, time(e.at))))));
export const auditList = (items, withObject) => h('div', { class: 'panel flush' }, table([
  { label: t('what'), lead: true, cell: (a) => [h('span', { class: 'main' }, a.action), detail(a.detail)] },
  { label: t('who'), cell: (a) => [name(a.actor.name || a.actor.kind), h('span', { class: 'sub' }, a.actor.ip)] },
  ...(withObject ? [{ label: t('object'), cell: (a) => (a.object_kind === 'device' ? h('a', { href: `#/device/${a.object_id}` }, name(a.object_name || a.object_id)) : h('bdi', {}, a.object_name || a.object_kind)) }] : []),
  { label: t('outcome'), cell: (a) => chip(a.outcome) }, { label: t('when'), tight: true, cell: (a) => time(a.at) }], items));

function commandList(items, id, may, again) {
  return h('div', { class: 'panel flush' }, table([
    { label: t('command'), lead: true, cell: (c) => [h('span', { class: 'main' }, c.request_type), c.user && h('span', { class: 'sub' }, t('user_for'), ' ', name(c.user)), c.open && c.why ? h('span', { class: 'sub' }, t(`cmd_${c.why_code}`, c.why, c.why_value)) : null, answer(c)] },
    { label: t('state'), cell: (c) => chip(c.state) }, { label: t('by'), cell: (c) => [c.created_by ? name(c.created_by) : t('by_system'), c.task && h('a', { class: 'sub', href: `#/task/${c.task}` }, t('task'))] },
    { label: t('created'), tight: true, cell: (c) => time(c.created_at) }, { label: t('ended'), tight: true, cell: (c) => time(c.done_at) },
    { label: '', cell: (c) => (c.open && may('device:task') ? h('div', { class: 'acts' }, button(t('take_back'), null, async () => {
      try { await api('POST', `devices/${id}/commands/${c.id}/cancel`); toast(t('taken_back')); again(); } catch (e) { say(e); }
    })) : null) }], items));
}

function edit(id, again) {
  return async () => {
    const { data: d, etag } = await api('GET', `devices/${id}`);
    dialog({ title: t('edit'), submit: t('save'), fields: [
      { name: 'name', label: t('name'), value: d.name, required: true, max: 200 },
      { name: 'ownership', label: t('ownership'), type: 'select', value: d.ownership, options: [['corporate', t('own_corporate')], ['personal', t('own_personal')]] },
      { name: 'department', label: t('department'), value: d.department, max: 200 }, { name: 'site', label: t('site'), value: d.site, max: 200 },
      { name: 'location', label: t('location'), value: d.location, max: 200 }, { name: 'notes', label: t('notes'), type: 'area', value: d.notes, max: 4000 },
      { name: 'test_device', label: t('test_device'), type: 'check', value: d.test_device }],
    save: async (v) => { await api('PATCH', `devices/${id}`, { body: v, match: etag }); toast(t('saved')); again(); } });
  };
}

function acts(d, id, commands, may, again) {
  const managed = d.state === 'active' && d.mode.startsWith('ios');
  const ask = (title, lead, path, after) => dialog({ title, lead: [lead, target(d)], submit: title, danger: true, fields: [{ name: 'reason', label: t('reason'), max: 500 }],
    save: async (v) => { await api('POST', `devices/${id}/${path}`, { body: v }); toast(t('saved')); after(); } });
  return [
    managed && may('device:task') && button(t('refresh'), 'refresh', async () => { try { await api('POST', `devices/${id}/refresh`); toast(t('refresh_asked')); again(); } catch (e) { say(e); } }, 'primary'),
    may('device:write') && button(t('edit'), 'edit', () => edit(id, again)().catch(say)),
    d.mode.includes('eas') && may('device:write') && button(t('mail_gate'), 'mail', () => gate(d, again)),
    (d.mode.startsWith('ios') || d.level === 'email_only') && may('device:task') && button(t('actions'), 'menu', () => menu(d, may, again)),
    d.state !== 'retired' && (d.state !== 'active' || d.level === 'email_only') && may('device:write') && button(t('retire'), 'off', () => ask(t('retire'), t('retire_lead'), 'retire', again)),
    d.state === 'retired' && may('device:write') && button(t('unretire'), 'ok', () => ask(t('unretire'), t('unretire_lead'), 'unretire', again)),
    may('device:write') && button(t('del'), 'trash', () => dialog({ title: t('del'), lead: [t('del_lead'), target(d)], submit: t('del'), danger: true,
      save: async () => { await api('DELETE', `devices/${id}`); toast(t('deleted')); location.hash = '#/devices'; } }), 'danger'),
  ];
}

export default async function page({ main, id, query, signal, may, me, again }) {
  const path = `devices/${encodeURIComponent(id)}`;
  const get = () => Promise.all([api('GET', path, { signal }), api('GET', `${path}/records`, { signal }), api('GET', `${path}/commands`, { signal }), api('GET', `${path}/users`, { signal })]);
  const heading = h('div'), box = h('div', { role: 'tabpanel', id: 'panel', tabindex: '0', 'aria-labelledby': `tab-${query.tab || 'info'}` });
  const seen = await get();
  let [d, records, commands, people] = seen.map((r) => r.data.items || r.data);
  const asked = d.mode.startsWith('ios') || d.mode.startsWith('android');
  const parting = may('device:write') ? (r) => (d.mode.endsWith('_eas') || r.state === 'discovered') && button(t('part'), null, () => part(d, r, again)) : null;
  const tabs = { info: async (b) => fill(b, info(d, records, asked && await summary({ path: `${path}/schedule`, title: d.name, device: true, write: may('device:write'), signal, again }), parting, may('mail:write') && again), users(people, path, may, again)), policies: (b) => policies(b, d, { may, me, again, signal }), apps: grow(`${path}/apps`, appList, t('no_apps'), 'box'), profiles: grow(`${path}/profiles`, profileList, t('nothing'), 'audit'),
    certificates: grow(`${path}/certificates`, certificateList, t('nothing'), 'key'), restrictions: grow(`${path}/restrictions`, restrictionList, t('nothing'), 'off'),
    commands: (b) => fill(b, commands.length ? commandList(commands, id, may, again) : h('div', { class: 'panel' }, empty(t('no_commands'), 'jobs'))),
    timeline: grow(`${path}/events`, timeline, t('nothing'), 'wait'), ...(may('audit:read') ? { audit: grow(`${path}/audit`, auditList, t('nothing'), 'audit') } : {}) };
  const now = Object.hasOwn(tabs, query.tab || '') ? query.tab : 'info';
  const drawHead = () => {
    document.title = `${d.name} · mod_mdm`;
    const help = heading.querySelector('.help');
    fill(heading, h('section', { class: 'panel' }, h('div', { class: 'head' },
      h('div', { class: 'hero' }, h('span', { class: 'glyph' }, icon('devices')), h('div', {}, h('h1', {}, name(d.name)),
        h('div', { class: 'muted' }, chip(d.state), ' ', d.test_device ? chip('test') : null, ' ', d.person ? name(d.person.name) : t('no_owner')))),
      h('div', { class: 'acts' }, acts(d, id, commands, may, again), help)), h('p', { class: 'sentence', id: 'why' }, h('bdi', {}, sentences(d, records, commands)))));
  };
  const open = (key) => { location.hash = `#/device/${id}${key === 'info' ? '' : `?tab=${key}`}`; };
  const bar = tabbar(Object.keys(tabs).map((key) => [key, t(key)]), now, open);
  drawHead();
  await tabs[now](box, signal);
  fill(main, h('a', { class: 'crumb', href: '#/devices' }, icon('left'), t('devices')), heading, bar, box);
  const fresh = async () => {
    try {
      [d, records, commands, people] = (await get()).map((r) => r.data.items || r.data);
      drawHead();
      if (now === 'info' || now === 'commands') await tabs[now](box);
    } catch (e) { if (e.status === 404) again(); }
  };
  poll(`${path}/commands`, signal, fresh, { etag: seen[2].etag });
  poll(path, signal, fresh, { etag: seen[0].etag });
}
