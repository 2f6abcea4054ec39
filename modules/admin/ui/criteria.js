// The builder of a dynamic group's criteria: all, any or none of conditions, and such groups once more inside; what goes deeper is kept and shown as text.
import { h, fill, icon, button, word } from './ui.js';
import { t } from './words.js';

const DEEPEST = 2;
const words = { os_version: 'os', passcode_present: 'passcode', passcode_compliant: 'passcode_ok', capacity_gb: 'capacity', free_gb: 'free', modem_firmware: 'modem', test_device: 's_test', contact_days: 'cri_contact_days', enrolled_days: 'cri_enrolled_days', app: 'cri_app', profile: 'cri_profile' };
export const fieldName = (f) => t(words[f] || f, f);
// Fields with a few known values: group of words, values.
const known = { state: ['s', ['active', 'pending', 'wipe_pending', 'retired', 'blocked', 'removed']], platform: ['plat', ['ios', 'android', 'windows', 'unknown']], ownership: ['own', ['corporate', 'personal']],
  mode: ['mode', ['ios_mdm', 'ios_mdm_eas', 'android_app', 'android_app_eas', 'eas']], level: ['level', ['managed', 'email_only']], compliance: ['comp', ['compliant', 'noncompliant', 'unknown']] };
const joints = ['all', 'any', 'none'];

// {"not": {"any": […]}} is "none of"; a condition alone is "all of" one.
function opened(c) {
  if (c.all || c.any) return { joint: c.all ? 'all' : 'any', parts: c.all || c.any };
  if (c.not) return { joint: 'none', parts: c.not.any || [c.not] };
  return { joint: 'all', parts: [c] };
}
const closed = ({ joint, parts }) => (joint === 'none' ? { not: { any: parts } } : { [joint]: parts });

const valueText = (c) => [c.value].flat().map((v) => (typeof v === 'boolean' ? t(v ? 'yes' : 'no') : known[c.field] ? word(known[c.field][0], v) : String(v))).join(', ');
export function text(c) {
  if (c.field) return `${fieldName(c.field)} ${t(`op_${c.op}`, c.op)} ${valueText(c)}`;
  const { joint, parts } = opened(c);
  return `${t(`cri_${joint}`)} (${parts.map(text).join('; ')})`;
}

const select = (label, all, now, onchange) => h('select', { 'aria-label': label, onchange }, all.map(([v, l]) => h('option', { value: v, selected: v === now }, l)));

// The field for a value, and what is read from it.
function input(c, type) {
  if (type === 'boolean' || c.op === 'set') {
    const el = select(t('value'), [['yes', t('yes')], ['no', t('no')]], c.value === false ? 'no' : 'yes');
    return [el, () => el.value === 'yes'];
  }
  if (known[c.field] && ['eq', 'ne'].includes(c.op)) {
    const [group, all] = known[c.field], el = select(t('value'), all.map((v) => [v, word(group, v)]), c.value);
    return [el, () => el.value];
  }
  const shown = c.value === undefined || typeof c.value === 'boolean' ? '' : [c.value].flat().join(', ');
  const el = h('input', { type: type === 'number' ? 'number' : 'text', step: 'any', value: shown, 'aria-label': t('value'), maxlength: 2000, autocomplete: 'off', placeholder: c.op === 'in' ? t('cri_list') : null });
  return [el, () => (c.op === 'in' ? el.value.split(',').map((s) => s.trim()).filter(Boolean) : type === 'number' && el.value !== '' ? Number(el.value) : el.value.trim())];
}

// fields: of /group-fields; start: criteria or null; changed(): after each change. node, read().
export function builder(fields, start, changed) {
  const by = new Map(fields.map((f) => [f.field, f]));
  const fresh = () => ({ field: 'os_version', op: 'ge' });

  function condition(first, gone) {
    const c = { ...first }, box = h('div', { class: 'condition' });
    let read;
    const draw = () => {
      const f = by.get(c.field);
      if (!f.ops.includes(c.op)) { c.op = f.ops[0]; c.value = undefined; }
      const [el, get] = input(c, f.type);
      read = () => { c.value = get(); return { ...c }; };
      el.addEventListener('input', changed);
      fill(box, select(t('cri_field'), fields.map((x) => [x.field, fieldName(x.field)]), c.field, (e) => { c.field = e.target.value; c.value = undefined; draw(); box.querySelector('select').focus(); changed(); }),
        select(t('cri_op'), f.ops.map((o) => [o, t(`op_${o}`, o)]), c.op, (e) => { read(); c.op = e.target.value; draw(); box.querySelectorAll('select')[1].focus(); changed(); }), el,
        h('button', { type: 'button', class: 'btn icon quiet', 'aria-label': `${t('remove')}: ${fieldName(c.field)}`, onclick: gone }, icon('cross')));
    };
    draw();
    return { box, read: () => read() };
  }
  function kept(c, gone) {
    return { box: h('div', { class: 'condition kept' }, h('bdi', { class: 'small' }, text(c)), h('button', { type: 'button', class: 'btn icon quiet', 'aria-label': `${t('remove')}: ${text(c)}`, onclick: gone }, icon('cross'))), read: () => c };
  }
  function group(first, depth, gone) {
    const now = opened(first), list = h('div', { class: 'parts' }), parts = [];
    const add = (c) => {
      const leave = () => { parts.splice(parts.indexOf(part), 1); draw(); list.parentNode.querySelector('select').focus(); changed(); };
      const part = by.has(c.field) ? condition(c, leave) : !c.field && depth < DEEPEST ? group(c, depth + 1, leave) : kept(c, leave);
      parts.push(part);
      return part;
    };
    const draw = () => fill(list, parts.map((p) => p.box));
    const more = (c) => { const part = add(c); draw(); part.box.querySelector('select')?.focus(); changed(); };
    now.parts.forEach(add);
    draw();
    const joint = select(t('cri_joint'), joints.map((j) => [j, t(`cri_${j}`)]), now.joint, changed);
    return { box: h('div', { class: 'joined' }, h('div', { class: 'condition' }, joint, gone && h('button', { type: 'button', class: 'btn icon quiet', 'aria-label': t('cri_group_remove'), onclick: gone }, icon('cross'))), list,
      h('div', { class: 'chips' }, button(t('cri_add'), 'plus', () => more(fresh()), 'quiet'), depth < DEEPEST && button(t('cri_add_group'), 'plus', () => more({ any: [fresh()] }), 'quiet'))),
    read: () => closed({ joint: joint.value, parts: parts.map((p) => p.read()) }) };
  }
  const top = group(start || { all: [fresh()] }, 1);
  return { node: top.box, read: top.read };
}
