// The administrator's own account and preferences.
import { api, url } from '../api.js';
import { h, fill, head, button, dialog, toast, name, empty, say, word } from '../ui.js';
import { tokenForm, tokens } from './admins.js';
import { t } from '../words.js';

const change = () => dialog({ title: t('own_password'), lead: t('own_password_lead'), submit: t('save'), fields: [
  { name: 'old', label: t('old_password'), type: 'password', auto: 'current-password', required: true, max: 500 },
  { name: 'new', label: t('new_password'), type: 'password', auto: 'new-password', required: true, max: 500, hint: t('password_hint') }],
save: async (v) => { await api('PUT', 'me/password', { body: v }); toast(t('saved')); } });

export default async function page({ main, me, signal, again }) {
  const mine = localStorage.getItem('mdm-lang') || '', look = localStorage.getItem('mdm-theme') || '';
  const keys = (await api('GET', 'me/tokens?limit=200', { signal })).data.items;
  const theme = h('select', { id: 'theme', onchange: (e) => {
    if (e.target.value) localStorage.setItem('mdm-theme', e.target.value); else localStorage.removeItem('mdm-theme');
    dispatchEvent(new Event('mdm-theme'));
  } }, [['', t('theme_auto')], ['light', t('theme_light')], ['dark', t('theme_dark')]].map(([v, l]) => h('option', { value: v, selected: v === look }, l)));
  const choose = h('select', { id: 'lang', onchange: (e) => {
    if (e.target.value) localStorage.setItem('mdm-lang', e.target.value); else localStorage.removeItem('mdm-lang');
    dispatchEvent(new Event('mdm-language'));
  } }, [['', t('lang_auto')], ['en', 'English'], ['de', 'Deutsch']].map(([v, l]) => h('option', { value: v, selected: v === mine }, l)));
  fill(main, head(t('profile')), h('div', { class: 'cols' },
    h('section', { class: 'panel' }, h('h2', {}, name(me.name || me.login)), h('dl', {}, h('dt', {}, t('login')), h('dd', {}, me.login), h('dt', {}, t('role')), h('dd', {}, name(word('role', me.role))), h('dt', {}, t('software')), h('dd', {}, me.software)),
      h('p'), !me.by_group && button(t('own_password'), 'key', change)),
    h('section', { class: 'panel' }, h('div', { class: 'field' }, h('label', { for: 'lang' }, t('language')), choose),
      h('div', { class: 'field' }, h('label', { for: 'theme' }, t('theme')), theme), h('a', { href: url('openapi.yaml') }, t('api_doc')))),
  !me.by_group && h('section', { class: 'panel flush apart' }, h('div', { class: 'head inset' }, h('h2', {}, t('adm_own_tokens')), h('div', { class: 'acts' }, button(t('adm_token_add'), 'plus', () => tokenForm(again, 'me/tokens').catch(say)))),
    keys.length ? tokens(keys, true, again, 'me/tokens') : empty(t('adm_no_tokens'), 'key')));
}
