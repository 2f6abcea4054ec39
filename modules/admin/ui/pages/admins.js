// Administrators, their roles and API tokens.
import { api } from '../api.js';
import { h, fill, head, table, pager, chip, button, empty, dialog, toast, say, name, number, time, copyField, tabbar, word } from '../ui.js';
import { t } from '../words.js';

const done = (again) => { toast(t('saved')); again(); };
const all = async (path) => (await api('GET', `${path}?limit=200`)).data.items;
const rights = (role, area, act) => ['*', area].some((a) => (role?.rights[a] || []).some((x) => x === '*' || x === act));

// ---- people
async function form(again, old) {
  const seen = (path) => api('GET', path).then((r) => r.data.items, () => null); // null: may not see them
  const [roles, folders, sources] = await Promise.all([all('roles'), seen('folders'), old ? [] : seen('sources')]);
  const directories = (sources || []).filter((s) => s.kind !== 'local');
  const { data, etag } = old ? await api('GET', `admins/${old.id}`) : { data: { folders: [] } };
  const chosen = new Set(data.folders.map((f) => f.id));
  const fields = [
    { name: 'name', label: t('name'), value: data.name, max: 200 }, { name: 'mail', label: t('mail'), type: 'email', value: data.mail, max: 200 },
    { name: 'role_id', label: t('role'), type: 'select', value: data.role?.id, options: roles.map((r) => [r.id, word('role', r.name)]) },
    ...(folders ? [{ name: 'folders', label: t('adm_folders'), type: 'checks', hint: t('adm_folders_hint'), value: chosen, options: folders.map((f) => [f.id, name(f.name)]) }] : []),
    { name: 'alerts', label: t('adm_alerts'), type: 'check', value: data.alerts },
  ];
  if (old) fields.push({ name: 'disabled', label: t('adm_disabled'), type: 'check', value: data.disabled });
  else {
    fields.unshift({ name: 'kind', label: t('adm_kind'), type: 'select', options: ['local', 'external', ...(directories.length ? ['group'] : [])].map((k) => [k, t(`adm_${k}`)]) },
      ...(directories.length ? [{ name: 'source_id', label: t('adm_source'), type: 'select', options: directories.map((s) => [s.id, name(s.name)]) }] : []),
      { name: 'login', label: t('login'), required: true, max: 1000, hint: t('adm_login_hint') },
      { name: 'password', label: t('password'), type: 'password', auto: 'new-password', max: 500, hint: t('adm_password_hint') });
  }
  const box = dialog({ title: old ? t('adm_edit') : t('adm_add'), lead: old ? t('adm_edit_lead') : null, submit: old ? t('save') : t('create'), fields,
    save: async (v) => {
      if (old) {
        if (v.folders?.length === chosen.size && v.folders.every((f) => chosen.has(f))) delete v.folders;
        await api('PATCH', `admins/${old.id}`, { body: v, match: etag });
      } else {
        if (v.kind !== 'local') delete v.password;
        if (v.kind !== 'group') delete v.source_id;
        await api('POST', 'admins', { body: v });
      }
      done(again);
    } });
  const kind = box.querySelector('#f-kind');
  const fit = () => [['source_id', 'group'], ['password', 'local']].forEach(([field, of]) => { const el = box.querySelector(`#f-${field}`); if (el) el.closest('.field').hidden = kind.value !== of; });
  if (kind) { kind.addEventListener('change', fit); fit(); }
}

const password = (a) => dialog({ title: `${t('set_password')}: ${a.login}`, lead: t('adm_password_lead'), submit: t('save'),
  fields: [{ name: 'password', label: t('new_password'), type: 'password', auto: 'new-password', required: true, max: 500, hint: t('adm_password_min') }],
  save: async (v) => { await api('PUT', `admins/${a.id}/password`, { body: v }); toast(t('saved')); } });

const remove = (path, title, lead, again) => dialog({ title, lead, submit: t('src_delete'), danger: true,
  save: async () => { await api('DELETE', path); toast(t('deleted')); again(); } });

function people(items, write, again) {
  return table([
    { label: t('name'), lead: true, cell: (a) => [h('span', { class: 'main' }, name(a.name || a.login)), h('span', { class: 'sub' }, name(a.login), ' · ', t(`adm_${a.kind}`), a.kind === 'group' && [' · ', a.source ? name(a.source.name) : t('adm_no_source')])] },
    { label: t('role'), fair: true, cell: (a) => name(word('role', a.role.name)) },
    { label: t('adm_folders'), cell: (a) => (a.folders.length ? a.folders.flatMap((f, i) => [i ? ', ' : '', f.name ? name(f.name) : t('unknown')]) : t('whole_zone')) },
    { label: t('state'), tight: true, cell: (a) => chip(a.disabled ? 'disabled' : 'enabled') }, { label: t('adm_seen'), cell: (a) => time(a.last_seen_at) },
    { label: '', cell: (a) => write && h('div', { class: 'acts' }, button(t('edit'), 'edit', () => again.form(a)),
      a.kind === 'local' && button(t('password'), 'key', () => password(a)),
      button(t('src_delete'), 'trash', () => remove(`admins/${a.id}`, t('adm_delete'), [h('p', {}, name(a.login)), t('adm_delete_lead')], again), 'danger')) },
  ], items);
}

// ---- roles
async function roleForm(again, old) {
  const areas = (await api('GET', 'rights')).data;
  const { data, etag } = old ? await api('GET', `roles/${old.id}`) : {};
  const acts = [...new Set(Object.values(areas).flat())], fixed = data?.name === 'super_admin';
  const boxes = Object.keys(areas).map((area) => [area, acts.map((act) => areas[area].includes(act)
    && h('input', { type: 'checkbox', 'aria-label': `${t(`area_${area}`)}: ${t(`act_${act}`)}`, 'data-act': act, checked: rights(data, area, act), disabled: fixed }))]);
  const matrix = h('table', { class: 'matrix' }, h('caption', { class: 'sr' }, t('adm_rights')),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, t('adm_area')), acts.map((a) => h('th', { scope: 'col' }, t(`act_${a}`))))),
    h('tbody', {}, boxes.map(([area, row]) => h('tr', {}, h('th', { scope: 'row' }, t(`area_${area}`)), row.map((b) => h('td', {}, b || h('span', { class: 'muted' }, '–')))))));
  dialog({ title: old ? t('adm_role_edit') : t('adm_role_add'), lead: fixed ? t('adm_super') : t('adm_role_lead'), body: matrix, submit: fixed ? null : old ? t('save') : t('create'),
    fields: data?.builtin ? [] : [{ name: 'name', label: t('name'), value: data?.name, required: true, max: 200 }],
    save: async (v) => {
      const given = boxes.map(([area, row]) => [area, row.filter((b) => b && b.checked).map((b) => b.dataset.act)]).filter(([, list]) => list.length);
      const body = { ...v, rights: Object.fromEntries(given) };
      if (old) await api('PATCH', `roles/${old.id}`, { body, match: etag }); else await api('POST', 'roles', { body });
      done(again);
    } });
}

const roles = (items, write, again) => table([
  { label: t('name'), lead: true, cell: (r) => [h('span', { class: 'main' }, name(word('role', r.name))), r.builtin && h('span', { class: 'sub' }, t('adm_builtin'))] },
  { label: t('adm_holders'), cell: (r) => number(r.admins) }, { label: t('adm_tokens'), cell: (r) => number(r.tokens) },
  { label: '', cell: (r) => h('div', { class: 'acts' }, write && button(t('adm_rights'), 'edit', () => roleForm(again, r).catch(say)),
    write && !r.builtin && button(t('src_delete'), 'trash', () => remove(`roles/${r.id}`, t('adm_role_delete'), name(r.name), again), 'danger')) },
], items);

// ---- tokens: also used by the own account
export async function tokenForm(again, path, admin) {
  const list = admin ? (await all('admins')).filter((a) => a.kind !== 'group') : [];
  dialog({ title: t('adm_token_add'), lead: t('adm_token_lead'), submit: t('create'), fields: [
    { name: 'name', label: t('name'), required: true, max: 200, hint: t('adm_token_hint') },
    ...(admin ? [{ name: 'admin_id', label: t('adm_of'), type: 'select', options: list.map((a) => [a.id, a.login]) }] : []),
    { name: 'days', label: t('adm_days'), type: 'number', value: '90', required: true }],
  save: async (v) => {
    const made = (await api('POST', path, { body: { ...v, days: Number(v.days) } })).data;
    again(); // closes dialogs, so the secret comes after
    dialog({ title: t('adm_token_made'), lead: t('adm_token_once'), body: copyField(made.token, t('adm_token')) });
  } });
}

export const tokens = (items, write, again, path, admin) => table([
  { label: t('name'), lead: true, cell: (k) => h('span', { class: 'main' }, name(k.name)) }, ...(admin ? [{ label: t('adm_of'), cell: (k) => name(k.admin.login) }] : []),
  { label: t('role'), cell: (k) => name(word('role', k.role.name)) }, { label: t('created'), cell: (k) => time(k.created_at) },
  { label: t('expires'), cell: (k) => time(k.expires_at) }, { label: t('adm_used'), cell: (k) => time(k.used_at) },
  { label: '', cell: (k) => write && button(t('src_delete'), 'trash', () => remove(`${path}/${k.id}`, t('adm_token_delete'), name(k.name), again), 'danger') },
], items);

export default async function page({ main, query, signal, may, again }) {
  const write = may('admin:write');
  again.form = (a) => form(again, a).catch(say);
  const views = {
    admins: [people, t('adm_add'), () => again.form(), t('nothing')], roles: [roles, t('adm_role_add'), () => roleForm(again).catch(say), t('nothing')],
    tokens: [(items) => tokens(items, write, again, 'tokens', true), t('adm_token_add'), () => tokenForm(again, 'tokens', true).catch(say), t('adm_no_tokens')],
  };
  const now = Object.hasOwn(views, query.tab || '') ? query.tab : 'admins', [draw, label, add, none] = views[now];
  const state = (await api('GET', now, { signal })).data;
  const list = h('div', { class: 'panel flush', role: 'tabpanel', id: 'panel', tabindex: '0', 'aria-labelledby': `tab-${now}` });
  const show = () => fill(list, state.items.length ? [draw(state.items, write, again), pager(list, state, async () => {
    try { const r = await api('GET', `${now}?cursor=${encodeURIComponent(state.next)}`); state.items.push(...r.data.items); state.next = r.data.next; show(); } catch (e) { say(e); }
  })] : empty(none, 'key'));
  show();
  fill(main, head(t('admins'), write && button(label, 'plus', add, 'primary')),
    tabbar(Object.keys(views).map((k) => [k, k === 'tokens' ? t('adm_tokens') : k === 'roles' ? t('adm_roles') : t('admins')]), now, (k) => { location.hash = `#/admins${k === 'admins' ? '' : `?tab=${k}`}`; }), list);
}
