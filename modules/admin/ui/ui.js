// Building blocks. Text always goes in as text nodes: nothing that a device or a person sent is ever read as markup.
import { t, lang } from './words.js';

export function h(tag, attrs, ...kids) {
  const el = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (v === false || v === null || v === undefined) continue;
    if (k.startsWith('on')) el.addEventListener(k.slice(2), v);
    else if (k === 'value' || k === 'checked' || k === 'disabled' || k === 'selected') el[k] = v;
    else el.setAttribute(k, v === true ? '' : v);
  }
  add(el, kids);
  return el;
}
function add(el, kids) {
  for (const k of kids.flat(9)) if (k !== null && k !== undefined && k !== false) el.append(k);
}
export function fill(el, ...kids) { el.replaceChildren(); add(el, kids); return el; }

const paths = {
  home: 'M4 11l8-7 8 7M6 10v10h12V10M10 20v-6h4v6', devices: 'M7 3h10a1 1 0 011 1v16a1 1 0 01-1 1H7a1 1 0 01-1-1V4a1 1 0 011-1zM11 18h2',
  people: 'M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM3 20c0-3.3 2.7-5.5 6-5.5s6 2.2 6 5.5M16 4.5a3.3 3.3 0 010 6.3M18 14.8c1.9.8 3 2.6 3 5.2',
  pending: 'M12 3a9 9 0 100 18 9 9 0 000-18zM12 7v5l3.5 2', audit: 'M6 3h9l4 4v14H6zM14 3v5h5M9 13h7M9 17h5',
  jobs: 'M12 8.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7zM12 2.5v3M12 18.5v3M2.5 12h3M18.5 12h3M5.3 5.3l2.1 2.1M16.6 16.6l2.1 2.1M5.3 18.7l2.1-2.1M16.6 7.4l2.1-2.1',
  nodes: 'M4 4h16v6H4zM4 14h16v6H4zM7.5 7h.01M7.5 17h.01', me: 'M12 12a4 4 0 100-8 4 4 0 000 8zM4.5 20.5c0-3.7 3.4-6 7.5-6s7.5 2.3 7.5 6',
  out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9', menu: 'M4 7h16M4 12h16M4 17h16', search: 'M11 4a7 7 0 100 14 7 7 0 000-14zM16 16l4.5 4.5',
  ok: 'M5 12.5l4.5 4.5L19 7.5', bad: 'M12 8v5M12 16.5h.01M12 3a9 9 0 100 18 9 9 0 000-18z', wait: 'M12 7v5l3 2M12 3a9 9 0 100 18 9 9 0 000-18z',
  off: 'M5 5l14 14M12 3a9 9 0 100 18 9 9 0 000-18z', refresh: 'M20 11a8 8 0 10-.9 5M20 5v6h-6', edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4', exit: 'M9 4H5v16h4M13 8l4 4-4 4M17 12H9',
  csv: 'M12 4v11M8 11l4 4 4-4M5 20h14', cols: 'M4 5h16v14H4zM10 5v14M15 5v14', left: 'M14 6l-6 6 6 6', up: 'M6 14l6-6 6 6', down: 'M6 10l6 6 6-6',
  plus: 'M12 5v14M5 12h14', warn: 'M12 4l9 16H3zM12 10v4M12 17h.01', trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13', copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  qr: 'M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h2v2h-2zM18 18h2v2h-2zM18 14h2M14 18v2', key: 'M8 12a4 4 0 100 8 4 4 0 000-8zM11 13l9-9M16 8l3 3',
  mail: 'M3 6h18v12H3zM3 7l9 6 9-6', cross: 'M7 7l10 10M17 7L7 17',
  task: 'M13 3L5 14h6l-1 7 8-11h-6z', calendar: 'M4 6h16v14H4zM4 10h16M8 3v5M16 3v5',
  shield: 'M12 3l8 3v6c0 4.5-3.2 7.6-8 9-4.8-1.4-8-4.5-8-9V6zM8.5 12l2.5 2.5 4.5-4.5', right: 'M10 6l6 6-6 6',
  bell: 'M6 17h12l-1.5-2.5V10a4.5 4.5 0 00-9 0v4.5zM10.5 20h3',
  id: 'M3 6h18v12H3zM8.5 10.5a1.8 1.8 0 100 3.6 1.8 1.8 0 000-3.6zM13.5 10.5h4M13.5 14h4', folder: 'M3 7a1 1 0 011-1h5l2 2h9a1 1 0 011 1v9a1 1 0 01-1 1H4a1 1 0 01-1-1z',
  box: 'M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8', question: 'M9.5 9a2.5 2.5 0 115 0c0 1.7-2.5 2-2.5 4M12 16.5h.01M12 3a9 9 0 100 18 9 9 0 000-18z',
};
export function icon(name) {
  const ns = 'http://www.w3.org/2000/svg', svg = document.createElementNS(ns, 'svg'), p = document.createElementNS(ns, 'path');
  svg.setAttribute('viewBox', '0 0 24 24'); svg.setAttribute('class', 'i'); svg.setAttribute('aria-hidden', 'true');
  p.setAttribute('d', paths[name] || paths.question); svg.append(p);
  return svg;
}

// A foreign name keeps its direction to itself.
// Without isolate controls of its own: one that is left open, or closes too much, would end the bdi's isolation, and turn round what follows.
export const name = (s) => h('bdi', {}, typeof s === 'string' ? s.replace(/[\u2066-\u2069]/g, '') : s);

const fmt = (o) => new Intl.DateTimeFormat(lang(), o);
export function time(iso) {
  if (!iso) return h('span', { class: 'muted' }, '–');
  const d = new Date(iso), ago = (Date.now() - d) / 1000, rel = new Intl.RelativeTimeFormat(lang(), { numeric: 'auto' });
  const text = ago < -60 ? fmt({ dateStyle: 'medium', timeStyle: 'short' }).format(d)
    : ago < 60 ? t('just_now') : ago < 3600 ? rel.format(-Math.round(ago / 60), 'minute')
      : ago < 86400 ? rel.format(-Math.round(ago / 3600), 'hour') : fmt({ dateStyle: 'medium', timeStyle: 'short' }).format(d);
  return h('time', { datetime: iso, title: `${d.toLocaleString(lang())} · ${iso.replace('T', ' ').replace(/\.\d+Z$|Z$/, ' UTC')}` }, text);
}
export const number = (n) => new Intl.NumberFormat(lang()).format(n);

const kinds = {
  pending: ['warn', 'wait'], active: ['good', 'ok'], wipe_pending: ['bad', 'warn'], retired: ['', 'off'], blocked: ['bad', 'bad'], removed: ['', 'exit'],
  created: ['', 'wait'], opened: ['warn', 'wait'], profile: ['warn', 'wait'], issued: ['warn', 'wait'], authenticated: ['warn', 'wait'],
  completed: ['good', 'ok'], expired: ['', 'off'], cancelled: ['', 'off'], locked: ['bad', 'bad'],
  queued: ['warn', 'wait'], sent: ['warn', 'wait'], notnow: ['warn', 'wait'], acknowledged: ['good', 'ok'], error: ['bad', 'bad'], format_error: ['bad', 'bad'], superseded: ['', 'off'],
  waiting: ['warn', 'wait'], running: ['warn', 'refresh'], done: ['good', 'ok'], failed: ['bad', 'bad'], refused: ['bad', 'off'],
  mail_sent: ['good', 'ok'], enabled: ['good', 'ok'], disabled: ['', 'off'], preparing: ['warn', 'wait'], cancelling: ['warn', 'wait'],
  initiated: ['', 'wait'], notified: ['warn', 'bell'], delivered: ['warn', 'devices'], succeeded: ['good', 'ok'], not_applicable: ['', 'off'],
  online: ['good', 'ok'], offline: ['bad', 'bad'], lost: ['bad', 'question'], test: ['', 'box'],
  del_pending: ['warn', 'wait'], del_sent: ['warn', 'wait'], del_applied: ['good', 'ok'], del_failed: ['bad', 'bad'], del_not_applicable: ['', 'off'],
  otp_used: ['', 'ok'], otp_expired: ['', 'off'], otp_locked: ['bad', 'bad'],
  checking: ['warn', 'refresh'], checked: ['good', 'ok'], row_good: ['good', 'ok'], row_warning: ['warn', 'warn'], row_bad: ['bad', 'bad'], row_waiting: ['', 'wait'],
  sandbox: ['warn', 'box'], unpublished: ['', 'off'], republish: ['warn', 'warn'],
};
export function chip(state) {
  const [cls, pic] = kinds[state] || ['', 'question'];
  return h('span', { class: `chip ${cls}` }, icon(pic), t(`s_${state}`, state));
}
// What the maker calls the system: a tablet's has a name of its own.
export const system = (d) => [d.platform === 'ios' ? (/^iPad/.test(d.product || d.model || '') ? 'iPadOS' : 'iOS') : t(`plat_${d.platform}`), d.os_version].filter(Boolean).join(' ');
export const word = (group, value) => t(`${group}_${value}`, value);

// What the server says to administrators: in the reader's language if it is a word of ours ({word, values}), else the text as it stands.
export const said = (s, text) => (s ? t(s.word, text, ...s.values.map((v) => t(`pol_type_${v}`, v))) : text);

// A file's bytes, as the API takes them.
// "model=,build!" of the matcher in words: what is the same, and what is not.
export function compared(why) {
  const part = (sign) => why.split(',').filter((x) => x.endsWith(sign)).map((x) => t(`cmp_${x.slice(0, -1)}`)).join(', ');
  return [part('=') && t('cmp_same', null, part('=')), part('!') && t('cmp_differs', null, part('!'))].filter(Boolean).join('; ') || t('cmp_nothing');
}

export async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  return btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join(''));
}

export function button(label, pic, onclick, cls = '') {
  return h('button', { type: 'button', class: `btn ${cls}`, onclick }, pic && icon(pic), label);
}

export function toast(text, bad) {
  const el = h('div', { class: `toast ${bad ? 'bad' : ''}`, role: bad ? 'alert' : null }, text);
  document.getElementById('toasts').append(el);
  setTimeout(() => el.remove(), bad ? 8000 : 4000);
}
export const say = (e) => { if (e.name !== 'AbortError' && e.status !== 401) toast(e.message || t('failed'), true); };

export function head(title, ...acts) {
  document.title = `${title} · mod_mdm`;
  return h('div', { class: 'head' }, h('h1', {}, title), acts.length ? h('div', { class: 'acts' }, acts) : null);
}
// A list as a file.
export const csvLink = (href, file) => h('a', { class: 'btn', href, download: `${file}.csv` }, icon('csv'), t('csv'));
export const empty = (text, pic = 'box', act = null) => h('div', { class: 'empty' }, icon(pic), h('p', {}, text), act);

// columns: {key, label, cell(row) -> node, lead, sort, tight: one line, fair: room for a long word}
export function table(columns, rows, { sort, onsort, pick, picked } = {}) {
  const mark = (c) => (sort === c.sort ? 'ascending' : sort === `-${c.sort}` ? 'descending' : null);
  const th = (c) => h('th', { scope: 'col', 'aria-sort': c.sort ? mark(c) : null }, c.sort
    ? h('button', { type: 'button', onclick: () => onsort(mark(c) === 'ascending' ? `-${c.sort}` : c.sort) }, c.label,
      mark(c) ? icon(mark(c) === 'ascending' ? 'up' : 'down') : null)
    : c.label || h('span', { class: 'sr' }, t('actions')));
  const all = pick && h('input', { type: 'checkbox', 'aria-label': t('select_all'), checked: rows.length > 0 && rows.every((r) => picked.has(r.id)),
    onchange: (e) => { rows.forEach((r) => (e.target.checked ? picked.add(r.id) : picked.delete(r.id))); pick(); } });
  return h('div', { class: 'scroll' }, h('table', { class: 'stack' },
    h('thead', {}, h('tr', {}, pick && h('th', { scope: 'col' }, all), columns.map(th))),
    h('tbody', {}, rows.map((r) => h('tr', { class: picked?.has(r.id) ? 'sel' : null },
      pick && h('td', { class: 'pickcell' }, h('input', { type: 'checkbox', 'aria-label': `${t('select')}: ${r.name}`, checked: picked.has(r.id),
        onchange: (e) => { if (e.target.checked) picked.add(r.id); else picked.delete(r.id); pick(); } })),
      columns.map((c) => h('td', { class: `${c.lead ? 'lead' : ''} ${c.tight ? 'tight' : ''} ${c.fair ? 'fair' : ''}`, 'data-label': c.lead ? null : c.label || null }, c.cell(r))))))));
}

// all: [[key, label]]; open(key) goes there. The panel it steers has the id "panel".
export function tabbar(all, now, open) {
  const bar = h('div', { class: 'tabs', role: 'tablist', onkeydown: (e) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key], keys = [...bar.children];
    if (step) keys[(keys.indexOf(document.activeElement) + step + keys.length) % keys.length].focus();
  } }, all.map(([key, label]) => h('button', { type: 'button', role: 'tab', id: `tab-${key}`, 'data-tab': key, 'aria-selected': String(key === now), 'aria-controls': 'panel', tabindex: key === now ? '0' : '-1', onclick: () => open(key) }, label)));
  return bar;
}

// A list that grows by "more".
export function pager(box, state, load) {
  if (state.items.length === 0) return null;
  const next = state.next && button(t('more'), 'down', load);
  return h('div', { class: 'more' }, h('span', {}, t('shown', null, number(state.items.length)) + (state.next ? ` ${t('there_is_more')}` : '')), next);
}

// What was said of a failure or a result, in one line.
const line = (s) => s && h('div', { class: 'muted small' }, h('bdi', {}, s));
export const detail = (o) => line(Object.entries(o || {}).map(([k, v]) => `${k}: ${typeof v === 'object' ? JSON.stringify(v) : v}`).join(' · '));
// What a device answered to a command.
export const answer = (c) => [c.error && (c.error.reason ? detail(c.error) : line((c.error.chain || []).map((x) => `${x.text} (${x.domain} ${x.code})`).join(', '))), c.result && detail(c.result)];

// Type "own": a control that its caller makes: node, input (what is at fault in trouble), read() its value.
// fields: {name, label, type, value, options, required, hint}. save(values) may throw a Problem that names a field.
// stay: what was sent is not the end, the dialog remains.
export function dialog({ title, lead, fields = [], submit, danger, save, body, stay }) {
  const inputs = {};
  const one = (f) => {
    const id = `f-${f.name}`;
    const common = { id, name: f.name, required: f.required, maxlength: f.max, 'aria-describedby': `${id}-say` };
    if (f.type === 'check') {
      inputs[f.name] = h('input', { ...common, type: 'checkbox', checked: !!f.value });
      return h('div', { class: 'field' }, h('label', { class: 'check', for: id }, inputs[f.name], f.label), h('div', { id: `${id}-say` }));
    }
    if (f.type === 'radio') {
      const all = f.options.map(([v, l]) => h('label', { class: 'choice' }, h('input', { type: 'radio', name: f.name, value: v, checked: v === f.value }), h('span', {}, l)));
      inputs[f.name] = h('fieldset', {}, h('legend', {}, f.label), all, h('div', { id: `${id}-say` }));
      return inputs[f.name];
    }
    if (f.type === 'own') {
      inputs[f.name] = f.input;
      return h('fieldset', {}, h('legend', {}, f.label), f.node, f.hint && h('p', { class: 'hint' }, f.hint), h('div', { id: `${id}-say` }));
    }
    if (f.type === 'checks') {
      const boxes = f.options.map(([v, l]) => h('label', { class: 'check' }, h('input', { type: 'checkbox', value: v, checked: f.value.has(v) }), l));
      inputs[f.name] = h('fieldset', {}, h('legend', {}, f.label), boxes, f.hint && h('p', { class: 'hint' }, f.hint), h('div', { id: `${id}-say` }));
      return inputs[f.name];
    }
    inputs[f.name] = f.type === 'select'
      ? h('select', common, f.options.map(([v, l]) => h('option', { value: v, selected: v === f.value }, l)))
      : f.type === 'area' ? h('textarea', { ...common, value: f.value || '' })
        : h('input', { ...common, type: f.type || 'text', value: f.value || '', inputmode: f.mode, autocomplete: f.auto || 'off' });
    return h('div', { class: 'field' }, h('label', { for: id }, f.label), inputs[f.name],
      f.hint && h('p', { class: 'hint' }, f.hint), h('div', { id: `${id}-say` }));
  };
  const trouble = h('div', { 'aria-live': 'assertive' });
  const go = submit && h('button', { type: 'submit', class: `btn ${danger ? 'danger solid' : 'primary'}` }, submit);
  const box = h('dialog', { 'aria-labelledby': 'dialog-title' });
  const form = h('form', { novalidate: false }, h('h2', { id: 'dialog-title' }, title), lead && [lead].flat().map((p) => (p.nodeType ? p : h('p', {}, p))), body,
    fields.map(one), trouble, h('div', { class: 'foot' }, h('button', { type: 'button', class: 'btn', onclick: () => box.close() }, submit && !stay ? t('cancel') : t('close')), go));
  form.addEventListener('submit', async (e) => {
    e.preventDefault();
    fill(trouble);
    for (const f of fields) { fill(document.getElementById(`f-${f.name}-say`)); inputs[f.name].removeAttribute('aria-invalid'); }
    const values = {}, plain = fields.filter((f) => f.type !== 'own');
    for (const f of plain) values[f.name] = f.type === 'check' ? inputs[f.name].checked : f.type === 'radio' ? inputs[f.name].querySelector(':checked').value
      : f.type === 'checks' ? [...inputs[f.name].querySelectorAll(':checked')].map((b) => b.value) : inputs[f.name].value;
    go.disabled = true;
    try {
      for (const f of fields) if (f.type === 'own') values[f.name] = f.read();
      await save(values);
      if (!stay) box.close();
    } catch (err) {
      const at = inputs[err.field];
      if (at) {
        at.setAttribute('aria-invalid', 'true');
        fill(document.getElementById(`f-${err.field}-say`), h('p', { class: 'err' }, err.message));
        at.focus();
      } else fill(trouble, h('p', { class: 'alert bad' }, err.message || t('failed')));
    }
    go.disabled = false;
  });
  box.append(form);
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  box.showModal();
  return box;
}

export function copyField(value, label) {
  const input = h('input', { readonly: true, value, 'aria-label': label, class: 'mono' });
  return h('div', { class: 'copy' }, input, button(t('copy'), 'copy', async () => {
    try { await navigator.clipboard.writeText(value); } catch { input.select(); document.execCommand('copy'); }
    toast(t('copied'));
  }));
}
