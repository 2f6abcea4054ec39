// Who gets which policy: the list and its dialogues, on the page of a policy and on those of people, groups, folders and devices.
import { api, query as toQuery } from './api.js';
import { h, fill, table, pager, icon, button, empty, dialog, toast, say, name, number, word } from './ui.js';
import { folderOptions } from './tree.js';
import { t } from './words.js';

export const MANY = 20; // more devices than these: their number is typed (UI-04)
const etag = (a) => `"${a.version}"`;
const fault = (field, message) => Object.assign(new Error(message), { field });
const rules = ['user_first', 'device_first', 'device_only', 'user_only'];

// Kinds of targets: right to look for them; side of the device; what finds them; where one of them is seen. Whoever is limited to folders assigns
// to these and their devices.
const kinds = {
  person: { right: 'person:read', find: (q) => page('people', q, (p) => [p.login, p.source]), to: (x) => `#/people${toQuery({ q: x.name })}` },
  user_group: { right: 'person:read', find: (q) => page('user-groups', q, (g) => [g.source.name, g.dn]) },
  user_folder: { right: 'person:read', find: (q) => page('user-folders', q, (f) => [f.source.name, f.dn]) },
  user_source: { right: 'source:read', find: (q) => here('sources', q), to: () => '#/sources' },
  folder: { right: 'device:read', device: true, limited: true, find: (q) => folders(q), to: (x) => `#/devices?folder=${x.id}` },
  device_group: { right: 'device:read', device: true, find: (q) => here('groups?limit=200', q), to: (x) => `#/devices?group=${x.id}` },
  device: { right: 'device:read', device: true, limited: true, find: (q) => page('devices', q, (d) => [d.person?.name, d.model, d.serial]), to: (x) => `#/device/${x.id}?tab=policies` },
};
const hit = (x, sub = []) => ({ id: x.id, name: x.name, sub: sub.filter(Boolean).join(' · ') });
const page = async (path, q, sub) => (await api('GET', `${path}${toQuery({ q, limit: 20 })}`)).data.items.map((x) => hit(x, sub(x)));
const fits = (q) => (x) => !q || x.name.toLowerCase().includes(q.toLowerCase());
const here = async (path, q) => (await api('GET', path)).data.items.filter(fits(q)).slice(0, 20).map((x) => hit(x));
async function folders(q) {
  const all = (await api('GET', 'folders')).data.items.filter((f) => f.kind !== 'pending');
  const up = (f) => { const p = all.find((x) => x.id === f.parent); return p ? [...up(p), p.name] : []; };
  return folderOptions(all).map(([id]) => all.find((f) => f.id === id)).filter(fits(q)).slice(0, 50).map((f) => hit(f, [up(f).join(' / ')]));
}

export const findPeople = kinds.person.find;
export const kindName = (kind) => t(`tgt_${kind}`, kind);
// An administrator with folders of his own does nothing to people and groups.
const mayAssign = (ctx, kind) => ctx.may('policy:write') && (!ctx.me.limited || kinds[kind]?.limited);
export const target = (x, may) => [h('span', { class: 'sub' }, kindName(x.kind)), x.name === null || x.name === '' ? h('span', { class: 'main muted' }, t('asg_gone'))
  : kinds[x.kind]?.to && may(kinds[x.kind].right) ? h('a', { class: 'main', href: kinds[x.kind].to(x) }, name(x.name)) : h('span', { class: 'main' }, name(x.name))];

// ---- finding: what is typed is looked for, what is clicked is chosen. most: how many; changed() after each choice.
export function finder({ id, label, most, changed, find }) {
  const chosen = new Map(), hits = h('ul', { class: 'hits' }), picked = h('ul', { class: 'picked', 'aria-label': t('asg_chosen') }), said = h('p', { class: 'hint', role: 'status' });
  const input = h('input', { type: 'search', id: `f-${id}`, autocomplete: 'off', maxlength: 100, 'aria-describedby': `f-${id}-say`,
    onkeydown: (e) => { if (e.key === 'Enter') { e.preventDefault(); look(); } }, oninput: () => { clearTimeout(timer); timer = setTimeout(look, 250); } });
  let timer, turn = 0, shown = [];
  const draw = () => {
    fill(hits, shown.map((x) => h('li', {}, h('button', { type: 'button', class: 'btn quiet', 'aria-pressed': String(chosen.has(x.id)), onclick: () => choose(x) },
      icon(chosen.has(x.id) ? 'ok' : 'plus'), h('span', {}, name(x.name), x.sub && h('span', { class: 'sub muted small' }, name(x.sub)))))));
    fill(picked, [...chosen.values()].map((x) => h('li', { class: 'chip' }, x.kind && h('span', { class: 'muted' }, kindName(x.kind)), name(x.name),
      h('button', { type: 'button', class: 'drop', 'aria-label': `${t('remove')}: ${x.name}`, onclick: () => choose(x) }, icon('cross')))));
  };
  const choose = (x) => {
    if (chosen.has(x.id)) chosen.delete(x.id);
    else { if (most === 1) chosen.clear(); if (chosen.size < most) chosen.set(x.id, x); }
    const at = [...hits.children].indexOf(document.activeElement?.closest('.hits > li'));
    draw();
    if (at >= 0) hits.children[at]?.querySelector('button').focus(); else if (!input.closest('dialog')?.contains(document.activeElement)) input.focus();
    changed();
  };
  async function look() {
    const mine = ++turn;
    clearTimeout(timer);
    try {
      const found = await find(input.value.trim());
      if (mine !== turn) return;
      shown = found;
      said.textContent = t(found.length ? 'asg_hits' : 'no_match', null, number(found.length));
      draw();
    } catch (e) { say(e); }
  }
  return { chosen, input, look, node: [h('label', { for: `f-${id}` }, label), input, said, hits, picked] };
}

// ---- how far it reaches
export const reachText = (seen) => t(seen.exact ? 'asg_reach' : seen.devices >= 100000 ? 'asg_reach_least' : 'asg_reach_most', null, number(seen.devices));
const preview = async (targets) => (await api('POST', 'assignments/preview', { body: { targets: targets.map(({ kind, id }) => ({ kind, id })) } })).data;
const typed = (seen) => (seen.devices > MANY ? [{ name: 'confirm', label: t('delete_many_type', null, seen.devices), required: true, max: 9, mode: 'numeric' }] : []);
const check = (seen, given, field = 'confirm') => { if (seen.devices > MANY && given.trim() !== String(seen.devices)) throw fault(field, t('delete_many_wrong')); };

const ruleField = (value) => ({ name: 'conflict', label: t('asg_rule'), type: 'radio', value, options: rules.map((r) => [r, [h('strong', {}, t(`rule_${r}`)), h('span', { class: 'sub muted small' }, t(`rule_${r}_sub`))]]) });

// The reach of what is chosen, and the number to be typed where it is large.
function reachField() {
  const text = h('p', { class: 'alert', role: 'status' }, t('asg_choose')), input = h('input', { id: 'f-reach', inputmode: 'numeric', autocomplete: 'off', maxlength: 9 });
  const ask = h('label', { for: 'f-reach' }), box = h('div', { hidden: true }, ask, input);
  let seen = null, turn = 0;
  return { field: { name: 'reach', label: t('asg_reach_label'), type: 'own', input, node: [text, box], read: () => {
    if (!seen) throw fault('reach', t('asg_choose'));
    check(seen, input.value, 'reach');
    return seen.devices;
  } }, look: async (targets) => {
    const mine = ++turn;
    seen = null;
    box.hidden = true;
    text.textContent = t(targets.length ? 'asg_counting' : 'asg_choose');
    if (!targets.length) return;
    try {
      const now = await preview(targets);
      if (mine !== turn) return;
      seen = now;
      text.textContent = reachText(now);
      box.hidden = now.devices <= MANY;
      input.value = '';
      ask.textContent = t('delete_many_type', null, now.devices);
    } catch (e) { if (mine === turn) text.textContent = e.message; }
  } };
}

// devices: how many they were when it was shown.
const post = (policy, targets, conflict, devices) => api('POST', 'assignments', { body: { policy, ...(devices > MANY ? { confirm: devices } : {}),
  targets: targets.map(({ kind, id }) => ({ kind, id, ...(kinds[kind].device ? { conflict } : {}) })) } });
// What a refusal is about: other devices by now, or one of the targets.
const about = (e, reach, name, targets) => { const at = /^targets\.(\d+)/.exec(e.field || ''); return e.field === 'confirm' ? fault(reach, t('task_changed')) : at ? fault(name, targets ? `${targets[Number(at[1])]?.name}: ${e.message}` : e.message) : e; };

// Gives one policy to targets.
function assign(policy, ctx) {
  const enrolls = policy.type === 'enrollment'; // is for people, and changes nothing about devices that are there
  const allowed = Object.keys(kinds).filter((k) => !(enrolls && kinds[k].device) && ctx.may(kinds[k].right) && mayAssign(ctx, k));
  const kind = h('select', { id: 'f-kind', onchange: () => { f.input.value = ''; f.look(); } }, allowed.map((k) => h('option', { value: k }, kindName(k))));
  const reach = reachField(), chosen = () => [...f.chosen.values()];
  const changed = () => { rule.hidden = !chosen().some((x) => kinds[x.kind].device); if (!enrolls) reach.look(chosen()); };
  const f = finder({ id: 'targets', label: t('search'), most: 200, changed, find: async (q) => { const k = kind.value; return (await kinds[k].find(q)).map((x) => ({ ...x, kind: k })); } });
  const box = dialog({ title: [t('asg_add'), ': ', name(policy.name)], submit: t('asg_add'), fields: [
    { name: 'targets', label: t('asg_to'), type: 'own', input: f.input, node: [h('div', { class: 'field' }, h('label', { for: 'f-kind' }, t('asg_kind')), kind), f.node], read: chosen },
    ruleField('user_first'), !enrolls && reach.field].filter(Boolean),
  save: async (v) => {
    try { await post(policy.id, v.targets, v.conflict, v.reach || 0); } catch (e) { throw about(e, 'reach', 'targets', v.targets); }
    toast(t('asg_done'));
    ctx.again();
  } });
  const rule = box.querySelector('input[name=conflict]').closest('fieldset');
  box.classList.add('wide');
  rule.hidden = true;
  f.look();
}

// Gives a policy to one target.
async function add(to, ctx) {
  const seen = await preview([to]);
  const f = finder({ id: 'policy', label: t('search'), most: 1, changed: () => {}, find: async (q) => (await api('GET', `policies${toQuery({ q, limit: 20 })}`)).data.items
    .filter((p) => p.type !== 'enrollment' || !kinds[to.kind].device).map((p) => hit(p, [word('pol_type', p.type), p.published ? t('pol_version_n', null, p.published) : t('s_sandbox')])) });
  dialog({ title: [t('asg_add_here'), ': ', name(to.name)], lead: reachText(seen), submit: t('asg_add'), fields: [
    { name: 'policy', label: t('asg_policy'), type: 'own', input: f.input, node: f.node, read: () => { if (!f.chosen.size) throw fault('policy', t('asg_choose_policy')); return [...f.chosen.keys()][0]; } },
    ...(kinds[to.kind].device ? [ruleField('user_first')] : []), ...typed(seen)],
  save: async (v) => {
    check(seen, v.confirm);
    try { await post(v.policy, [to], v.conflict, seen.devices); } catch (e) { throw about(e, v.confirm ? 'confirm' : 'policy', 'policy'); }
    toast(t('asg_done'));
    ctx.again();
  } });
  f.look();
}

const edit = (a, ctx) => dialog({ title: t('asg_edit'), lead: h('p', {}, name(a.policy.name), ' → ', name(a.target.name)), submit: t('save'), fields: [
  ...(kinds[a.target.kind].device ? [ruleField(a.conflict)] : []), { name: 'position', label: t('asg_position'), type: 'number', value: String(a.position), hint: t('asg_position_hint') }],
save: async (v) => {
  await api('PATCH', `assignments/${a.id}`, { body: { position: Number(v.position) || 0, ...(v.conflict ? { conflict: v.conflict } : {}) }, match: etag(a) });
  toast(t('saved'));
  ctx.again();
} });

async function remove(a, ctx) {
  const seen = a.type === 'enrollment' ? { devices: 0 } : await preview([a.target]);
  dialog({ title: t('asg_remove'), lead: [h('p', {}, name(a.policy.name), ' → ', name(a.target.name)), t('asg_remove_lead'), a.type !== 'enrollment' && reachText(seen)].filter(Boolean), submit: t('asg_remove'), danger: true, fields: typed(seen),
    save: async (v) => {
      check(seen, v.confirm);
      try { await api('DELETE', `assignments/${a.id}${toQuery({ confirm: seen.devices > MANY ? seen.devices : null })}`, { match: etag(a) }); } catch (e) { throw about(e, v.confirm ? 'confirm' : null); }
      toast(t('deleted'));
      ctx.again();
    } });
}

const acts = (a, ctx) => mayAssign(ctx, a.target.kind) && h('div', { class: 'acts' }, button(t('edit'), 'edit', () => edit(a, ctx)),
  button(t('asg_remove'), 'trash', () => remove(a, ctx).catch(say), 'danger'));
const rule = { label: t('asg_rule'), cell: (a) => (a.conflict ? t(`rule_${a.conflict}`) : '–') };
const place = { label: t('asg_position'), cell: (a) => number(a.position) };

// Where a policy is assigned. ctx: {may, me, again, signal}
export async function ofPolicy(policy, ctx) {
  const state = { items: [], next: null }, list = h('div');
  const load = async () => {
    const { data } = await api('GET', `assignments${toQuery({ policy: policy.id, cursor: state.next })}`, { signal: ctx.signal });
    state.items.push(...data.items);
    state.next = data.next;
    fill(list, state.items.length ? table([{ label: t('asg_to'), lead: true, cell: (a) => target(a.target, ctx.may) }, rule, place, { label: '', cell: (a) => acts(a, ctx) }], state.items)
      : empty(t('asg_none'), 'people'), pager(list, state, () => load().catch(say)));
  };
  await load();
  const write = ctx.may('policy:write');
  return [h('div', { class: 'bar' }, h('p', { class: 'grow muted' }, t('asg_lead')), write && button(t('asg_add'), 'plus', () => assign(policy, ctx), 'primary')), h('div', { class: 'panel flush' }, list)];
}

// What is assigned to a target itself: {kind, id, name}.
export async function ofTarget(to, ctx) {
  const { data: { items } } = await api('GET', `assignments${toQuery({ kind: to.kind, target: to.id })}`, { signal: ctx.signal });
  return [items.length ? table([
    { label: t('asg_policy'), lead: true, cell: (a) => [h('a', { class: 'main', href: `#/policy/${a.policy.id}` }, name(a.policy.name)), h('span', { class: 'sub' }, word('pol_type', a.type))] },
    ...(kinds[to.kind].device ? [rule] : []), place, { label: '', cell: (a) => acts(a, ctx) }], items) : h('p', { class: 'muted below' }, t('asg_none_here')),
  mayAssign(ctx, to.kind) && h('div', { class: 'acts inset' }, button(t('asg_add_here'), 'plus', () => add(to, ctx).catch(say), 'primary'))];
}

// The same as a dialogue; it opens anew after a change.
export async function shown(to, ctx) {
  try {
    const inside = { ...ctx, again: () => { ctx.again?.(); shown(to, ctx); } };
    const node = await ofTarget(to, inside);
    const box = dialog({ title: [t('policies'), ': ', name(to.name)], lead: t(to.kind === 'user_source' ? 'asg_of_source' : kinds[to.kind].device ? 'asg_of_device' : 'asg_of_person'), body: node });
    box.classList.add('wide');
    box.addEventListener('click', (e) => { if (e.target.closest('.acts .btn, a')) box.close(); }, true);
  } catch (e) { say(e); }
}
