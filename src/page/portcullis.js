// Puts Portcullis' card form, and the bank's 3-D Secure page, into a page of the shop. The card is typed into a frame
// of another origin: this page is told a token. Declarations and examples: docs/browser.md.
const portcullis = (() => {
  'use strict';

  const elementOf = (place) => {
    const element = typeof place === 'string' ? document.querySelector(place) : place;
    if (!element) throw new Error('portcullis: there is no such element');
    return element;
  };

  const framed = (element, url, title, height) => {
    const frame = document.createElement('iframe');
    frame.src = url;
    frame.title = title;
    frame.referrerPolicy = 'no-referrer';
    Object.assign(frame.style, { display: 'block', width: '100%', height: `${height}px`, border: '0' });
    element.append(frame);
    return frame;
  };

  const mount = (place, { formUrl, lang, title = 'Card details', onready, onrefused }) => {
    const element = elementOf(place);
    const { origin } = new URL(formUrl);
    if (origin === location.origin) throw new Error('portcullis: the form needs an origin of its own');
    let frame;
    let settle;

    const heard = ({ source, origin: from, data }) => {
      if (!frame || source !== frame.contentWindow || from !== origin || !data || data.portcullis !== 1) return;
      if (data.type === 'size') frame.style.height = `${Math.min(Math.max(Number(data.height) || 0, 40), 2000)}px`;
      if (data.type === 'ready' && onready) onready();
      if (data.type === 'refused' && onrefused) onrefused(String(data.code));
      if (data.type === 'token') {
        const browser_info = { ...data.card.browser_info, window_height: String(innerHeight), window_width: String(innerWidth) };
        settle.resolve({ ...data.card, browser_info });
      }
    };

    // Each attempt has a frame of its own: nothing of the one before is left in it.
    const open = (card) => {
      const url = new URL(formUrl);
      if (lang) url.searchParams.set('lang', lang);
      if (card) url.hash = new URLSearchParams({ token: card.token, last4: card.last4 || '', brand: card.brand || '' });
      if (frame) frame.remove();
      if (settle) settle.reject(new Error('portcullis: another attempt began'));
      const token = new Promise((resolve, reject) => { settle = { resolve, reject }; });
      token.catch(() => {});
      frame = framed(element, url.href, title, card ? 190 : 400);
      form.token = token;
      return token;
    };

    const form = {
      token: null,
      retry: () => open(),
      retryCvv: (card) => open(card),
      destroy: () => {
        removeEventListener('message', heard);
        frame.remove();
        settle.reject(new Error('portcullis: the form was taken away'));
      },
    };
    addEventListener('message', heard);
    open();
    return form;
  };

  // The frame's address can be read again only when it is back at our own origin.
  const challenge = (place, url, { title = 'Confirmation by your bank', height = 600 } = {}) => {
    const frame = framed(elementOf(place), url, title, height);
    let fail;
    const done = new Promise((resolve, reject) => {
      fail = reject;
      frame.addEventListener('load', () => {
        let href = '';
        try {
          ({ href } = frame.contentWindow.location);
        } catch {
          return;
        }
        if (!href.startsWith(location.origin)) return;
        frame.remove();
        resolve(href);
      });
    });
    done.catch(() => {});
    const destroy = () => {
      frame.remove();
      fail(new Error('portcullis: the page was taken away'));
    };
    return { done, destroy };
  };

  return Object.freeze({ mount, challenge });
})();
