// What administrators should see: newest first, acknowledged one by one or all.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, time, icon, button, empty, dialog, toast, say, name, number, said } from '../ui.js';
import { t } from '../words.js';

const looks = { 1: ['', 'ok'], 2: ['warn', 'warn'], 3: ['bad', 'bad'] };
const severity = (m) => { const [cls, pic] = looks[m.severity] || looks[1]; return h('span', { class: `chip ${cls}` }, icon(pic), t(`sev_${m.severity}`)); };

export default async function page({ main, query, signal, may, again }) {
  const filter = { open: query.open ?? '1', severity: query.severity || '', object: query.object || '' };
  const path = `messages${toQuery(filter)}`;
  const { data: state, etag } = await api('GET', path, { signal });
  const list = h('div', { class: 'panel flush' });
  const write = may('device:write');
  const act = (method, where, said) => async () => { try { await api(method, where); toast(t(said)); again(); } catch (e) { say(e); } };
  const all = () => dialog({ title: t('ack_all'), lead: t(filter.object ? 'ack_all_object' : 'ack_all_lead'), submit: t('ack_all'),
    save: async () => { const { data } = await api('POST', 'messages/acknowledge', { body: filter.object ? { object: filter.object } : {} }); toast(t('ack_done', null, number(data.acknowledged))); again(); } });
  const draw = () => fill(list, state.items.length === 0 ? empty(t('no_messages'), 'ok') : [table([
    { label: t('message'), lead: true, cell: (m) => [m.object_kind === 'device' && m.object_name ? h('a', { class: 'main', href: `#/device/${m.object_id}` }, name(m.object_name)) : h('span', { class: 'main' }, t(`on_${m.object_kind}`, m.object_kind)),
      h('span', { class: 'sub' }, name(said(m.said, m.text)))] },
    { label: t('severity'), tight: true, cell: severity }, { label: t('when'), tight: true, cell: (m) => time(m.at) },
    { label: t('acknowledged'), tight: true, cell: (m) => (m.acknowledged_at ? [time(m.acknowledged_at), h('span', { class: 'sub' }, name(m.acknowledged_by))] : '–') },
    { label: '', cell: (m) => write && h('div', { class: 'acts' }, !m.acknowledged_at && button(t('acknowledge'), 'ok', act('POST', `messages/${m.id}/acknowledge`, 'saved')),
      button(t('message_delete'), 'trash', act('DELETE', `messages/${m.id}`, 'deleted'), 'danger')) }], state.items),
  pager(list, state, async () => {
    try { const r = await api('GET', `messages${toQuery({ ...filter, cursor: state.next })}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  })]);
  const select = (key, label, options) => h('div', {}, h('label', { for: `q-${key}` }, label), h('select', { id: `q-${key}`, onchange: (e) => { location.hash = `#/messages${toQuery({ ...filter, [key]: e.target.value })}`; } },
    options.map(([v, text]) => h('option', { value: v, selected: v === filter[key] }, text))));
  draw();
  fill(main, head(t('messages'), csvLink(url(`messages${toQuery({ ...filter, format: 'csv' })}`), 'messages'), write && state.items.some((m) => !m.acknowledged_at) && button(t('ack_all'), 'ok', all)),
    h('div', { class: 'bar' }, select('open', t('state'), [['1', t('msg_open')], ['0', t('all')]]), select('severity', t('severity'), [['', t('all')], ['2', t('sev_from_2')], ['3', t('sev_3')]]),
      filter.object && h('a', { class: 'btn', href: '#/messages' }, t('reset'))), list);
  poll(path, signal, (d) => { if (state.items.length <= d.items.length) { Object.assign(state, d); draw(); } }, { etag });
}
