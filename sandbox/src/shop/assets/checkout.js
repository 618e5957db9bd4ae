// The card goes from this page to Portcullis; the shop's server gets tokens. The inputs have no names on purpose:
// no form post of this page can ever carry them.
'use strict';
const at = (id) => document.getElementById(id);
const state = at('state');

const say = (text, bad) => {
  state.textContent = text;
  state.className = bad ? 'bad' : '';
};

const toShop = async (path, body) => {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.problem || 'the shop said no');
  return told;
};

const toPortcullis = async (opened, card) => {
  const answer = await fetch(opened.tokens_url, {
    method: 'POST',
    mode: 'cors',
    credentials: 'omit',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${opened.session}` },
    body: JSON.stringify({ card }),
  }).catch(() => {
    const url = state.dataset.public;
    throw new Error(`${url} cannot be reached from this page. Open it once in a tab and accept its certificate.`);
  });
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.detail || told.title || 'the card was not accepted');
  return told.card;
};

const browserInfo = () => ({
  browser_tz: String(new Date().getTimezoneOffset()),
  browser_language: navigator.language,
  browser_color_depth: String(screen.colorDepth),
  browser_screen_width: String(screen.width),
  browser_screen_height: String(screen.height),
  browser_java_enabled: false,
  browser_user_agent: navigator.userAgent,
  window_width: String(window.innerWidth),
  window_height: String(window.innerHeight),
});

const pay = async () => {
  const expiry = { exp_month: at('month').value.padStart(2, '0'), exp_year: at('year').value };
  const holder = at('holder').value;
  say('Opening a capture session …');
  const opened = await toShop('/api/checkout', { account: at('account').value });
  say('Handing the card to Portcullis …');
  const card = { number: at('number').value, cvv: at('cvv').value, holder, ...expiry };
  const kept = await toPortcullis(opened, card);
  at('number').value = `${kept.bin} … ${kept.last4}`;
  at('cvv').value = '';
  say('Paying with the token …');
  const { token, cvv_token } = kept;
  const paid = await toShop('/api/pay', {
    order: opened.order, token, cvv_token, holder, ...expiry, browser_info: browserInfo(),
  });
  location.assign(paid.next);
};

at('card').addEventListener('submit', async (event) => {
  event.preventDefault();
  at('pay').disabled = true;
  await pay().catch((error) => say(error.message, true));
  at('pay').disabled = false;
});

for (const button of document.querySelectorAll('button.fill')) {
  button.addEventListener('click', () => {
    at('number').value = button.textContent;
    at('cvv').value = at('cvv').value || '123';
  });
}
