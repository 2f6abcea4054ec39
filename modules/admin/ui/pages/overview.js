// What is there, what is missing, what needs a look.
import { api, poll } from '../api.js';
import { h, fill, head, icon, number, chip, time, button, say, name, said } from '../ui.js';
import { t } from '../words.js';

// While something is still to be set up.
const steps = (s) => (s && s.done < s.total ? h('p', { class: 'alert' }, h('a', { href: '#/start' }, t('start')), ` · ${t('steps_done', null, s.done, s.total)}`) : null);

function cards(o, may) {
  const s = o.devices_by_state;
  return h('div', { class: 'cards' }, [
    ['devices', o.devices, '#/devices', 'devices', '', 'device:read'], ['active', s.active || 0, '#/devices?state=active', 'ok', '', 'device:read'],
    ['contact', o.contact_24h, '#/devices?sort=-last_contact', 'refresh', '', 'device:read'], ['new', o.enrolled_24h, '#/devices?sort=-last_contact', 'plus', '', 'device:read'],
    ['pending', o.pending_open, '#/pending', 'pending', '', 'pending:read'], ['people', o.people, '#/people', 'people', '', 'person:read'],
    ['lost', o.devices_lost, '#/devices?lost=1', 'question', o.devices_lost ? 'warn' : '', 'device:read'],
    ['failed', o.jobs_failed, '#/jobs?state=failed', 'jobs', o.jobs_failed ? 'bad' : '', 'zone:read'],
  ].filter((c) => may(c[5])).map(([key, n, href, pic, cls]) => h('a', { class: `card ${cls}`, href }, h('div', { class: 'n' }, number(n)), h('div', { class: 'l' }, icon(pic), t(`c_${key}`)))));
}

function states(o) {
  const all = Object.entries(o.devices_by_state).sort((a, b) => b[1] - a[1]);
  return h('section', { class: 'panel' }, h('h2', {}, t('by_state')), all.length === 0 ? h('p', { class: 'muted' }, t('no_devices'))
    : h('div', { class: 'bars' }, all.map(([s, n]) => {
      const bar = h('span');
      bar.style.width = `${(100 * n) / o.devices}%`;
      return h('a', { href: `#/devices?state=${s}` }, h('span', {}, chip(s)), h('span', {}, number(n)), h('span', { class: 'track' }, bar));
    })));
}

function messages(list, ack) {
  return h('section', { class: 'panel' }, h('h2', {}, h('a', { href: '#/messages' }, t('messages'))), list.length === 0 ? h('p', { class: 'muted' }, t('no_messages'))
    : h('ul', { class: 'line' }, list.map((m) => h('li', {}, h('div', {}, m.object_kind === 'device' && m.object_name
      ? [h('a', { href: `#/device/${m.object_id}` }, name(m.object_name)), ': '] : null, name(said(m.said, m.text))),
    h('div', { class: 'when' }, time(m.at), ' ', ack && button(t('acknowledge'), 'ok', () => ack(m), 'quiet'))))));
}

export default async function page({ main, signal, may, again }) {
  const [o, m, s] = await Promise.all([api('GET', 'overview', { signal }), api('GET', 'messages?open=1&limit=10', { signal }),
    may('source:read') ? api('GET', 'getting-started', { signal }) : { data: null }]);
  const box = h('div');
  const ack = may('device:write') && (async (x) => { try { await api('POST', `messages/${x.id}/acknowledge`); again(); } catch (e) { say(e); } });
  const draw = (d) => fill(box, steps(s.data), cards(d, may), h('div', { class: 'split' }, states(d), messages(m.data.items, ack)));
  draw(o.data);
  fill(main, head(t('overview')), box);
  poll('overview', signal, draw, { etag: o.etag });
}
