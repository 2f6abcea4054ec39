// Enrolments that have begun or are prepared (PEN-02).
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, button, empty, dialog, toast, say, name, word } from '../ui.js';
import { countdown, tick, show, reset, provision, owner } from '../provision.js';
import { acts } from '../orders.js';
import { t } from '../words.js';

const OPEN = ['created', 'opened', 'profile', 'issued', 'authenticated', 'locked'], ORIGINS = ['self', 'account', 'single', 'bulk', 'ade'], PLATFORMS = ['ios', 'android'];
const fresh = (p) => ['created', 'opened'].includes(p.state);

const cancel = (p, again) => dialog({ title: t('cancel_enrollment'), lead: [t('cancel_lead'), p.person && h('p', { class: 'alert warn' }, name(p.person.name))], submit: t('cancel_enrollment'), danger: true,
  save: async () => { await api('POST', `pending/${p.id}/cancel`); toast(t('saved')); again(); } });

function menu(p, again) {
  const all = [
    p.otp.state !== 'none' && p.origin !== 'account' && (OPEN.includes(p.state) || p.state === 'expired') && [t('otp_reset'), t(begun(p) ? 'otp_reset_begun' : 'otp_reset_sub'), () => reset(p, again)],
    fresh(p) && p.platform !== 'ios' && [t('owner'), t('owner_sub'), () => owner(p)],
    OPEN.includes(p.state) && [t('cancel_enrollment'), t('cancel_lead'), () => cancel(p, again), true]].filter(Boolean);
  acts({ title: [t('actions'), ': ', name(p.person?.name || t('no_owner'))], items: all, rest: [] });
}

// What is left of the time of the one-time password, else of the link; and why the password can't be used.
const rest = (p) => (!OPEN.includes(p.state) ? time(p.expires_at) : new Date(p.valid_from) > Date.now() ? [h('span', { class: 'sub' }, t('valid_from')), time(p.valid_from)] : ['used', 'expired', 'locked'].includes(p.otp.state) ? [chip(`otp_${p.otp.state}`), h('span', { class: 'sub' }, countdown(p.expires_at))]
  : [countdown(p.otp.state === 'open' ? p.otp.expires_at : p.expires_at), h('span', { class: 'sub' }, p.otp.tries > 0 ? t('otp_wrong', null, p.otp.tries) : t(p.otp.state === 'open' ? 'otp' : 'link'))]);

// Whether its person has heard of it: the latest by each way (PEN-05).
const told = (p) => ['mail', 'sms'].map((c) => p.notices.find((n) => n.channel === c)).filter(Boolean)
  .map((n) => h('span', { class: 'sub' }, t(`told_${n.channel}_${n.state}`), ' ', n.state === 'sent' ? time(n.done_at) : n.error && name(n.error)));

// A device has its certificate and has not finished; a day later it hardly will (facts 8.2). The link stays used up until the password is reset (PEN-02, PEN-04).
const begun = (p) => ['issued', 'authenticated'].includes(p.state);
const stalled = (p) => begun(p) && Date.now() - (p.steps.authenticated ?? p.steps.issued) > 86400000;

const columns = (write, again) => [
  { label: t('person'), lead: true, cell: (p) => [h('span', { class: 'main' }, p.person ? name(p.person.name) : t('no_owner')), h('span', { class: 'sub' }, p.person?.login), p.phone && h('span', { class: 'sub' }, h('bdi', {}, p.phone)),
    (p.serial || p.imei) && h('span', { class: 'sub' }, t('only_device', null, p.serial || p.imei))] },
  { label: t('state'), fair: true, cell: (p) => [chip(p.state), stalled(p) && h('span', { class: 'sub stalled' }, t('pending_stalled')), told(p)] },
  { label: t('token'), tight: true, cell: (p) => p.token && h('span', { class: 'mono' }, p.token) },
  { label: t('platform'), tight: true, cell: (p) => [p.platform === 'unknown' ? t('prov_any') : word('plat', p.platform), h('span', { class: 'sub' }, word('own', p.ownership)), p.level === 'email_only' && h('span', { class: 'sub' }, word('level', 'email_only'))] },
  { label: t('expires'), fair: true, cell: rest },
  { label: `${t('origin')} · ${t('created')}`, fair: true, cell: (p) => [word('origin', p.origin), h('span', { class: 'sub' }, time(p.created_at)), h('span', { class: 'sub' }, name(p.created_by || '')), p.authorised_by && p.authorised_by !== p.created_by && h('span', { class: 'sub' }, t('authorised_by', null, p.authorised_by))] },
  { label: '', cell: (p) => h('div', { class: 'acts' }, p.device_id && h('a', { class: 'btn', href: `#/device/${p.device_id}` }, t('device')),
    write && fresh(p) && button(t(p.otp.state === 'open' ? 'view_otp' : 'show_link'), 'qr', () => show(p).catch(say)),
    write && (OPEN.includes(p.state) || p.state === 'expired' && p.otp.state !== 'none') && button(t('actions'), null, () => menu(p, again))) }];

// A link or what somebody reads out of one; of a link only what the list shows goes on, since the address of a page is kept in histories.
function byToken(shown, go) {
  const field = h('input', { id: 'q-token', type: 'search', value: shown ?? '', maxlength: 300, placeholder: t('token_hint'), autocomplete: 'off', spellcheck: 'false', onchange: () => {
    const head = field.value.trim().replace(/^.*\/enroll\//, '').slice(0, 8);
    field.value = head;
    field.setCustomValidity(head && !/^[\w-]{8}$/.test(head) ? t('token_hint') : '');
    if (field.reportValidity() && (head || shown)) go({ token: head });
  }, oninput: () => field.setCustomValidity('') });
  return h('div', {}, h('label', { for: 'q-token' }, t('token')), field);
}

export default async function page({ main, query, signal, may, again }) {
  const filter = query.token ? { token: query.token } : { state: query.state ?? 'open', origin: query.origin ?? '', platform: query.platform ?? '' };
  const path = `pending${toQuery(filter)}`;
  const { data: state, etag } = await api('GET', path, { signal });
  const list = h('div', { class: 'panel flush' }), write = may('pending:write');
  const go = (change) => { const f = 'token' in change ? change : { ...filter, token: '', ...change }; location.hash = `#/pending?${new URLSearchParams(Object.entries(f).filter(([k, v]) => v || k === 'state'))}`; };
  const more = async () => {
    try { const r = await api('GET', `pending${toQuery({ ...filter, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  };
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_pending'), 'pending') : [table(columns(write, again), state.items), pager(list, state, more)]);
  draw();
  const choose = (key, label, options) => h('div', {}, h('label', { for: `q-${key}` }, label), h('select', { id: `q-${key}`, onchange: (e) => go({ [key]: e.target.value }) },
    options.map(([v, l]) => h('option', { value: v, selected: v === filter[key] }, l))));
  fill(main, head(t('pending'), csvLink(url(`pending${toQuery({ ...filter, format: 'csv' })}`), 'pending'), write && button(t('provision'), 'plus', () => provision({ again, may }).catch(say), 'primary')),
    h('div', { class: 'bar' }, choose('state', t('state'), [['open', t('open_ones')], ['', t('all')], ...['locked', 'completed', 'expired', 'cancelled'].map((s) => [s, word('s', s)])]),
      choose('origin', t('origin'), [['', t('all')], ...ORIGINS.map((o) => [o, word('origin', o)])]), choose('platform', t('platform'), [['', t('all')], ...PLATFORMS.map((o) => [o, word('plat', o)])]), byToken(filter.token, go)), list);
  tick(list, signal);
  poll(path, signal, (d) => { if (state.items.length <= d.items.length || !state.next) { Object.assign(state, d); draw(); } }, { etag });
}
