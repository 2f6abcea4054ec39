// The servers of the zone.
import { api } from '../api.js';
import { h, fill, head, table, chip, time, empty } from '../ui.js';
import { t } from '../words.js';

const live = (n) => Date.now() - new Date(n.seen_at) < 90000;

export default async function page({ main, signal }) {
  const { items } = (await api('GET', 'nodes', { signal })).data;
  fill(main, head(t('nodes')), h('div', { class: 'panel flush' }, items.length === 0 ? empty(t('no_nodes'), 'nodes') : table([
    { label: t('name'), lead: true, cell: (n) => [h('span', { class: 'main' }, n.name), h('span', { class: 'sub mono' }, n.base_url)] },
    { label: t('state'), tight: true, cell: (n) => chip(live(n) ? 'online' : 'offline') }, { label: t('software'), cell: (n) => n.software },
    { label: t('started'), tight: true, cell: (n) => time(n.started_at) }, { label: t('last_seen'), tight: true, cell: (n) => time(n.seen_at) }], items)));
}
