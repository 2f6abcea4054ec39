// How far policies are computed again after a change (POL-09): seen only while there is something to do.
import { poll } from './api.js';
import { h, fill, icon, number } from './ui.js';
import { t } from './words.js';

export function progress(signal) {
  const box = h('div', { 'aria-live': 'polite' });
  let most = 0;
  const tell = (p) => {
    most = p.devices + p.marks ? Math.max(most, p.devices) : 0;
    fill(box, p.devices + p.marks ? h('div', { class: 'alert working' }, icon('refresh'), h('span', {}, t('pol_computing', null, number(p.devices))),
      h('progress', { max: most || 1, value: most - p.devices, 'aria-label': t('progress') })) : null);
  };
  poll('policies/progress', signal, tell, { every: 3000 });
  return box;
}
