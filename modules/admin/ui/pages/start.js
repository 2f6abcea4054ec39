// Getting started: what is still to be set up. The server computes the marks from what is there.
import { api, poll } from '../api.js';
import { h, fill, head, icon, said, name } from '../ui.js';
import { t } from '../words.js';

const marks = { done: ['done', 'ok'], open: ['', 'wait'], attention: ['warn', 'warn'] };

function line(x, may) {
  const [cls, pic] = marks[x.state];
  return h('li', { 'data-step': x.id, 'data-state': x.state }, h('span', { class: `mark ${cls}` }, icon(pic), h('span', { class: 'sr' }, t(`start_${x.state}`))),
    h('div', { class: 'grow' }, may(x.right) ? h('a', { class: 'main', href: `#/${x.page}` }, t(`step_${x.id}`)) : h('strong', {}, t(`step_${x.id}`)),
      h('div', { class: 'muted small' }, t(`step_${x.id}_sub`)), x.text && h('div', { class: 'small' }, name(said(x.said, x.text)))),
    h('a', { class: 'help', href: `help/${x.help}`, target: 'mdm-help', rel: 'noopener', 'aria-label': `${t('help')}: ${t(`step_${x.id}`)}`, title: t('help') }, icon('question')));
}

export default async function page({ main, signal, may }) {
  const box = h('div'), seen = await api('GET', 'getting-started', { signal });
  const draw = (d) => {
    const bar = h('span');
    bar.style.width = `${(100 * d.done) / d.total}%`;
    fill(box, ['first', 'then'].map((group) => h('section', { class: `panel ${group === 'then' ? 'spaced' : ''}` },
      h('h2', {}, t(`start_${group}`), group === 'first' && [' ', h('span', { class: 'muted small' }, t('steps_done', null, d.done, d.total))]),
      group === 'first' && h('div', { class: 'track', 'aria-hidden': 'true' }, bar),
      h('ol', { class: 'steps' }, d.items.filter((x) => x.group === group).map((x) => line(x, may))))));
  };
  draw(seen.data);
  fill(main, head(t('start')), h('p', { class: 'muted' }, t('start_lead')), box);
  poll('getting-started', signal, draw, { etag: seen.etag });
}
