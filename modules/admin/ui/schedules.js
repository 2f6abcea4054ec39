// When devices are asked for their information, and when silent ones count as lost: what holds, and the dialogue that sets it.
import { api } from './api.js';
import { h, button, dialog, toast, say, name, time } from './ui.js';
import { t, lang } from './words.js';

const DAY = 1440;
const unit = (n, u) => new Intl.NumberFormat(lang(), { style: 'unit', unit: u, unitDisplay: 'long' }).format(n);
const duration = (m) => [[Math.floor(m / DAY), 'day'], [Math.floor((m % DAY) / 60), 'hour'], [m % 60, 'minute']].filter(([n]) => n).map(([n, u]) => unit(n, u)).join(', ');
export const refreshText = (r) => (r.mode === 'manual' ? t('sch_manual') : t('sch_every', null, duration(r.minutes)));
export const lostText = (l) => (l.days ? t('sch_lost_after', null, unit(l.days, 'day')) : t('sch_lost_never'));
const origin = (from) => h('span', { class: 'sub muted' }, t(`sch_from_${from.scope}`), from.scope === 'folder' && [' ', name(from.name)]);

// One of several ways, some with numbers: [[value, label, controls]].
function ways(key, label, all, now) {
  const radios = all.map(([v]) => h('input', { type: 'radio', name: `${key}-way`, value: v, checked: v === now, id: v === now ? `f-${key}` : null }));
  const node = all.map(([v, text, controls], i) => {
    for (const c of controls || []) for (const what of ['focus', 'input']) c.querySelector('input').addEventListener(what, () => { radios[i].checked = true; });
    return h('div', { class: 'choice' }, h('label', {}, radios[i], h('span', {}, text)), controls);
  });
  return { name: key, label, type: 'own', node, input: radios.find((r) => r.checked), value: () => radios.find((r) => r.checked).value };
}
const amount = (label, value, most) => h('label', { class: 'amount' }, h('input', { type: 'number', class: 'short', min: 0, max: most, step: 1, value: String(value) }), h('span', {}, label));
const read = (c) => Math.trunc(Number(c.querySelector('input').value)) || 0;

function refreshField(own, device, zone) {
  const m = own?.minutes || 0, parts = [amount(t('sch_days'), Math.floor(m / DAY), 366), amount(t('sch_hours'), Math.floor((m % DAY) / 60), 23), amount(t('sch_minutes'), m % 60, 59)];
  const f = ways('refresh', t('sch_refresh'), [['above', t(zone ? 'sch_default' : device ? 'sch_as_folder' : 'sch_as_above')], ['timed', t('sch_timed'), parts], ['manual', t('sch_manual')]], own ? own.mode : 'above');
  return { ...f, hint: t('sch_refresh_hint'), read: () => {
    const way = f.value(), [d, hours, minutes] = parts.map(read);
    return way === 'above' ? null : way === 'manual' ? { mode: way } : { mode: way, minutes: d * DAY + hours * 60 + minutes };
  } };
}

function lostField(own, zone) {
  const days = amount(t('sch_days'), own?.days || 30, 3660);
  const f = ways('lost', t('sch_lost'), [...(zone ? [] : [['above', t('sch_as_above')]]), ['days', t('sch_after'), [days]], ['never', t('sch_lost_never')]], own ? (own.days ? 'days' : 'never') : zone ? 'never' : 'above');
  return { ...f, hint: t('sch_lost_hint'), read: () => { const way = f.value(); return way === 'above' ? null : { days: way === 'never' ? 0 : read(days) }; } };
}

// at: {path, title, device, zone, again}. Only what was changed is sent: the devices concerned are spread anew.
export async function edit(at) {
  try {
    const { data: s, etag } = await api('GET', at.path);
    dialog({ title: at.zone ? t('schedule') : [t('schedule'), ': ', name(at.title)], submit: t('save'), lead: at.zone ? null : [h('p', {}, t('sch_now'), ' ', refreshText(s.effective.refresh), ' · ', origin(s.effective.refresh_from))],
      fields: [refreshField(s.refresh, at.device, at.zone), ...(at.device ? [] : [lostField(s.lost, at.zone)])],
      save: async (v) => {
        const changed = Object.fromEntries(Object.entries(v).filter(([k, x]) => JSON.stringify(x) !== JSON.stringify(s[k])));
        if (v.lost?.days === 0 && at.zone && !s.lost) delete changed.lost;
        try {
          if (Object.keys(changed).length) await api('PUT', at.path, { body: changed, match: at.zone ? undefined : etag });
        } catch (e) { throw e.field ? Object.assign(e, { field: e.field.split('.')[0] }) : e; }
        toast(t('saved'));
        at.again();
      } });
  } catch (e) { say(e); }
}

// A panel with what holds, where it was set, and what changes it.
export async function summary(at) {
  const { data: s } = await api('GET', at.path, { signal: at.signal }), e = s.effective;
  const rows = [[t('sch_refresh'), [refreshText(e.refresh), origin(e.refresh_from)]], at.device && [t('sch_next'), time(s.next_at)], [t('sch_lost'), [lostText(e.lost), origin(e.lost_from)]]];
  return h('section', { class: 'panel' }, h('h2', {}, t(at.zone ? 'whole_zone' : 'schedule')), h('dl', {}, rows.filter(Boolean).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)])),
    at.write && h('div', { class: 'acts apart' }, button(t('sch_change'), 'edit', () => edit(at))));
}
