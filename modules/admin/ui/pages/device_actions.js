// What can be done to one device: the server says what applies, and why the rest does not.
import { api } from '../api.js';
import { h, button, dialog, toast, say } from '../ui.js';
import { t } from '../words.js';

export const target = (d) => h('p', { class: 'alert warn' }, t('one_device', null, [d.name, d.serial, d.person?.name].filter(Boolean).join(' · ')));
const text = (name, more) => ({ name, label: t(`do_${name}`), max: 200, ...more });
const because = () => ({ name: 'reason', label: t('reason'), max: 500 });
const some = (v) => Object.fromEntries(Object.entries(v).filter(([, x]) => x !== ''));
const base64 = (bytes) => { let s = ''; for (const b of bytes) s += String.fromCharCode(b); return btoa(s); };

// Fields of the dialog, and the keys that become of them.
const commands = {
  lock: { fields: () => [text('message'), text('phone_number'), because()], keys: (v) => some({ Message: v.message, PhoneNumber: v.phone_number }) },
  unlock: { fields: () => [because()] }, lost_off: {}, locate: {}, play_sound: {}, restart: { danger: true }, shut_down: { danger: true },
  lost_on: { danger: true, fields: () => [text('message', { required: true }), text('phone_number'), text('footnote')],
    keys: (v) => some({ Message: v.message, PhoneNumber: v.phone_number, Footnote: v.footnote }) },
  rename: { fields: (d) => [text('new_name', { required: true, value: d.inventory.device?.DeviceName || d.name })], keys: (v) => ({ Settings: [{ Item: 'DeviceName', DeviceName: v.new_name }] }) },
  install_profile: { fields: () => [{ name: 'file', label: t('do_file'), type: 'file', required: true }],
    keys: async () => ({ Payload: { $data: base64(new Uint8Array(await document.getElementById('f-file').files[0].arrayBuffer())) } }) },
  remove_profile: { danger: true, fields: (d, profiles) => [{ name: 'identifier', label: t('do_profile'), type: 'select', options: profiles.filter((p) => p.identifier).map((p) => [p.identifier, p.name || p.identifier]) }],
    keys: (v) => ({ Identifier: v.identifier }) },
};

async function order(a, d, id, again) {
  const c = commands[a.action], label = t(`do_${a.action}`);
  const profiles = a.action === 'remove_profile' ? (await api('GET', `devices/${id}/profiles?limit=200`)).data.items : [];
  dialog({ title: label, lead: [t(`do_${a.action}_sub`), target(d)], submit: label, danger: c.danger, fields: c.fields ? c.fields(d, profiles) : [],
    save: async (v) => {
      await api('POST', `devices/${id}/commands`, { body: { request_type: a.command, ...(c.keys ? { payload: await c.keys(v) } : {}), ...(v.reason ? { reason: v.reason } : {}) } });
      toast(t('do_sent')); again();
    } });
}

function raw(d, id, again) {
  dialog({ title: t('do_raw'), lead: [t('do_raw_sub'), target(d)], submit: t('do_raw'), danger: true,
    fields: [{ name: 'command', label: t('do_dictionary'), type: 'area', required: true, value: '{\n  "RequestType": ""\n}' }],
    save: async (v) => {
      let command;
      try { command = JSON.parse(v.command); } catch (e) { throw Object.assign(new Error(e.message), { field: 'command' }); }
      await api('POST', `devices/${id}/commands/raw`, { body: { command } });
      toast(t('do_sent')); again();
    } });
}

// A wipe can't be undone: whoever asks for it types the name of the device.
function leave(d, id, full, again) {
  const label = t(full ? 'do_wipe' : 'unenroll');
  dialog({ title: label, lead: [t(full ? 'do_wipe_sub' : 'do_unenroll_sub'), target(d)], submit: label, danger: true, body: h('p', { class: 'muted small' }, t('unenroll_mail')), fields: [
    { name: 'then', label: t('then'), type: 'radio', value: 'retire', options: [['retire', t('then_retire')], ['delete', t('then_delete')]] },
    ...(full ? [{ name: 'plan', label: t('do_keep_plan'), type: 'check' }, { name: 'confirm', label: t('do_confirm', null, `\u2068${d.name}\u2069`), required: true, max: 200 }] : []),
    because()],
  save: async (v) => {
    if (full && v.confirm.trim() !== d.name.trim()) throw Object.assign(new Error(t('do_confirm_wrong')), { field: 'confirm' });
    await api('POST', `devices/${id}/unenroll`, { body: { wipe: full ? 'full' : 'selective', then: v.then, reason: v.reason, ...(full && v.plan ? { erase: { PreserveDataPlan: true } } : {}) } });
    toast(t('unenroll_done')); again();
  } });
}

function simple(d, title, lead, act) {
  dialog({ title, lead: [lead, target(d)], submit: title, danger: true, fields: [because()], save: act });
}

async function run(a, d, id, waiting, again) {
  const done = () => { toast(t('saved')); again(); };
  if (commands[a.action]) return order(a, d, id, again);
  if (a.action === 'unenroll' || a.action === 'wipe') return leave(d, id, a.action === 'wipe', again);
  if (a.action === 'give_up') return simple(d, t('do_give_up'), t('do_give_up_sub'), async (v) => { await api('POST', `devices/${id}/give-up`, { body: v }); done(); });
  await api('POST', `devices/${id}/commands/${waiting.find((c) => c.leaving && c.open).id}/cancel`);
  return done();
}

const shown = [...Object.keys(commands), 'unenroll', 'wipe', 'cancel_leaving', 'give_up'];

export async function menu(d, id, waiting, may, again) {
  try {
    const all = (await api('GET', `devices/${id}/actions`)).data.items.filter((a) => shown.includes(a.action));
    const rest = all.filter((a) => !a.applies);
    const label = (a) => (a.action === 'unenroll' ? t('unenroll') : t(`do_${a.action}`));
    const go = (fn) => () => { box.close(); Promise.resolve(fn()).catch(say); };
    const item = (a) => h('li', {}, button(label(a), null, go(() => run(a, d, id, waiting, again)), a.action === 'wipe' ? 'danger' : ''), h('p', { class: 'hint' }, t(`do_${a.action}_sub`)));
    const box = dialog({ title: t('actions'), lead: [target(d)], body: [h('ul', { class: 'menu' }, all.filter((a) => a.applies).map(item),
      may('command:raw') && d.state === 'active' && h('li', {}, button(t('do_raw'), null, go(() => raw(d, id, again))), h('p', { class: 'hint' }, t('do_raw_sub')))),
    rest.length ? h('details', {}, h('summary', {}, t('do_not_now', null, rest.length)), h('ul', {}, rest.map((a) => h('li', {}, `${label(a)}: ${t(`no_${a.reason}`, a.why)}`)))) : null] });
  } catch (e) { say(e); }
}
