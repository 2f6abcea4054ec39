// When devices are asked and count as lost: for the zone, and the folders that have schedules of their own.
import { api } from '../api.js';
import { h, fill, head, table, button, dialog, empty, name } from '../ui.js';
import { edit, lostText, refreshText, summary } from '../schedules.js';
import { folderOptions } from '../tree.js';
import { period } from '../dynamic.js';
import { t } from '../words.js';

const of = (f, again) => edit({ path: `folders/${f.id}/schedule`, title: f.name, again });
const add = (all, again) => dialog({ title: t('sch_folder_add'), submit: t('sch_next_step'), fields: [{ name: 'folder', label: t('folder'), type: 'select', options: folderOptions(all) }],
  save: async (v) => { setTimeout(() => of(all.find((f) => f.id === v.folder), again)); } });

export default async function page({ main, signal, may, again }) {
  const [panel, groups, { data: { items } }] = await Promise.all([summary({ path: 'schedule', zone: true, write: may('zone:write'), signal, again }), period({ write: may('zone:write'), signal, again }), api('GET', 'folders', { signal })]);
  const own = items.filter((f) => f.schedule.refresh || f.schedule.lost), write = may('folder:write');
  fill(main, head(t('schedule')), h('p', { class: 'muted' }, t('sch_lead')), h('div', { class: 'cols' }, panel, groups),
    h('section', { class: 'panel flush spaced' }, h('div', { class: 'bar' }, h('h2', { class: 'grow' }, t('sch_folders')), write && button(t('sch_folder_add'), 'plus', () => add(items, again))),
      own.length ? table([{ label: t('folder'), lead: true, cell: (f) => h('a', { class: 'main', href: `#/devices?folder=${f.id}` }, name(f.name)) },
        { label: t('sch_refresh'), cell: (f) => (f.schedule.refresh ? refreshText(f.schedule.refresh) : t('sch_above')) }, { label: t('sch_lost'), cell: (f) => (f.schedule.lost ? lostText(f.schedule.lost) : t('sch_above')) },
        { label: '', cell: (f) => write && h('div', { class: 'acts' }, button(t('sch_change'), 'edit', () => of(f, again))) }], own) : empty(t('sch_no_folders'), 'folder')));
}
