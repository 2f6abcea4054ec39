// People of the built-in source from a CSV file: checked first, then made part by part. The file stays in the browser between the parts.
import { api, query as toQuery } from './api.js';
import { h, fill, dialog, table, toast, name, number } from './ui.js';
import { t } from './words.js';

const MOST = 200; // rows of a report that are shown

const send = async (file, how) => {
  try {
    return (await api('POST', `people/import${toQuery(how)}`, { csv: file })).data;
  } catch (e) {
    if (e.field) e.message = `${e.field}: ${e.message}`; // a column, which is no field of the dialog
    throw e;
  }
};

const leftOut = (rows) => (rows.length ? [h('p', {}, t('pi_left_out', null, number(rows.length))),
  h('div', { class: 'scroll' }, table([{ label: t('login'), lead: true, cell: (r) => [h('span', { class: 'main' }, r.login ? name(r.login) : '–'), h('span', { class: 'sub' }, t('pi_line', null, number(r.line)))] },
    { label: t('pi_why'), cell: (r) => `${r.field ? `${r.field}: ` : ''}${r.error}` }], rows.slice(0, MOST))),
  rows.length > MOST && h('p', { class: 'muted' }, t('pi_more', null, number(rows.length - MOST)))] : []);

async function run(file, again) {
  const bar = h('progress', { max: 1, value: 0, 'aria-label': t('progress') }), said = h('p', { 'aria-live': 'polite' });
  const box = dialog({ title: t('pi_import'), body: h('div', {}, said, bar) });
  let open = true, after = 0, made = 0;
  const rows = [];
  box.addEventListener('close', () => { open = false; again(); });
  try {
    while (open && after !== null) {
      const got = await send(file, { after });
      made += got.good;
      rows.push(...got.rows);
      after = got.next;
      bar.max = got.total || 1;
      bar.value = got.walked;
      said.textContent = t('pi_made', null, number(made));
    }
    fill(bar.parentNode, said, leftOut(rows));
  } catch (e) {
    fill(bar.parentNode, said, h('p', { class: 'alert bad' }, e.message || t('failed')), h('p', {}, t('pi_again')), leftOut(rows));
  }
  if (!open) toast(t('pi_made', null, number(made)));
}

const report = (file, dry, again) => dialog({ title: t('pi_report'), body: h('div', {}, h('p', {}, t('pi_good', null, number(dry.good))), leftOut(dry.rows)),
  submit: dry.good ? t('pi_import') : null, save: async () => { setTimeout(() => run(file, again)); } });

export function importPeople(again) {
  const input = h('input', { type: 'file', accept: '.csv,.tsv,.txt,text/csv', required: true, 'aria-label': t('bulk_file') });
  dialog({ title: t('pi_import'), lead: t('pi_lead'), submit: t('bulk_check'),
    fields: [{ name: 'file', label: t('bulk_file'), type: 'own', input, node: input, read: () => input.files[0], hint: t('pi_hint') }],
    save: async ({ file }) => { const dry = await send(file, { dry_run: 1 }); setTimeout(() => report(file, dry, again)); } });
}
