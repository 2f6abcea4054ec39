// Orders to devices: what each one asks for, and the dialogues that start a quick task with it.
import { api } from './api.js';
import { h, button, dialog, icon, toast, say, name, number, base64 } from './ui.js';
import { t } from './words.js';

const MANY = 20; // more devices than these: their number is typed (UI-04)
const text = (key, more) => ({ name: key, label: t(`do_${key}`), max: 200, ...more });
const fault = (field, message) => Object.assign(new Error(message), { field });

const leave = (wipe) => ({ danger: true, leaves: true,
  fields: (one) => [{ name: 'then', label: t('then'), type: 'radio', value: 'retire', options: [['retire', t('then_retire')], ['delete', t('then_delete')]] },
    ...(wipe === 'full' ? [{ name: 'plan', label: t('do_keep_plan'), type: 'check' }] : []),
    ...(wipe !== 'selective' && one ? [{ name: 'typed', label: t('do_confirm', null, `\u2068${one.name}\u2069`), required: true, max: 200 }] : [])],
  options: (v, one) => {
    if (wipe !== 'selective' && one && v.typed.trim() !== one.name.trim()) throw fault('typed', t('do_confirm_wrong'));
    return { wipe: wipe === 'mail' ? 'full' : wipe, then: v.then, ...(v.plan ? { erase: { PreserveDataPlan: true } } : {}) };
  } });

// By the name of the action. fields: of the dialogue; options: what becomes of them, if it is not what was typed; one: the only device.
export const orders = {
  refresh: {},
  lock: { fields: () => [text('message'), text('phone', { max: 64 })] },
  lost_on: { danger: true, fields: () => [text('message', { required: true }), text('phone', { max: 64 }), text('footnote')] },
  lost_off: {}, locate: {}, play_sound: {},
  restart: { danger: true }, shut_down: { danger: true },
  rename: { right: 'device:write', fields: (one) => [text('new_name', { name: 'name', label: t('do_new_name'), required: true, value: one ? one.inventory.device?.DeviceName || one.name : '${user.name} ${device.model}', hint: one ? null : t('do_template_hint') })] },
  install_profile: { right: 'device:write', fields: () => [{ name: 'profile', label: t('do_file'), type: 'file', required: true }],
    options: async () => ({ profile: await base64(document.getElementById('f-profile').files[0]) }) },
  remove_profile: { right: 'device:write', danger: true, fields: (one, profiles) => [profiles
    ? { name: 'identifier', label: t('do_profile'), type: 'select', options: profiles.filter((p) => p.identifier).map((p) => [p.identifier, p.name || p.identifier]) }
    : { name: 'identifier', label: t('do_identifier'), required: true, max: 250 }] },
  unenroll: leave('selective'), wipe: leave('full'), mail_unenroll: leave('selective'), mail_wipe: leave('mail'),
  raw: { right: 'command:raw', danger: true, fields: () => [{ name: 'command', label: t('do_dictionary'), type: 'area', required: true, value: '{\n  "RequestType": ""\n}' }],
    options: (v) => { try { return { command: JSON.parse(v.command) }; } catch (e) { throw fault('command', e.message); } } },
};
const byMail = ['mail_unenroll', 'mail_wipe'];
export const orderName = (action) => t(action === 'refresh' || action === 'unenroll' ? action : `do_${action}`);
// The action that a task carries out.
export const actionOf = (task) => (task.kind === 'unenroll' && task.options.wipe === 'full' ? 'wipe' : task.kind);

// The filter in the address of the device list, as a task takes it.
export const filterOf = ({ sort, cols, lost, source_removed, ...rest }) => ({ ...rest, ...(lost === '1' && { lost: true }), ...(source_removed === '1' && { source_removed: true }) });

// Two ways, the second with a number of minutes.
function minutes({ name: key, label, none, some, value, most, on }) {
  const radio = (v, checked) => h('input', { type: 'radio', name: `${key}-way`, value: v, checked });
  const number_ = h('input', { type: 'number', id: `f-${key}`, class: 'short', min: 1, max: most, step: 1, value: String(value), 'aria-label': `${label}: ${t('task_minutes')}` });
  const off = radio('none', !on), with_ = radio('some', on);
  for (const what of ['focus', 'input']) number_.addEventListener(what, () => { with_.checked = true; });
  const node = [h('label', { class: 'choice' }, off, h('span', {}, none)),
    h('div', { class: 'choice' }, h('label', {}, with_, h('span', {}, some)), number_, h('span', {}, t('task_minutes')))];
  return { name: key, label, type: 'own', node, input: number_, read: () => {
    if (!with_.checked) return null;
    const n = Number(number_.value);
    if (!Number.isInteger(n) || n < 1 || n > most) throw fault(key, t('task_minutes_wrong', null, number(most)));
    return n;
  } };
}
const when = (order, one) => [
  !one && minutes({ name: 'spread_minutes', label: t('task_notify'), none: t('task_at_once'), some: t('task_spread'), value: 60, most: 10080 }),
  !order.leaves && minutes({ name: 'expires_minutes', label: t('task_expiry'), none: t('task_never'), some: t('task_after'), value: 20, most: 525600, on: true })].filter(Boolean);

// Why some of the devices do not get the order.
const reasons = (list) => h('ul', {}, list.map((r) => h('li', {}, `${number(r.devices)}: ${t(`no_${r.reason}`, r.why)}`,
  h('span', { class: 'muted small' }, ' (', r.examples.flatMap((d, i) => [i ? ', ' : '', name(d.name)]), r.devices > r.examples.length ? ', …' : '', ')'))));
const reach = (seen) => (seen.complete ? t('task_reach', null, number(seen.applies), number(seen.devices)) : t('task_reach_more', null, number(seen.devices), number(seen.applies)));
const others = (seen) => (seen.reasons.length ? h('details', {}, h('summary', {}, t('task_not_these', null, number(seen.devices - seen.applies))), reasons(seen.reasons)) : null);

// Starts one order. to: {body: {devices} or {filter}, one: the only device, profiles: its; seen: what the preview said; lead; done(task)}.
export function order(action, to) {
  const o = orders[action], label = orderName(action), fields = o.fields ? o.fields(to.one, to.profiles) : [];
  const ask = to.seen && to.seen.devices > 1 && (o.leaves || (action !== 'refresh' && to.seen.devices > MANY)) ? to.seen.devices : 0;
  const more = [...(action === 'refresh' ? [] : [{ name: 'reason', label: t('reason'), max: 500 }])];
  const typed = ask ? [{ name: 'confirm', label: t(to.seen.complete ? 'task_type' : 'task_type_more', null, ask), required: true, max: 9, mode: 'numeric' }] : [];
  const save = async (v) => {
    if (ask && v.confirm.trim() !== String(ask)) throw fault('confirm', t('delete_many_wrong'));
    const given = o.options ? await o.options(v, to.one) : Object.fromEntries(fields.map((f) => [f.name, v[f.name]]).filter(([, x]) => x !== ''));
    if (v.reason) given.reason = v.reason;
    try {
      if (byMail.includes(action)) { // of one device, and so no quick task
        await api('POST', `devices/${to.one.id}/unenroll`, { body: given });
        toast(t('unenroll_done'));
        return to.done();
      }
      const { data } = await api('POST', 'tasks', { body: { kind: action === 'wipe' ? 'unenroll' : action, options: given, ...to.body,
        ...(v.spread_minutes ? { spread_minutes: v.spread_minutes } : {}), ...('expires_minutes' in v ? { expires_minutes: v.expires_minutes } : {}), ...(ask ? { confirm: ask } : {}) } });
      toast(t('task_started'));
      to.done(data);
    } catch (e) { throw e.field === 'confirm' ? fault('confirm', t('task_changed')) : e.field ? Object.assign(e, { field: e.field.replace(/^options\./, '') }) : e; }
  };
  return dialog({ title: label, lead: [t(`do_${action}_sub`), to.lead], submit: label, danger: o.danger, body: [to.seen && others(to.seen), o.leaves && !byMail.includes(action) && h('p', { class: 'muted small' }, t('unenroll_mail'))],
    fields: [...fields, ...when(o, to.one), ...more, ...typed], save });
}

// A menu of acts: items [[label, hint, act, danger]], and those that are not possible now with their reasons.
export function acts({ title, lead, items, rest }) {
  const go = (fn) => () => { box.close(); Promise.resolve(fn()).catch(say); };
  const box = dialog({ title, lead, body: [h('ul', { class: 'menu' }, items.map(([label, hint, act, danger]) => h('li', {}, button(label, null, go(act), danger ? 'danger' : ''), h('p', { class: 'hint' }, hint)))),
    rest.length ? h('details', {}, h('summary', {}, t('do_not_now', null, rest.length)), h('ul', {}, rest.map(([label, why]) => h('li', {}, `${label}: `, why)))) : null] });
  return box;
}

// The start of a quick task for several devices: which order, then its options. label: who is meant, in words.
export async function start({ body, label, may }) {
  try {
    const { data: p } = await api('POST', 'tasks/preview', { body });
    if (!p.devices) { toast(t('task_nobody'), true); return; }
    const target = h('p', { class: 'alert warn' }, name(label), ': ', t(p.complete ? 'task_devices' : 'task_devices_more', null, number(p.devices)));
    const keys = Object.keys(orders);
    const all = p.actions.sort((a, b) => keys.indexOf(a.action) - keys.indexOf(b.action)).filter((a) => orders[a.action] && (!orders[a.action].right || may(orders[a.action].right))).map((a) => ({ ...a, devices: p.devices, complete: p.complete }));
    const order_ = (a) => order(a.action, { body, seen: a, lead: h('p', { class: 'alert warn' }, icon('devices'), ' ', name(label), ': ', reach(a)), done: (task) => { location.hash = `#/task/${task.id}`; } });
    acts({ title: t('task_start'), lead: [target],
      items: all.filter((a) => a.applies).map((a) => [orderName(a.action), [t(`do_${a.action}_sub`), a.applies < a.devices ? h('strong', {}, ` ${t('task_some', null, number(a.applies), number(a.devices))}`) : null], () => order_(a), a.action === 'wipe']),
      rest: all.filter((a) => !a.applies).map((a) => [orderName(a.action), a.reasons.map((r) => t(`no_${r.reason}`, r.why)).join(', ')]) });
  } catch (e) { say(e); }
}
