'use strict';
// The pages work without this file; it only makes them kinder.
(() => {
  const all = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // The fragment never reaches the server, yet the browser carries it here over the redirect. Taken
  // now, since a link within this page changes it.
  const fragment = location.hash.length < 2048 ? location.hash : '';

  all('a[href*="return_to="]', (link) => {
    if (!link.href.includes('%23')) link.href += encodeURIComponent(fragment);
  });

  // Show and hide a password. It is hidden again before the form is sent, so that the browser
  // never takes it for plain text worth remembering.
  all('[data-reveal]', (button) => {
    const field = document.getElementById(button.getAttribute('aria-controls'));
    const show = (shown) => {
      field.type = shown ? 'text' : 'password';
      button.textContent = shown ? button.dataset.hide : button.dataset.show;
      button.setAttribute('aria-label', shown ? button.dataset.hideLabel : button.dataset.showLabel);
    };
    show(false);
    button.hidden = false;
    button.addEventListener('click', () => {
      show(field.type === 'password');
      field.focus();
    });
    field.form.addEventListener('submit', () => show(false));
  });

  all('[data-caps]', (hint) => {
    const field = document.getElementById(hint.dataset.caps);
    const look = (event) => {
      if (event.getModifierState) hint.firstElementChild.hidden = !event.getModifierState('CapsLock');
    };
    for (const kind of ['keydown', 'keyup', 'mousedown']) field.addEventListener(kind, look);
    field.addEventListener('blur', () => { hint.firstElementChild.hidden = true; });
  });

  // A kept form has fields of any name, and they hide the form's own properties behind them.
  const kept = document.querySelector('[data-kept]');
  let gone = false;
  document.addEventListener('submit', (event) => {
    if (event.target !== kept) return;
    if (gone) event.preventDefault();
    gone = true;
  });
  // Shown again by the back button, after it was sent.
  addEventListener('pageshow', () => {
    if (gone) location.replace('/');
  });

  // One form is sent once, until the page is shown again by the back button.
  all('form:not([data-kept])', (form) => {
    const button = form.querySelector('[data-busy]');
    let sent = false;
    form.addEventListener('submit', (event) => {
      if (sent) return event.preventDefault();
      sent = true;
      const target = form.elements.return_to;
      if (target && fragment) target.value = target.value.split('#')[0] + fragment;
      // An application that leads to another site at once is not where a form of ours may lead, says
      // Chromium (form-action). The login itself is done by then.
      document.addEventListener('securitypolicyviolation', (event) => {
        if (event.effectiveDirective === 'form-action') location.replace(target ? target.value : '/');
      }, { once: true });
      if (button) {
        button.dataset.idle = button.textContent;
        button.textContent = button.dataset.busy;
        button.setAttribute('aria-disabled', 'true');
      }
    });
    addEventListener('pageshow', (event) => {
      if (!event.persisted) return;
      sent = false;
      if (button && button.dataset.idle) {
        button.textContent = button.dataset.idle;
        button.removeAttribute('aria-disabled');
      }
    });
  });

  // Times in the reader's own zone.
  all('time[datetime]', (time) => {
    const moment = new Date(time.dateTime);
    if (!isNaN(moment)) {
      time.textContent = moment.toLocaleString(document.documentElement.lang, { dateStyle: 'medium', timeStyle: 'short' });
    }
  });
})();
