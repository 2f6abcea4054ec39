// Apple's push certificate: from nothing to the first push, renewal, test on every node.
import { api, url } from '../api.js';
import { h, fill, head, table, chip, time, icon, button, dialog, toast, say, name, number, base64 } from '../ui.js';
import { t } from '../words.js';

const portal = 'https://identity.apple.com/pushcert';
const fields = ['organisation', 'unit', 'name', 'place', 'state', 'country', 'mail'];
const needed = ['organisation', 'country', 'mail'];
const clean = (s) => s.replace(/\r/g, '');
const outside = (href, text) => h('a', { href, target: '_blank', rel: 'noopener noreferrer' }, text);
const step = (done, title, ...kids) => h('li', {}, h('span', { class: `mark ${done ? 'done' : ''}` }, icon(done ? 'ok' : 'wait')), h('div', { class: 'grow' }, h('strong', {}, title), kids));
const acts = (...kids) => h('div', { class: 'acts' }, kids);
const file = (path, label) => h('a', { class: 'btn', href: url(path), download: true }, icon('csv'), label);

function choose(accept, take) {
  const input = h('input', { type: 'file', accept, class: 'sr', 'aria-hidden': 'true', tabindex: '-1', onchange: () => input.files[0] && take(input.files[0]).catch(say) });
  document.body.append(input);
  input.click();
  setTimeout(() => input.remove(), 60000);
}

const request = (s, again) => dialog({ title: t(s.certificate ? 'push_renew' : 'push_request'), lead: t(s.certificate ? 'push_renew_lead' : 'push_request_lead'), submit: t('create'),
  fields: [...fields.map((f) => ({ name: f, label: t(`push_f_${f}`), value: s.request?.[f], required: needed.includes(f), max: f === 'country' ? 2 : f === 'mail' ? 128 : 64,
    hint: f === 'mail' ? t('push_f_mail_hint') : f === 'country' ? t('push_f_country_hint') : null })),
  ...(s.certificate || s.request ? [{ name: 'keep_key', label: t('push_keep_key'), type: 'check', value: false }] : [])],
  save: async (v) => { await api('POST', 'push/request', { body: { ...v, country: v.country.toUpperCase() } }); toast(t('saved')); again(); } });

const service = (s, again) => dialog({ title: t('push_service'), lead: t('push_service_lead'), submit: t('save'),
  fields: [{ name: 'url', label: t('push_service_url'), type: 'url', value: s.signing_url, max: 500 }],
  save: async (v) => { await api('PUT', 'push/signing', { body: { url: v.url } }); toast(t('saved')); again(); } });

// Another topic is refused first; the answer says what it would cost.
async function put(body, again) {
  try {
    await api('PUT', 'push/certificate', { body });
    toast(t('push_imported'));
    again();
  } catch (e) {
    if (e.field !== 'new_topic') throw e;
    dialog({ title: t('push_new_topic'), lead: e.message, submit: t('push_new_topic_yes'), danger: true, save: () => put({ ...body, new_topic: true }, again) });
  }
}

function take(again) {
  choose('.pem,.crt,.cer,.p12,.pfx', async (f) => {
    const p12 = /\.(p12|pfx)$/i.test(f.name), text = p12 ? null : clean(await f.text());
    if (!p12 && !text.includes('PRIVATE KEY')) { await put({ certificate: text }, again); return; }
    const body = p12 ? { p12: await base64(f) } : { certificate: text, key: text };
    dialog({ title: t('push_import'), lead: t('push_password_lead'), submit: t('push_import'), fields: [{ name: 'password', label: t('password'), type: 'password', auto: 'off', max: 256 }],
      save: (v) => put(v.password ? { ...body, password: v.password } : body, again) });
  });
}

const signed = (again) => choose('.txt,.plist,.b64,.csr', async (f) => { await api('PUT', 'push/request/signed', { body: { file: clean(await f.text()) } }); toast(t('saved')); again(); });
const sign = async (again) => { try { await api('POST', 'push/request/sign'); toast(t('saved')); again(); } catch (e) { say(e); } };

function certificate(c) {
  const rows = [['push_topic', h('code', { class: 'mono' }, c.topic)], ['push_subject', name(c.subject)], ['push_issuer', name(c.issuer)], ['push_serial', h('code', { class: 'mono' }, c.serial)], ['push_key', c.key],
    ['push_from', time(c.not_before)], ['push_until', [time(c.not_after), c.days_left > 0 ? ` · ${t('push_days', null, number(c.days_left))}` : '']], ['push_devices', number(c.devices)]];
  return h('dl', {}, rows.map(([k, v]) => [h('dt', {}, t(k)), h('dd', {}, v)]));
}

function warnings(s) {
  const c = s.certificate, say_ = (cls, text) => h('p', { class: `alert ${cls}` }, text);
  return [s.mdm_nodes === 0 && say_('warn', [t('push_no_node'), ' ', h('a', { href: '#/nodes' }, t('nodes'))]),
    s.stopped && say_('bad', t('push_stopped', null, s.stopped.reason)),
    c && c.state === 'expired' && say_('bad', t('push_expired')), c && c.state === 'expiring' && say_('warn', t('push_expiring', null, number(c.days_left))),
    s.failed > 0 && !s.stopped && say_('warn', t('push_failed', null, number(s.failed)))];
}

function steps(s, write, again) {
  const r = s.request, ok = write && s.mdm_nodes > 0;
  return h('ol', { class: 'steps' },
    step(!!r, t('push_step_request'), h('p', { class: 'muted' }, r ? [t('push_made'), ' ', time(r.made), ' · ', name(r.organisation), ' · ', name(r.mail)] : t('push_step_request_sub')),
      acts(ok && button(t(s.certificate ? 'push_renew' : r ? 'push_again' : 'push_request'), 'key', () => request(s, again), r ? '' : 'primary'), r && file('push/request.csr', t('push_download')))),
    step(!!r?.signed, t('push_step_sign'), h('p', { class: 'muted' }, t('push_step_sign_sub')),
      acts(ok && r && button(t('push_signed'), 'up', () => signed(again)), ok && r && s.signing_url && button(t('push_sign'), 'ok', () => sign(again)), r?.signed && file('push/request.signed', t('push_download_signed')),
        write && button(t('push_service'), 'edit', () => service(s, again), 'quiet'))),
    step(!!s.certificate, t('push_step_apple'), h('p', { class: 'muted' }, t(s.certificate ? 'push_step_renew_sub' : 'push_step_apple_sub'), s.certificate && [' ', h('code', { class: 'mono' }, s.certificate.serial)]),
      acts(outside(portal, 'identity.apple.com/pushcert'))),
    step(!!s.certificate, t('push_step_import'), h('p', { class: 'muted' }, t('push_step_import_sub')), acts(ok && button(t('push_import'), 'up', () => take(again), r && !s.certificate ? 'primary' : ''))));
}

function results(items) {
  const state = (x) => (x.state === 'done' ? (x.ok ? 'done' : 'failed') : x.state === 'down' ? 'offline' : x.state);
  return table([{ label: t('push_node'), lead: true, cell: (x) => h('span', { class: 'main' }, name(x.node)) },
    { label: t('state'), tight: true, cell: (x) => (x.state === 'never' ? '–' : chip(state(x))) },
    { label: t('outcome'), cell: (x) => [x.text ? t(`push_r_${x.step}_${x.ok ? 'ok' : x.status === 403 ? 'refused' : 'bad'}`, x.text) : x.state === 'down' ? t('push_node_down') : '',
      x.reason ? h('span', { class: 'sub mono' }, [x.step.toUpperCase(), x.status || null, x.reason].filter(Boolean).join(' · ')) : null] },
    { label: t('when'), tight: true, cell: (x) => time(x.at) }], items);
}

export default async function page({ main, signal, may, again }) {
  const [s, first] = (await Promise.all([api('GET', 'push', { signal }), api('GET', 'push/test', { signal })])).map((x) => x.data);
  const write = may('zone:write'), list = h('div', {}), go = h('div', {});
  let timer;
  const draw = (items) => fill(list, results(items));
  const watch = async (left) => {
    const { items } = (await api('GET', 'push/test', { signal })).data;
    draw(items);
    if (left > 0 && items.some((x) => ['waiting', 'running'].includes(x.state))) timer = setTimeout(() => watch(left - 1).catch(say), 700);
  };
  signal.addEventListener('abort', () => clearTimeout(timer));
  draw(first.items);
  if (write && s.certificate) fill(go, button(t('push_test'), 'ok', async () => { try { await api('POST', 'push/test'); await watch(60); } catch (e) { say(e); } }));
  fill(main, head(t('push_page')), warnings(s), h('div', { class: 'cols' },
    h('section', { class: 'panel' }, h('h2', {}, t('push_steps')), steps(s, write, again)),
    h('section', { class: 'panel' }, h('h2', {}, t('push_certificate')), s.certificate ? certificate(s.certificate) : h('p', { class: 'muted' }, t('push_none')))),
  h('section', { class: 'panel flush spaced' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('push_nodes')), go), list));
}
