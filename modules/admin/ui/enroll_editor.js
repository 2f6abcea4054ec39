// The editor of an enrollment policy: who owns, what may enrol, how devices leave and come back, and the ordered rules that name and place them (ENR-02..08).
// What was changed stays here until it is saved.
import { api } from './api.js';
import { h, fill, icon, button, word } from './ui.js';
import { folderOptions } from './tree.js';
import { t } from './words.js';

const drafts = new Map(); // of policies that were left with changes
const ROOT = '00000000-0000-4000-8000-000000000001', RULES = 100;
const defaults = { ownership: 'choose', level: 'choose', platforms: { ios: true, android: true, eas: true }, min_os: { ios: '8.0', android: '4.1', eas: '12.1' }, max_devices: 0,
  unenroll: { corporate: 'retire', personal: 'delete' }, reenroll: 'unretire', manual_reconcile: false, rules: [] };
const sample = { 'user.login': 'anna', 'user.name': 'Anna Example', 'user.mail': 'anna@example.org', 'device.model': 'iPhone 15', 'device.serial': 'F2LX1234', 'device.platform': 'ios', seq: '42' };
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const whole = (s) => Object.fromEntries(Object.entries(defaults).map(([k, d]) => [k, s[k] === undefined ? d : d.constructor === Object ? { ...d, ...s[k] } : s[k]]));
// The name that a template gives to an example; null: it names something that there is not.
export function preview(template) {
  let wrong = false;
  const text = template.replace(/\$\{([^}]*)(\}?)/g, (all, key, end) => { if (end && key in sample) return sample[key]; wrong = true; return all; });
  return wrong ? null : text;
}

// Criteria of a rule: words to choose from, or a text.
const criteria = { platform: ['plat', ['ios', 'android', 'windows', 'blackberry']], ownership: ['own', ['corporate', 'personal']], level: ['level', ['managed', 'email_only']] };
const title = { platform: 'platform', ownership: 'enp_own', level: 'enp_level', model: 'enp_model', os_min: 'enp_os_min', user_group: 'tgt_user_group', user_folder: 'tgt_user_folder' };
const listed = (v) => [v ?? []].flat().join(', ');
export function valueText(key, v) {
  if (v === null || v === undefined) return t('enp_default');
  if (key === 'rules') return v.map((r, i) => `${i + 1}. ${r.name} (${Object.entries(r.match || {}).map(([k, x]) => `${t(title[k], k)}: ${criteria[k] ? [x].flat().map((y) => word(criteria[k][0], y)).join(', ') : listed(x)}`).join('; ') || t('enp_any')})`).join(' · ');
  const one = (k, x) => (typeof x === 'boolean' ? t(x ? 'yes' : 'no') : t(`enp_v_${x}`, String(x)));
  return typeof v === 'object' ? Object.entries(v).map(([k, x]) => `${t(key === 'unenroll' ? `own_${k}` : `enp_p_${k}`, k)}: ${one(k, x)}`).join(' · ') : one(key, v);
}
export const label = (key) => t(`enp_${key}`, key);

// save(changes): sends them, throws a Problem that names a place.
export async function enrollEditor({ policy, version, write, save, may, signal }) {
  const get = (path) => api('GET', path, { signal }).then((r) => r.data.items);
  const [folders, groups, parts] = await Promise.all([may('device:read') ? get('folders') : [], ...['user-groups', 'user-folders'].map((x) => (may('person:read') ? get(`${x}?limit=200`) : []))]);
  const stored = whole(version.settings), now = (write && drafts.get(policy.id)) || structuredClone(stored);
  if (write) drafts.set(policy.id, now);
  const errors = new Map(), box = h('div'), foot = h('div', { class: 'savebar', hidden: true, role: 'region', 'aria-label': t('pol_unsaved') });
  const changed = () => Object.keys(defaults).filter((k) => !same(now[k], stored[k]));
  const touched = () => {
    const n = changed().length;
    foot.hidden = !n;
    fill(foot, h('strong', {}, t('pol_changes', null, n)), button(t('pol_discard'), null, () => { Object.assign(now, structuredClone(stored)); errors.clear(); draw(); }, 'quiet'), button(t('pol_save'), 'ok', send, 'primary'));
  };

  // at: "min_os.ios", the place in the settings that a refusal names.
  const idOf = (at) => `en-${at.replaceAll('.', '-')}`;
  const field = (at, text, control, hint) => {
    control.id = idOf(at);
    control.disabled = !write;
    if (errors.has(at)) control.setAttribute('aria-invalid', 'true');
    if (hint) control.setAttribute('aria-describedby', `${control.id}-hint`);
    return h('div', { class: 'field' }, h('label', { for: control.id }, text), control, hint && h('p', { class: 'hint', id: `${control.id}-hint` }, hint), errors.has(at) && h('p', { class: 'err', role: 'alert' }, errors.get(at)));
  };
  const select = (value, all, set) => h('select', { onchange: (e) => { set(e.target.value); touched(); } }, all.map(([v, l]) => h('option', { value: v, selected: v === value }, l)));
  const text = (value, set, more) => h('input', { type: 'text', value, autocomplete: 'off', ...more, oninput: (e) => { set(e.target.value); touched(); } });
  const choice = (key, all, from = now, at = key) => field(at, from === now ? label(key) : word('own', key), select(from[key], all.map((v) => [v, t(`enp_v_${v}`)]), (v) => { from[key] = v; }), from === now && t(`enp_${key}_hint`));
  const tick = (from, key, text_, hint) => h('div', {}, h('label', { class: 'check' }, h('input', { type: 'checkbox', id: idOf(`tick.${key}`), checked: from[key], disabled: !write, onchange: (e) => { from[key] = e.target.checked; touched(); } }), text_), hint && h('p', { class: 'hint' }, hint));

  const match = (rule, key, value) => { rule.match ||= {}; if (value && value.length) rule.match[key] = value; else delete rule.match[key]; };
  // A list that was written over the API stays as it is unless it is changed here.
  const pick = (rule, i, key, all) => {
    const v = rule.match?.[key], is = v === undefined ? '' : listed(v), known = all.some(([x]) => x === is);
    return field(`rules.${i}.match.${key}`, t(title[key]), select(is, [['', t('enp_any')], ...all, ...(is && !known ? [[is, is]] : [])], (x) => { match(rule, key, x === is ? v : x); drawRules(); }));
  };
  const catchAll = (r) => !Object.keys(r.match || {}).length;
  function rule(r, i) {
    const out = h('output', { class: 'hint', for: idOf(`rules.${i}.name`) });
    const show = () => { const s = preview(r.name); out.textContent = s === null ? t('enp_unknown_var') : `${t('enp_preview')} ${s}`; };
    const move = (by) => { now.rules.splice(i + by, 0, ...now.rules.splice(i, 1)); errors.clear(); drawRules(); touched(); document.getElementById(`en-${by < 0 ? 'up' : 'down'}-${i + by}`)?.focus(); };
    const act = (id, text_, pic, off, go) => h('button', { type: 'button', class: 'btn icon quiet', id: `en-${id}-${i}`, 'aria-label': `${text_}: ${t('enp_rule', null, i + 1)}`, 'aria-disabled': off ? 'true' : null, onclick: () => off || go() }, icon(pic));
    const at = (k) => `rules.${i}.${k}`, dead = now.rules.slice(0, i).some(catchAll);
    show();
    return h('section', { class: 'panel', 'aria-label': t('enp_rule', null, i + 1), onkeydown: (e) => {
      const by = e.altKey && write ? { ArrowUp: -1, ArrowDown: 1 }[e.key] : 0;
      if (by && now.rules[i + by]) { e.preventDefault(); move(by); }
    } }, h('div', { class: 'bar' }, h('h3', { class: 'grow' }, t('enp_rule', null, i + 1), ' ', catchAll(r) && h('span', { class: 'chip' }, t('enp_all'))), write && h('div', { class: 'chips' },
      act('up', t('enp_up'), 'up', i === 0, () => move(-1)), act('down', t('enp_down'), 'down', i === now.rules.length - 1, () => move(1)),
      act('drop', t('remove'), 'trash', false, () => { now.rules.splice(i, 1); errors.clear(); drawRules(); touched(); document.getElementById('en-add').focus(); }))),
    dead && h('p', { class: 'alert warn' }, t('enp_never')),
    h('div', { class: 'cols' },
      h('div', {}, field(at('name'), t('enp_name'), text(r.name, (v) => { r.name = v; show(); }, { maxlength: 200, required: true, dir: 'auto' }), t('enp_name_hint')), out,
        field(at('folder'), t('enp_folder'), select(r.folder, [...folderOptions(folders.filter((f) => f.kind !== 'pending')), ...(folders.some((f) => f.id === r.folder) ? [] : [[r.folder, r.folder]])], (v) => { r.folder = v; }))),
      h('div', {}, Object.entries(criteria).map(([k, [group, all]]) => pick(r, i, k, all.map((v) => [v, word(group, v)])))),
      h('div', {}, field(at('match.model'), t('enp_model'), text(listed(r.match?.model), (v) => match(r, 'model', v.split(',').map((x) => x.trim()).filter(Boolean)), { maxlength: 500 }), t('enp_model_hint')),
        field(at('match.os_min'), t('enp_os_min'), text(r.match?.os_min || '', (v) => match(r, 'os_min', v.trim()), { maxlength: 20 })),
        pick(r, i, 'user_group', groups.map((g) => [g.id, g.name])), pick(r, i, 'user_folder', parts.map((f) => [f.id, f.name])))));
  }
  const rules = h('div');
  function drawRules() {
    const add = () => { now.rules.push({ match: {}, folder: ROOT, name: '${device.model} ${user.name}' }); drawRules(); touched(); document.getElementById(idOf(`rules.${now.rules.length - 1}.name`)).focus(); };
    const focus = rules.contains(document.activeElement) ? document.activeElement.id : null;
    fill(rules, !now.rules.some(catchAll) && h('p', { class: 'alert warn' }, t('enp_no_rest')), now.rules.map(rule), write && now.rules.length < RULES && h('button', { type: 'button', class: 'btn', id: 'en-add', onclick: add }, icon('plus'), t('enp_add')));
    if (focus) document.getElementById(focus)?.focus();
  }
  const platform = (k) => h('div', {}, tick(now.platforms, k, t(`enp_p_${k}`)), field(`min_os.${k}`, t(k === 'eas' ? 'enp_min_eas' : 'enp_min_os'), text(now.min_os[k], (v) => { now.min_os[k] = v.trim(); }, { maxlength: 20 })));
  function draw() {
    fill(box, h('div', { class: 'cols' },
      h('section', { class: 'panel' }, h('h2', {}, t('enp_who')), choice('ownership', ['choose', 'corporate', 'personal']), choice('level', ['choose', 'managed', 'email_only']),
        field('max_devices', label('max_devices'), h('input', { type: 'number', min: 0, max: 10000, value: String(now.max_devices), oninput: (e) => { now.max_devices = Math.trunc(Number(e.target.value)) || 0; touched(); } }), t('enp_max_devices_hint'))),
      h('section', { class: 'panel' }, h('h2', {}, label('platforms')), ['ios', 'android', 'eas'].map(platform)),
      h('section', { class: 'panel' }, h('h2', {}, t('enp_leave')), h('p', { class: 'hint' }, t('enp_unenroll_hint')), ['corporate', 'personal'].map((k) => choice(k, ['retire', 'delete', 'no'], now.unenroll, `unenroll.${k}`)),
        choice('reenroll', ['unretire', 'self', 'new']), tick(now, 'manual_reconcile', label('manual_reconcile'), t('enp_manual_reconcile_hint')))),
    h('h2', { class: 'spaced' }, label('rules')), h('p', { class: 'muted' }, t('enp_rules_hint')), rules);
    drawRules();
    touched();
  }
  async function send() {
    foot.querySelectorAll('button').forEach((b) => { b.disabled = true; });
    errors.clear();
    try {
      await save(Object.fromEntries(changed().map((k) => [k, now[k]])));
      drafts.delete(policy.id);
    } catch (e) {
      const [, at] = /^settings\.(.+)$/.exec(e.field || '') || [];
      if (at) errors.set(at, e.message);
      draw();
      if (!at) throw e;
      document.getElementById(idOf(at))?.focus();
    }
  }
  draw();
  return h('div', { class: 'enrolls' }, box, foot);
}
