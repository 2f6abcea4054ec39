// What can be done to one device: the server says what applies, and why the rest does not.
import { api } from '../api.js';
import { h, dialog, toast, say } from '../ui.js';
import { acts, order, orderName, orders } from '../orders.js';
import { t } from '../words.js';

export const target = (d) => h('p', { class: 'alert warn' }, t('one_device', null, [d.name, d.serial, d.person?.name].filter(Boolean).join(' · ')));

const because = () => ({ name: 'reason', label: t('reason'), max: 500 });

// Of one device only, and so no quick task.
function unlock(a, d, again) {
  dialog({ title: t('do_unlock'), lead: [t('do_unlock_sub'), target(d)], submit: t('do_unlock'), fields: [because()],
    save: async (v) => { await api('POST', `devices/${d.id}/commands`, { body: { request_type: a.command, ...(v.reason ? { reason: v.reason } : {}) } }); toast(t('do_sent')); again(); } });
}

async function task(action, d, again) {
  const profiles = action === 'remove_profile' ? (await api('GET', `devices/${d.id}/profiles?limit=200`)).data.items : null;
  order(action, { body: { devices: [d.id] }, one: d, profiles, lead: target(d), done: again });
}

function giveUp(d, again) {
  dialog({ title: t('do_give_up'), lead: [t('do_give_up_sub'), target(d)], submit: t('do_give_up'), danger: true, fields: [because()],
    save: async (v) => { await api('POST', `devices/${d.id}/give-up`, { body: v }); toast(t('saved')); again(); } });
}

async function run(a, d, again) {
  if (orders[a.action]) return task(a.action, d, again);
  if (a.action === 'unlock') return unlock(a, d, again);
  if (a.action === 'give_up') return giveUp(d, again);
  await api('POST', `devices/${d.id}/unenroll/cancel`);
  toast(t('saved'));
  return again();
}

const shown = ['lock', 'unlock', 'rename', 'lost_on', 'lost_off', 'locate', 'play_sound', 'restart', 'shut_down', 'install_profile', 'remove_profile', 'unenroll', 'wipe', 'mail_unenroll', 'mail_wipe', 'cancel_leaving', 'give_up'];

export async function menu(d, may, again) {
  try {
    const all = (await api('GET', `devices/${d.id}/actions`)).data.items.filter((a) => shown.includes(a.action) && may(orders[a.action]?.right) && (d.mode.startsWith('ios') ? !a.action.startsWith('mail_') : a.applies));
    const items = all.filter((a) => a.applies).sort((a, b) => shown.indexOf(a.action) - shown.indexOf(b.action))
      .map((a) => [orderName(a.action), t(`do_${a.action}_sub`), () => run(a, d, again), a.action.endsWith('wipe')]);
    if (may('command:raw') && d.state === 'active' && d.mode.startsWith('ios')) items.push([t('do_raw'), t('do_raw_sub'), () => task('raw', d, again)]);
    acts({ title: t('actions'), lead: [target(d)], items, rest: all.filter((a) => !a.applies).map((a) => [orderName(a.action), t(`no_${a.reason}`, a.why)]) });
  } catch (e) { say(e); }
}
