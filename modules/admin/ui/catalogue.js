// The catalogue of policy settings, as the server has it: labels, choices, dependencies.
import { api } from './api.js';
import { lang, t } from './words.js';

let loaded;
export function catalogue() {
  loaded ||= api('GET', 'policies/catalogue').then(({ data }) => ({ ...data, by: new Map(data.settings.map((s) => [s.id, s])) }), (e) => { loaded = null; throw e; });
  return loaded;
}

export const label = (x) => x?.label?.[lang()] || x?.label?.en || x?.id || '';
export const help = (s) => s.help?.[lang()] || s.help?.en || '';
export const columns = ['corporate', 'personal'];
export const typeOf = (cat, id) => cat.types.find((x) => x.id === id);
const choice = (s, v) => s.choices?.find((c) => c.id === v);
export const group = (cat, id) => label(cat.groups.find((g) => g.id === id) || { id });

// A value in words. servers: of ActiveSync, for settings that name one.
export function valueText(cat, id, v, servers = []) {
  const s = cat.by.get(id);
  if (v === 'inherit' || v === undefined) return t('pol_inherit');
  if (v === null) return t('pol_not_set');
  if (typeof v === 'boolean') return t(v ? 'yes' : 'no');
  const c = s && choice(s, v);
  if (c) return c.group ? `${group(cat, c.group)}: ${label(c)}` : label(c);
  return s?.kind === 'server' ? servers.find((x) => x.id === v)?.name || String(v) : String(v);
}

// The setting that keeps this one from having a value, given the values of its column; undefined: none does.
export function parentOf(s, value) {
  return (s.depends || []).find((d) => { const v = value(d.setting); return v === 'inherit' ? !d.inherit : v !== d.value; });
}

// How channels carry it, in short: "iOS ≥ 13.0 · supervised".
const channels = { apple: 'iOS', eas: 'ActiveSync', android: 'Android' };
export function carriage(s) {
  return Object.entries(channels).flatMap(([ch, word]) => (s[ch] || []).filter((k, i, all) => all.findIndex((o) => o.key === k.key) === i).map((k) => [
    `${word}: ${k.key}`, k.since && t('pol_since', null, k.since), k.until && t('pol_until', null, k.until), k.deprecated && t('pol_deprecated', null, k.deprecated),
    k.supervised && (typeof k.supervised === 'string' ? t('pol_supervised_since', null, k.supervised) : t('pol_supervised')), ch === 'apple' && !k.user_enrollment && t('pol_no_ue'),
  ].filter(Boolean).join(' · ')));
}
