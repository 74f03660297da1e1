'use strict';
// The stand-in's widget: not a captcha. It fills the elements that Turnstile's script would fill, and
// asks its own server for a token, which everybody gets (but for the key that always blocks).
(() => {
  const server = new URL(document.currentScript.src).origin;
  const INTERACTIVE = '3x00000000000000000000FF';

  const fill = (element) => {
    if (element.dataset.standIn) return;
    element.dataset.standIn = 'waiting';
    const { sitekey = '', action = '', responseFieldName = 'cf-turnstile-response' } = element.dataset;
    const field = document.createElement('input');
    field.type = 'hidden';
    field.name = responseFieldName;
    const text = document.createElement('p');
    text.setAttribute('role', 'status');
    const say = (state, words) => {
      element.dataset.standIn = state;
      text.textContent = `Stand-in captcha (for tests only): ${words}`;
    };
    const solve = async () => {
      try {
        const query = new URLSearchParams({ sitekey, action, hostname: location.hostname });
        const answer = await fetch(`${server}/token?${query}`, { credentials: 'omit' });
        if (!answer.ok) return say('blocked', 'blocked');
        field.value = (await answer.json()).token;
        say('solved', 'solved');
      } catch {
        say('failed', 'not reachable');
      }
    };
    element.append(field, text);
    if (sitekey !== INTERACTIVE) {
      say('waiting', 'one moment');
      solve();
      return;
    }
    say('waiting', 'please confirm');
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'I am a person';
    button.addEventListener('click', () => { button.remove(); solve(); });
    element.append(button);
  };

  const fillAll = () => document.querySelectorAll('[data-sitekey]').forEach(fill);
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', fillAll);
  else fillAll();
})();
