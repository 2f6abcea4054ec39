// Mail apps that have gone silent, and their clean-up.
import { api, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, button, empty, dialog, toast, say, name, number } from '../ui.js';
import { t } from '../words.js';

const AT_ONCE = 100; // of one call

async function end(what, batches) {
  let ended = 0, passed = 0;
  for (const records of batches || [null]) {
    for (let more = true; more; more = !records && more > 0) {
      const { data } = await api('POST', 'stale-mail/end', { body: { ...what, ...(records && { records }) } });
      ended += data.ended; passed = records ? passed + data.passed : data.passed; more = data.ended;
    }
  }
  toast(t('stale_done', null, number(ended), number(passed)));
}

const ask = (title, lead, what, batches, again) => dialog({ title, lead: [lead, t('stale_end_lead')].filter(Boolean), submit: t('stale_end'), danger: true,
  fields: [{ name: 'then', label: t('stale_then'), type: 'radio', value: 'retire', options: ['retire', 'delete'].map((w) => [w, t(`stale_then_${w}`)]) }, { name: 'reason', label: t('reason'), max: 500 }],
  save: async (v) => { await end({ ...what, ...v }, batches); again(); } });

export default async function page({ main, query, signal, may, again }) {
  const days = query.days || '30', picked = new Set();
  const state = { items: [], next: null };
  const list = h('div', { class: 'panel flush' });
  const load = async () => { // a page may be short, with more behind it
    const had = state.items.length;
    do {
      const { data } = await api('GET', `stale-mail${toQuery({ days, cursor: state.next })}`, { signal });
      state.items.push(...data.items.map((x) => ({ ...x, name: x.device.name }))); state.next = data.next;
    } while (state.next && state.items.length === had);
    draw();
  };
  const parts = () => { const all = [...picked], out = []; while (all.length) out.push(all.splice(0, AT_ONCE)); return out; };
  const draw = () => fill(list, state.items.length === 0 ? empty(t('stale_none'), 'ok') : [picked.size > 0 && h('div', { class: 'bulk' }, h('strong', {}, t('selected', null, number(picked.size))),
      button(t('stale_end'), 'trash', () => ask(`${t('stale_end')}: ${t('selected', null, number(picked.size))}`, null, { days: Number(days) }, parts(), again), 'danger'), button(t('clear'), null, () => { picked.clear(); draw(); }, 'quiet')), table([
      { label: t('device'), lead: true, cell: (x) => [h('a', { class: 'main', href: `#/device/${x.device.id}` }, name(x.device.name)), h('span', { class: 'sub' }, x.person ? name(x.person.name) : t('no_owner'))] },
      { label: t('state'), tight: true, cell: (x) => chip(x.device.state) }, { label: t('mail_app'), cell: (x) => [name(x.user_agent || x.type || '–'), h('span', { class: 'sub mono' }, x.device_id)] },
      { label: t('stale_days'), tight: true, cell: (x) => number(x.silent_days) }, { label: t('use_sync'), tight: true, cell: (x) => (x.last_sync_at ? time(x.last_sync_at) : t('never')) },
      { label: t('first_seen'), tight: true, cell: (x) => time(x.first_seen_at) }], state.items, may('device:write') ? { pick: draw, picked } : {}),
    pager(list, state, () => load().catch(say))]);
  await load();
  fill(main, head(t('stale'), csvLink(url(`stale-mail${toQuery({ days, format: 'csv' })}`), 'silent-mail-apps'),
    may('device:write') && state.items.length > 0 && button(t('stale_end_all'), 'trash', () => ask(t('stale_end_all'), t('stale_all_lead', null, days), { days: Number(days), all: true }, null, again), 'danger')),
  h('p', { class: 'lead' }, t('stale_lead')),
  h('div', { class: 'bar' }, h('div', {}, h('label', { for: 'q-days' }, t('stale_for')), h('select', { id: 'q-days', onchange: (e) => { location.hash = `#/stale${toQuery({ days: e.target.value })}`; } },
    [...new Set(['7', '30', '60', '90', '180', '365', days])].map((d) => h('option', { value: d, selected: d === days }, t('n_days', null, d)))))), list);
}
