// Who did what, newest first.
import { api, url } from '../api.js';
import { h, fill, head, csvLink, pager, say } from '../ui.js';
import { auditList } from './device.js';
import { t } from '../words.js';

export default async function page({ main, signal }) {
  const state = (await api('GET', 'audit', { signal })).data;
  const box = h('div');
  const draw = () => fill(box, auditList(state.items, true), pager(box, state, async () => {
    try { const r = await api('GET', `audit?cursor=${encodeURIComponent(state.next)}`); state.items.push(...r.data.items); state.next = r.data.next; draw(); } catch (e) { say(e); }
  }));
  draw();
  fill(main, head(t('audit'), csvLink(url('audit?format=csv'), 'audit')), box);
}
