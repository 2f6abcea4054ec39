// Dynamic groups of devices: made and edited with their criteria, found anew at once.
import { api } from './api.js';
import { h, fill, button, dialog, toast, say, name, number, time } from './ui.js';
import { folderOptions } from './tree.js';
import { builder } from './criteria.js';
import { t } from './words.js';

const fault = (field, message) => Object.assign(new Error(message), { field });

function baseField(base, folders, groups) {
  const kind = h('select', { id: 'f-base', 'aria-label': t('dyn_base'), onchange: () => draw() }, [['zone', t('whole_zone')], ['folder', t('folder')], ...(groups.length ? [['group', t('group')]] : [])].map(([v, l]) => h('option', { value: v, selected: v === base.kind }, l)));
  const which = h('select', { 'aria-label': t('dyn_base_which') });
  const draw = () => {
    which.hidden = kind.value === 'zone';
    fill(which, (kind.value === 'folder' ? folderOptions(folders) : groups.map((g) => [g.id, g.name])).map(([v, l]) => h('option', { value: v, selected: v === base.id }, l)));
  };
  draw();
  return { name: 'base', label: t('dyn_base'), type: 'own', input: kind, node: h('div', { class: 'condition' }, kind, which), hint: t('dyn_base_hint'), read: () => ({ kind: kind.value, ...(kind.value === 'zone' ? {} : { id: which.value }) }) };
}

// The criteria with what they find now.
function criteriaField(fields, start, base) {
  const found = h('div', { role: 'status' }), build = builder(fields, start, () => fill(found));
  const preview = async () => {
    try {
      const { data: p } = await api('POST', 'group-preview', { body: { criteria: build.read(), base: base.read() } });
      fill(found, h('p', { class: 'alert' }, t(p.complete ? 'dyn_matching' : 'dyn_matching_some', null, number(p.matching), number(p.looked_at)),
        p.devices.length ? h('span', { class: 'small' }, ' ', p.devices.slice(0, 10).flatMap((d, i) => [i ? ', ' : '', name(d.name)]), p.matching > 10 && ', …') : null));
    } catch (e) { fill(found, h('p', { class: 'alert bad' }, e.message)); }
  };
  return { name: 'criteria', label: t('dyn_criteria'), type: 'own', input: build.node, node: [build.node, h('div', { class: 'bar' }, button(t('dyn_preview'), 'search', preview)), found], read: build.read };
}
const placed = async (fn) => { try { await fn(); } catch (e) { throw e.field?.startsWith('criteria') ? fault('criteria', `${e.field.replace(/^criteria\.?/, '')}: ${e.message}`) : e.field?.startsWith('base') ? fault('base', e.message) : e; } };
const asked = () => Promise.all([api('GET', 'group-fields').then((r) => r.data.fields), api('GET', 'folders').then((r) => r.data.items), api('GET', 'groups?limit=200').then((r) => r.data.items)]);

// more: fields of every group; body(values): what is sent of them.
export async function add(more, body, again) {
  const [fields, folders, groups] = await asked(), base = baseField({ kind: 'zone' }, folders, groups);
  dialog({ title: t('dyn_add'), lead: t('dyn_lead'), submit: t('create'), fields: [...more, base, criteriaField(fields, null, base)],
    save: (v) => placed(async () => { await api('POST', 'groups', { body: { ...body(v), criteria: v.criteria, base: v.base } }); toast(t('saved')); again(); }) }).classList.add('wide');
}

export async function edit(g, again) {
  const [[fields, folders, groups], { data: now, etag }] = await Promise.all([asked(), api('GET', `groups/${g.id}/criteria`)]);
  const base = baseField(now.base, folders, groups.filter((x) => x.id !== g.id));
  dialog({ title: [t('dyn_criteria'), ': ', name(g.name)], lead: h('p', {}, t('dyn_refreshed'), ' ', time(now.refreshed_at), now.waiting && [' · ', t('dyn_waiting')]), submit: t('save'), fields: [base, criteriaField(fields, now.criteria, base)],
    save: (v) => placed(async () => { await api('PUT', `groups/${g.id}/criteria`, { body: v, match: etag }); toast(t('dyn_saved')); again(); }) }).classList.add('wide');
}

export async function update(g, again) {
  try { await api('POST', `groups/${g.id}/refresh`); toast(t('dyn_saved')); again(); } catch (e) { say(e); }
}

// How often all are refreshed; a panel for the page of schedules.
export async function period({ write, signal, again }) {
  const { data } = await api('GET', 'group-period', { signal });
  const change = () => dialog({ title: t('dyn_period'), submit: t('save'), fields: [{ name: 'minutes', label: t('dyn_minutes'), type: 'number', value: String(data.minutes), required: true, hint: t('dyn_period_hint') }],
    save: async (v) => { await api('PUT', 'group-period', { body: { minutes: Number(v.minutes) || 0 } }); toast(t('saved')); again(); } });
  return h('section', { class: 'panel', id: 'group-period' }, h('h2', {}, t('dyn_period')), h('p', {}, t('dyn_every', null, number(data.minutes))), write && h('div', { class: 'acts apart' }, button(t('sch_change'), 'edit', change)));
}
