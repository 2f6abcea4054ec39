// The editor of a policy's settings: a row per setting, a column for corporate and one for personal devices. What was changed stays here until it is saved.
import { h, fill, icon, button, name, word } from './ui.js';
import { carriage, columns, group, help, label, parentOf, typeOf, valueText } from './catalogue.js';
import { t } from './words.js';

const drafts = new Map(); // of policies that were left with changes

const same = (a, b) => a === b;
const encode = (v) => (v === 'inherit' ? 'i' : v === null ? 'n' : `v${JSON.stringify(v)}`);
const decode = (s) => (s === 'i' ? 'inherit' : s === 'n' ? null : JSON.parse(s.slice(1)));

// policy, version (settings and presets), cat: the catalogue; servers: of ActiveSync; inherited: {id: {column: {value, policy}}}; write: may be changed;
// save(changes): sends them, throws a Problem that names a row. Returns the element.
export function editor({ policy, version, cat, servers, inherited = {}, write, save }) {
  const changes = write ? drafts.get(policy.id) || {} : {};
  if (write) drafts.set(policy.id, changes);
  const rows = cat.settings.filter((s) => s.type === policy.type);
  const platforms = typeOf(cat, policy.type)?.platforms || [];
  const view = { platform: platforms[0]?.id ?? '', q: '', differs: false };
  const errors = new Map();
  const list = h('div'), foot = h('div', { class: 'savebar', hidden: true, role: 'region', 'aria-label': t('pol_unsaved') });

  const stored = (id, col) => { const v = version.settings[id]?.[col]; return v === undefined ? 'inherit' : v; };
  const preset = (id, col) => { const v = version.presets?.[id]?.[col]; return v === undefined ? 'inherit' : v; };
  const value = (id, col) => (changes[id] && col in changes[id] ? changes[id][col] : stored(id, col));
  const differs = (s) => columns.some((col) => !same(value(s.id, col), preset(s.id, col)));
  const count = () => Object.values(changes).reduce((n, row) => n + Object.keys(row).length, 0);

  function set(id, col, v) {
    errors.delete(`${id}.${col}`);
    if (same(v, stored(id, col))) {
      if (changes[id]) delete changes[id][col];
      if (changes[id] && !Object.keys(changes[id]).length) delete changes[id];
    } else (changes[id] ||= {})[col] = v;
    setTimeout(draw); // a field that is left by Tab says so before the focus has moved on
  }

  // What a select offers besides "inherit" and "not set"; ratings of the region that is chosen in this column.
  function choices(s, col, now) {
    if (s.kind === 'bool') return [[true, t('yes')], [false, t('no')]];
    if (s.kind === 'server') return servers.map((x) => [x.id, x.name]);
    const region = s.choices.some((c) => c.group) ? value(s.id.replace(/[^.]*$/, 'rating_region'), col) : null;
    const known = cat.groups.some((g) => g.id === region);
    return s.choices.filter((c) => !c.group || !known || c.group === region || c.id === now).map((c) => [c.id, c.group && !known ? `${group(cat, c.group)}: ${label(c)}` : label(c)]);
  }

  function control(s, col) {
    const v = value(s.id, col), key = `${s.id}.${col}`, title = `${label(s)}: ${word('own', col)}`, parent = parentOf(s, (id) => value(id, col));
    const off = !write || (parent && v !== false && v !== null), free = s.kind === 'int' || s.kind === 'text';
    const shown = v === 'inherit' || v === null ? v : free ? 'value' : v;
    const options = [['inherit', t('pol_inherit')], [null, t('pol_not_set')], ...(free ? [['value', t('pol_value')]] : choices(s, col, v))];
    const typed = free && shown === 'value' && h('input', { id: `in-${key}`, type: s.kind === 'int' ? 'number' : 'text', value: String(v), disabled: off, 'aria-label': title,
      min: s.kind === 'int' ? s.range?.[0] : null, max: s.kind === 'int' ? s.range?.[1] : null, maxlength: s.kind === 'text' ? s.range?.[1] : null,
      onchange: (e) => set(s.id, col, s.kind === 'int' && e.target.value.trim() !== '' && Number.isFinite(Number(e.target.value)) ? Number(e.target.value) : e.target.value) });
    const box = h('select', { id: `sel-${key}`, 'aria-label': title, disabled: off, 'aria-invalid': errors.has(key) ? 'true' : null, onchange: (e) => {
      const next = decode(e.target.value);
      set(s.id, col, next === 'value' ? (s.kind === 'int' ? s.range?.[0] ?? 0 : t('pol_new_text')) : next);
    } }, options.map(([o, text]) => h('option', { value: encode(o), selected: same(o, shown) }, text)));
    const from = v === 'inherit' && inherited[s.id]?.[col];
    return h('div', { class: 'cell' }, box, typed,
      parent && v !== false && v !== null && h('span', { class: 'sub' }, t('pol_needs', null, label(cat.by.get(parent.setting)), valueText(cat, parent.setting, parent.value, servers))),
      from && h('span', { class: 'sub' }, from.places ? t('pol_places') : [t('pol_would_be', null, valueText(cat, s.id, from.value, servers)), ' (', name(from.policy.name), ')']),
      !same(v, preset(s.id, col)) && h('span', { class: 'sub off' }, t('pol_preset', null, valueText(cat, s.id, preset(s.id, col), servers))),
      errors.has(key) && h('p', { class: 'err', role: 'alert' }, errors.get(key)));
  }

  const row = (s) => h('tr', { class: changes[s.id] ? 'sel' : null }, h('td', { class: 'lead' }, h('span', { class: 'main' }, label(s)), h('span', { class: 'sub' }, help(s)),
    h('details', { class: 'carriage' }, h('summary', {}, t('pol_where')), h('ul', {}, (carriage(s).length ? carriage(s) : [t('pol_nowhere')]).map((x) => h('li', {}, x))))),
  columns.map((col) => h('td', { class: 'set', 'data-label': word('own', col) }, control(s, col))));

  function draw() {
    const focus = list.contains(document.activeElement) ? document.activeElement.id : null;
    const found = rows.filter((s) => (s.platform || '') === view.platform && (!view.differs || differs(s))
      && (!view.q || `${label(s)} ${help(s)} ${s.id}`.toLowerCase().includes(view.q)));
    const tabs = platforms.find((p) => p.id === view.platform)?.tabs || [];
    fill(list, found.length ? tabs.map((tab) => [tab, found.filter((s) => s.tab === tab.id)]).filter(([, all]) => all.length).map(([tab, all]) => h('section', { class: 'panel flush' },
      h('h2', { class: 'inset' }, label(tab)), h('table', { class: 'stack editor', 'aria-label': label(tab) },
        h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('pol_setting')), columns.map((col) => h('th', { scope: 'col' }, word('own', col))))), h('tbody', {}, all.map(row)))))
      : h('p', { class: 'muted' }, t('no_match')));
    const n = count();
    foot.hidden = !n;
    fill(foot, h('strong', {}, t('pol_changes', null, n)), button(t('pol_discard'), null, () => { Object.keys(changes).forEach((k) => delete changes[k]); errors.clear(); draw(); }, 'quiet'),
      button(t('pol_save'), 'ok', send, 'primary'));
    if (focus) document.getElementById(focus)?.focus();
  }

  // A child that its parent forbids now says nothing of its own.
  function sent() {
    const out = structuredClone(changes);
    for (const s of rows) {
      for (const col of columns) {
        const v = value(s.id, col);
        if (v !== 'inherit' && v !== null && v !== false && parentOf(s, (id) => value(id, col))) (out[s.id] ||= {})[col] = 'inherit';
      }
    }
    return out;
  }
  async function send() {
    foot.querySelectorAll('button').forEach((b) => { b.disabled = true; });
    try {
      await save(sent());
      drafts.delete(policy.id);
    } catch (e) {
      const [, at] = /^settings\.(.+)$/.exec(e.field || '') || [];
      if (!at) { draw(); throw e; }
      errors.set(at, e.message);
      const s = rows.find((x) => at.startsWith(`${x.id}.`));
      if (s) Object.assign(view, { platform: s.platform || '', q: '', differs: false });
      draw();
      document.getElementById(`sel-${at}`)?.focus();
    }
  }

  const platformPick = platforms.length > 1 && h('div', { class: 'segments', role: 'group', 'aria-label': t('platform') }, platforms.map((p) => h('button', { type: 'button', class: 'btn', 'aria-pressed': String(p.id === view.platform),
    onclick: (e) => { view.platform = p.id; for (const b of e.currentTarget.parentNode.children) b.setAttribute('aria-pressed', String(b === e.currentTarget)); draw(); } }, label(p))));
  const search = h('input', { id: 'set-q', type: 'search', placeholder: t('pol_search'), autocomplete: 'off', oninput: (e) => { view.q = e.target.value.trim().toLowerCase(); draw(); } });
  draw();
  return h('div', {}, h('div', { class: 'bar' }, platformPick, h('div', { class: 'grow' }, h('label', { for: 'set-q' }, t('search')), h('div', { class: 'search' }, icon('search'), search)),
    h('label', { class: 'check' }, h('input', { id: 'set-differs', type: 'checkbox', onchange: (e) => { view.differs = e.target.checked; draw(); } }), t('pol_differs'))), list, foot);
}
