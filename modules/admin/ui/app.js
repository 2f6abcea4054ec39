// Frame and routes. A view's exact address is in the URL: #/devices?state=active&sort=name
import { api } from './api.js';
import { h, fill, icon, button, say, empty } from './ui.js';
import { t, lang } from './words.js';

// Groups of the navigation: heading, then pages with icon, right, section of docs/console.md.
const groups = [
  ['nav_devices', ['start', 'ok', 'source:read', 'getting-started'], ['overview', 'home', 'device:read', 'overview'], ['messages', 'warn', 'device:read', 'messages'], ['devices', 'devices', 'device:read', 'devices'], ['groups', 'box', 'device:read', 'groups'], ['tasks', 'task', 'device:read', 'quick-tasks'], ['exceptions', 'warn', 'exception:read', 'exceptions']],
  ['nav_enroll', ['pending', 'pending', 'pending:read', 'pending-enrolments'], ['bulk', 'csv', 'pending:read', 'bulk-runs'], ['otps', 'key', 'zone:read', 'one-time-passwords-and-codes']],
  ['nav_users', ['people', 'people', 'person:read', 'people'], ['sources', 'box', 'source:read', 'user-sources']],
  ['policies', ['policies', 'shield', 'policy:read', 'policies']],
  ['nav_mail', ['eas', 'mail', 'mail:read', 'activesync-servers'], ['stale', 'wait', 'device:read', 'silent-mail-apps']],
  ['nodes', ['nodes', 'nodes', 'zone:read', 'nodes'], ['push', 'bell', 'zone:read', 'push'], ['identities', 'id', 'device:read', 'identities'], ['access', 'key', 'zone:read', 'access']],
  ['admins', ['admins', 'me', 'admin:read', 'administrators']],
  ['nav_zone', ['schedule', 'calendar', 'zone:read', 'schedules'], ['retention', 'trash', 'zone:read', 'history-and-its-end'], ['notifications', 'mail', 'zone:read', 'notifications'], ['audit', 'audit', 'audit:read', 'audit'], ['jobs', 'jobs', 'zone:read', 'jobs']],
];
const nav = groups.flatMap(([, ...list]) => list);
const pages = { ...Object.fromEntries(nav.map(([p, , right]) => [p, right])), device: 'device:read', task: 'device:read', bulkrun: 'pending:read', policy: 'policy:read', profile: null };
const manual = { ...Object.fromEntries(nav.map(([p, , , doc]) => [p, doc])), device: 'one-device', task: 'one-quick-task', bulkrun: 'bulk-runs', policy: 'one-policy', profile: 'my-account' };
const below = { device: 'devices', task: 'tasks', bulkrun: 'bulk', policy: 'policies' }; // what a page of one object is part of
let me, leave, frame;
const main = h('main', { id: 'main', tabindex: '-1' });

function may(right) {
  if (!right) return true;
  const [area, act] = right.split(':');
  return ['*', area].some((a) => (me.rights[a] || []).some((x) => x === '*' || x === act));
}

function parse() {
  const [path, search = ''] = (location.hash.slice(2) || 'overview').split('?');
  const [page, id] = path.split('/');
  return { page, id: id && decodeURIComponent(id), query: Object.fromEntries(new URLSearchParams(search)) };
}

async function show() {
  const { page, id, query } = parse();
  leave?.abort();
  leave = new AbortController();
  const mine = leave;
  document.querySelectorAll('dialog').forEach((d) => d.close());
  frame.classList.remove('open');
  for (const a of frame.querySelectorAll('.nav a')) {
    const here = a.dataset.page === page || a.dataset.page === below[page];
    if (here) a.setAttribute('aria-current', 'page'); else a.removeAttribute('aria-current');
  }
  if (!Object.hasOwn(pages, page)) return void fill(main, empty(t('not_found'), 'question'));
  if (!may(pages[page])) return void fill(main, empty(t('no_right'), 'off'));
  main.setAttribute('aria-busy', 'true');
  try {
    const mod = await import(`./pages/${page}.js`);
    if (mine.signal.aborted) return;
    const stage = h('div');
    await mod.default({ main: stage, id, query, signal: mine.signal, may, me, again: show });
    if (mine.signal.aborted) return;
    const top = stage.querySelector('.head');
    (top?.querySelector('.acts') || top)?.append(h('a', { class: 'help', href: `help/console.html#${manual[page]}`, target: 'mdm-help', rel: 'noopener', 'aria-label': t('help'), title: t('help') }, icon('question')));
    fill(main, stage);
    window.scrollTo(0, 0);
  } catch (e) {
    if (mine.signal.aborted || e.name === 'AbortError' || e.status === 401) return;
    fill(main, empty(e.status === 404 ? t('not_found') : e.message || t('failed'), 'warn', button(t('retry'), 'refresh', show)));
  } finally {
    if (!mine.signal.aborted) main.removeAttribute('aria-busy');
  }
}

async function logout() {
  try {
    await api('DELETE', 'session');
    location.href = new URL('login', document.baseURI);
  } catch (e) { say(e); }
}

function brand() {
  return h('a', { class: 'brand', href: '#/overview' }, h('img', { src: 'icon.svg', alt: '' }), 'mod_mdm');
}

function theme() {
  const mine = localStorage.getItem('mdm-theme');
  if (mine) document.documentElement.dataset.theme = mine; else delete document.documentElement.dataset.theme;
}

function build() {
  document.documentElement.lang = lang();
  const toggle = (on) => { frame.classList.toggle('open', on); frame.querySelector('.top button').setAttribute('aria-expanded', String(on)); };
  frame = h('div', { class: 'frame' },
    h('a', { class: 'skip', href: '#main', onclick: (e) => { e.preventDefault(); main.focus(); } }, t('skip')),
    h('header', { class: 'top' }, h('button', { type: 'button', class: 'btn icon quiet', 'aria-label': t('menu'), 'aria-expanded': 'false', 'aria-controls': 'side',
      onclick: () => { toggle(true); frame.querySelector('.nav a').focus(); } }, icon('menu')), brand()),
    h('button', { class: 'veil', type: 'button', tabindex: '-1', 'aria-label': t('close'), onclick: () => toggle(false) }),
    h('nav', { class: 'side', id: 'side', 'aria-label': t('app'), onkeydown: (e) => e.key === 'Escape' && toggle(false) }, brand(),
      h('div', { class: 'navs' }, groups.map(([title, ...list]) => [t(title), list.filter(([, , r]) => may(r))]).filter(([, list]) => list.length).map(([title, list]) => [h('p', { class: 'navhead' }, title),
        h('ul', { class: 'nav', 'aria-label': title }, list.map(([p, pic]) => h('li', {}, h('a', { href: `#/${p}`, 'data-page': p }, icon(pic), t(p)))))])),
      h('div', { class: 'who' },
        h('ul', { class: 'nav' }, h('li', {}, h('a', { href: '#/profile', 'data-page': 'profile' }, icon('me'), h('bdi', {}, me.name || me.login)))),
        button(t('logout'), 'out', logout, 'quiet'))),
    main);
  fill(document.getElementById('app'), frame);
}

addEventListener('hashchange', () => { show().then(() => main.focus({ preventScroll: true })); });
addEventListener('mdm-theme', theme);
theme();
addEventListener('mdm-language', () => { build(); show(); });
try {
  me = (await api('GET', 'me')).data;
  build();
  if (!location.hash && may('source:read') && (await api('GET', 'getting-started')).data.fresh) history.replaceState(null, '', '#/start'); // nothing to look over yet
  await show();
} catch (e) {
  if (e.status !== 401) fill(document.getElementById('app'), empty(e.message || t('failed'), 'warn', button(t('retry'), 'refresh', () => location.reload())));
}
