// What policies do to one device: is it compliant, did everything arrive, which value holds and where it comes from.
import { api, poll, query as toQuery } from '../api.js';
import { h, fill, table, chip, time, icon, empty, say, name, number, word, said } from '../ui.js';
import { catalogue, label, typeOf, valueText } from '../catalogue.js';
import { ofTarget, target } from '../assign.js';
import { channelName } from '../progress.js';
import { t } from '../words.js';

const looks = { compliant: ['good', 'ok'], noncompliant: ['bad', 'bad'], unknown: ['', 'question'] };
const marked = (cls, pic, text) => h('span', { class: `chip ${cls}` }, icon(pic), text);

const compliance = (d) => h('section', { class: 'panel' }, h('h2', {}, t('compliance')), h('p', {}, marked(...looks[d.compliance], word('comp', d.compliance))),
  d.compliance_reasons.length ? h('ul', {}, d.compliance_reasons.map((r) => h('li', {}, h('bdi', {}, t(`cr_${r.reason}`, r.why)))))
    : h('p', { class: 'muted' }, t(d.compliance === 'compliant' ? 'cr_none' : 'cr_unknown')));

const deliveries = (list, cat) => h('section', { class: 'panel flush' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('pol_delivery'))), list.length ? table([
  { label: t('pol_type'), lead: true, cell: (x) => h('span', { class: 'main' }, label(typeOf(cat, x.type)) || x.type) },
  { label: t('del_channel'), tight: true, cell: (x) => channelName(x.channel) }, { label: t('state'), tight: true, cell: (x) => chip(`del_${x.state}`) },
  { label: t('task_said'), cell: (x) => [x.error && name(said(x.said, x.error)), x.attempts > 1 && h('span', { class: 'sub' }, t('del_tries', null, number(x.attempts)))] },
  { label: t('when'), tight: true, cell: (x) => time(x.updated_at) }], list) : empty(t('dp_no_delivery'), 'shield'),
list.some((x) => x.state === 'failed') && h('p', { class: 'muted small below' }, t('dp_again')));

// Where a value goes, by the ways that the device has.
const ways = { apple: 'mdm', eas: 'eas', android: 'agent' };
const outcome = ({ channels = {} }) => h('div', { class: 'outcomes' }, Object.keys(ways).filter((c) => channels[c]).map((c) => {
  const o = channels[c], sent = o.state === 'sent';
  return h('div', {}, marked(sent ? 'good' : '', sent ? 'ok' : 'off', channelName(ways[c])), o.reason && h('span', { class: 'sub' }, t(`out_${o.reason}`, o.why)),
    o.deprecated && h('span', { class: 'sub' }, t('pol_deprecated', null, o.deprecated)));
}), !Object.keys(channels).length && h('span', { class: 'muted' }, '–'));

export function origin(s, may) {
  const policy = s.policy.name === null ? h('span', { class: 'muted' }, t('asg_gone')) : may('policy:read') ? h('a', { href: `#/policy/${s.policy.id}${toQuery({ version: s.version })}` }, name(s.policy.name)) : name(s.policy.name);
  return h('div', {}, policy, ' · ', s.version ? t('pol_version_n', null, number(s.version)) : t('s_sandbox'), h('div', { class: 'small' }, target(s.via, may)));
}

function settings(type, cat, servers, may) {
  const order = new Map(cat.settings.map((s, i) => [s.id, i]));
  return h('section', { class: 'panel flush', id: `effective-${type.type}` }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, label(typeOf(cat, type.type)) || type.type), h('span', { class: 'muted small' }, t('dp_computed'), ' ', time(type.computed_at))),
    type.settings.length ? table([
      { label: t('pol_setting'), lead: true, cell: (s) => h('span', { class: 'main' }, label(cat.by.get(s.setting)) || s.setting) },
      { label: t('value'), cell: (s) => h('bdi', {}, valueText(cat, s.setting, s.value, servers)) },
      { label: t('dp_from'), cell: (s) => origin(s, may) }, { label: t('dp_sent_to'), cell: outcome }],
    [...type.settings].sort((a, b) => order.get(a.setting) - order.get(b.setting))) : empty(t('dp_no_settings'), 'shield'));
}

// ctx: {may, me, again, signal}
export async function policies(box, d, ctx) {
  const path = `devices/${d.id}/policies`, has = { policies: ctx.may('policy:read'), servers: ctx.may('mail:read') };
  const [cat, servers, first] = await Promise.all([catalogue(), has.servers ? api('GET', 'eas-servers?limit=200', { signal: ctx.signal }).then((r) => r.data.items) : [], api('GET', path, { signal: ctx.signal })]);
  const own = h('div'), seen = h('div');
  const draw = (now) => fill(seen, now.computing && h('p', { class: 'alert', role: 'status' }, icon('refresh'), ' ', t('dp_computing')), compliance(d), deliveries(now.deliveries, cat),
    now.types.length ? now.types.map((x) => settings(x, cat, servers, ctx.may)) : h('section', { class: 'panel' }, empty(t('dp_none'), 'shield')));
  const drawOwn = async () => fill(own, h('section', { class: 'panel flush' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('dp_assigned'))), await ofTarget({ kind: 'device', id: d.id, name: d.name }, { ...ctx, again: () => drawOwn().catch(say) })));
  draw(first.data);
  if (has.policies) await drawOwn();
  fill(box, seen, own);
  poll(path, ctx.signal, draw, { etag: first.etag, every: 3000 });
}
