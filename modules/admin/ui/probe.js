// The dialog of a connection test: steps appear as they end; a certificate that nobody has accepted yet can be accepted.
import { api, lines } from './api.js';
import { h, fill, chip, button, dialog, toast, say, name, number, time } from './ui.js';
import { t } from './words.js';

const details = (c) => h('dl', {}, [['src_subject', name(c.subject)], ['src_issuer', name(c.issuer)], ['src_not_before', time(c.not_before)], ['src_not_after', time(c.not_after)], ['SHA-256', h('code', { class: 'mono' }, c.sha256)]]
  .map(([k, v]) => [h('dt', {}, t(k, k)), h('dd', {}, v)]));

const done = (s) => h('li', {}, h('div', { class: 'grow' }, h('strong', {}, s.step.toUpperCase()), h('p', {}, name(s.text))), h('span', { class: 'muted' }, `${number(s.ms)} ms`), chip(s.ok ? 'done' : 'failed'));
const ahead = (s, i) => h('li', { class: 'muted' }, h('div', { class: 'grow' }, s.toUpperCase()), chip(i ? 'waiting' : 'running'));

// path: the object; etag: its version when it was read; steps: those of a test without trouble; again() after its certificate was accepted.
export function probe({ title, lead, path, etag, steps, fields, again }) {
  const list = h('ol', { class: 'steps', 'aria-live': 'polite' }), cert = h('div');
  const accept = (c) => button(t('src_accept'), 'ok', async () => {
    try {
      await api('PUT', `${path}/certificate`, { body: { sha256: c.sha256 }, match: etag });
      toast(t('saved'));
      box.close();
      again();
    } catch (e) { say(e); }
  }, 'primary');
  const save = async (v) => {
    const seen = [];
    const draw = (busy) => { fill(list, seen.map(done), busy && steps.slice(seen.length).map(ahead)); (cert.hasChildNodes() ? cert : list).lastChild?.scrollIntoView({ block: 'center' }); };
    fill(cert);
    draw(true);
    try {
      await lines(`${path}/test`, fields ? v : undefined, (s) => {
        const c = s.certificate;
        seen.push(s);
        if (c) fill(cert, details(c), c.accepted ? null : [h('p', { class: 'alert warn' }, t('src_accept_lead')), h('div', { class: 'acts' }, accept(c))]);
        draw(s.ok);
      });
    } finally { draw(false); }
  };
  const box = dialog({ title, lead, fields, submit: t('pr_run'), stay: true, save });
  box.querySelector('.foot').before(list, cert);
  if (!fields) box.querySelector('form').requestSubmit();
}
