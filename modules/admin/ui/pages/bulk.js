// Bulk runs: files of enrolments, what became of them, and a new one.
import { api, poll, query as toQuery, url } from '../api.js';
import { h, fill, head, csvLink, table, pager, chip, time, button, empty, dialog, say, name } from '../ui.js';
import { acts, busy, gauge } from '../bulk_parts.js';
import { t } from '../words.js';

const choice = (key, label, values, words) => ({ name: key, label, type: 'select', value: '', options: values.map((v) => [v, words(v)]) });

// The file goes up as it is: the server reads it row by row.
function upload() {
  const input = h('input', { type: 'file', accept: '.csv,.tsv,.txt,text/csv', required: true, 'aria-label': t('bulk_file') });
  dialog({ title: t('bulk_new'), lead: [t('bulk_new_lead'), h('p', {}, h('a', { href: 'help/enrollment.html#enrolments-by-csv', target: 'mdm-help', rel: 'noopener' }, t('bulk_columns')), ' · ', h('a', { href: 'bulk-example.csv', download: 'bulk-example.csv' }, t('bulk_example')))], submit: t('bulk_check'), fields: [
    { name: 'file', label: t('bulk_file'), type: 'own', input, node: input, read: () => input.files[0], hint: t('bulk_file_hint') },
    choice('ownership', t('ownership'), ['', 'corporate', 'personal'], (v) => (v ? t(`own_${v}`) : t('bulk_by_policy'))),
    choice('notify', t('bulk_notify'), ['', 'email', 'sms', 'both'], (v) => t(`bulk_notify_${v || 'none'}`)),
    choice('language', t('bulk_language'), ['', 'en', 'de'], (v) => (v ? { en: 'English', de: 'Deutsch' }[v] : t('bulk_by_person'))),
    { name: 'otp_hours', label: t('bulk_otp_hours'), mode: 'numeric', max: 3, hint: t('bulk_otp_hint') }],
  save: async ({ file, ...rest }) => {
    const { data } = await api('POST', `bulk-runs${toQuery({ ...rest, file: file.name })}`, { csv: file });
    location.hash = `#/bulkrun/${data.id}`;
  } });
}

export default async function page({ main, signal, may, again }) {
  const { data: state, etag } = await api('GET', 'bulk-runs', { signal });
  const list = h('div', { class: 'panel flush' }), write = may('pending:write');
  const columns = [
    { label: t('bulk_run'), lead: true, cell: (r) => [h('a', { class: 'main', href: `#/bulkrun/${r.id}` }, name(r.file || r.id)), h('span', { class: 'sub' }, r.id)] },
    { label: t('progress'), fair: true, cell: (r) => gauge(r) }, { label: t('state'), tight: true, cell: (r) => chip(r.state) },
    { label: t('created'), fair: true, cell: (r) => h('div', {}, time(r.created_at), h('span', { class: 'sub' }, name(r.created_by))) },
    { label: '', cell: (r) => h('div', { class: 'acts' }, acts(r, write, again, { short: true })) }];
  const more = async () => {
    try {
      const { data } = await api('GET', `bulk-runs${toQuery({ cursor: state.next })}`, { signal });
      state.items.push(...data.items);
      state.next = data.next;
      draw();
    } catch (e) { say(e); }
  };
  const draw = () => fill(list, state.items.length ? table(columns, state.items) : empty(t('bulk_none'), 'csv', write ? button(t('bulk_new'), 'plus', upload) : null), pager(list, state, more));
  draw();
  fill(main, head(t('bulk'), csvLink(url('bulk-runs?format=csv'), 'bulk-runs'), write && button(t('bulk_new'), 'plus', upload, 'primary')), list);
  poll('bulk-runs', signal, (d) => {
    const rest = state.items.slice(d.items.length).filter((x) => !d.items.some((y) => y.id === x.id));
    Object.assign(state, rest.length ? { items: [...d.items, ...rest] } : d);
    draw();
  }, { etag, every: state.items.some(busy) ? 2000 : 5000 });
}
