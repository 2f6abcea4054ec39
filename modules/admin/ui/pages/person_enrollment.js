// Why somebody may enrol a device, or may not: the policy that counts, and the rule that would name the device (ENR-01, ENR-04).
import { api, query as toQuery } from '../api.js';
import { h, fill, icon, dialog, say, name, word } from '../ui.js';
import { kindName } from '../assign.js';
import { t } from '../words.js';

const chosen = ['platform', 'ownership', 'level'];
const values = { platform: ['plat', ['ios', 'android', 'windows', 'blackberry']], ownership: ['own', ['corporate', 'personal']], level: ['level', ['managed', 'email_only']] };
const title = { platform: 'platform', ownership: 'enp_own', level: 'enp_level', model: 'enp_model', os_version: 'os' };
const why = (m) => t('pe_missed', null, m.rule, m.why === 'person' ? t('pe_why_person') : t({ ...title, os_min: 'os' }[m.why], m.why));

function answer(e, may) {
  const p = e.policy;
  return [h('p', { class: `alert ${e.allowed ? '' : 'warn'}`, role: 'status' }, icon(e.allowed ? 'ok' : 'warn'), ' ', e.allowed ? t('pe_may') : [t('pe_may_not'), ' ', e.reason]),
    h('dl', { class: 'spaced' }, [
      [t('asg_policy'), p ? [may('policy:read') ? h('a', { href: `#/policy/${p.id}` }, name(p.name)) : name(p.name), h('span', { class: 'muted' }, ' ', t('pe_by'), ' ', kindName(p.target.kind), ' ', name(p.target.name))] : t('pe_none')],
      e.missed.length && [t('pe_passed'), e.missed.map((m) => h('div', {}, why(m)))],
      e.rule && [t('pe_rule'), t('enp_rule', null, e.rule)], e.name && [t('enp_name'), name(e.name)], e.folder && [t('enp_folder'), name(e.folder.name)],
    ].filter(Boolean).map(([k, v]) => [h('dt', {}, k), h('dd', {}, v)]))];
}

export function enrollment(person, { may }) {
  const out = h('div'), inputs = {};
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    try {
      const { data } = await api('GET', `people/${person.id}/enrollment${toQuery(Object.fromEntries(Object.entries(inputs).map(([k, el]) => [k, el.value.trim()])))}`);
      if (mine === asked) fill(out, answer(data, may)); // an earlier question may be answered later
    } catch (e) { say(e); }
  };
  const field = (key, control) => { inputs[key] = control; control.id = `pe-${key}`; return h('div', {}, h('label', { for: control.id }, t(title[key])), control); };
  const box = dialog({ title: [t('pe_title'), ': ', name(person.name)], lead: t('pe_lead'), body: [h('div', { class: 'bar' },
    chosen.map((k) => field(k, h('select', { onchange: look }, k !== 'platform' && h('option', { value: '' }, t('pe_fixed')), values[k][1].map((v) => h('option', { value: v }, word(values[k][0], v)))))),
    ['model', 'os_version'].map((k) => field(k, h('input', { type: 'text', maxlength: 200, autocomplete: 'off', onchange: look, onkeydown: (e) => { if (e.key === 'Enter') { e.preventDefault(); look(); } } })))), out] });
  box.classList.add('wide');
  box.addEventListener('click', (e) => { if (e.target.closest('a')) box.close(); });
  look();
}
