// The card is typed into Portcullis' frame; this page is told tokens and passes them to the shop's server.
'use strict';
const at = (id) => document.getElementById(id);
const state = at('state');
let opened;
let form;
let card;
let silence;

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

const begin = async () => {
  opened = await toShop('/api/checkout', { account: at('account').value });
  if (at('where').value === 'page') {
    location.assign(opened.form_url);
    return;
  }
  if (form) form.destroy();
  at('again').hidden = true;
  at('card').hidden = false;
  clearTimeout(silence);
  silence = setTimeout(() => say(`${state.dataset.public} does not answer in this page. Open it once in a tab and accept its certificate.`, true), 5000);
  form = portcullis.mount('#card', { formUrl: opened.form_url, onready: () => { clearTimeout(silence); say(''); } });
  form.token.then(pay, () => {});
};

// With a card that is kept only the security code is asked for again.
const again = async (kept) => {
  const { order } = await toShop('/api/again', { order: opened.order });
  opened.order = order;
  at('again').hidden = true;
  at('card').hidden = false;
  say('');
  (kept ? form.retryCvv(card) : form.retry()).then(pay, () => {});
};

const confirmed = async (url) => {
  say('Please confirm the payment with your bank.');
  at('card').hidden = true;
  at('choice').hidden = true;
  const href = await portcullis.challenge('#bank', url, { height: 520 }).done;
  location.assign(href);
};

const pay = async (told) => {
  say('Paying with the token …');
  card = { ...card, ...told };
  const { token, cvv_token, browser_info } = card;
  const paid = await toShop('/api/pay', {
    order: opened.order, token, cvv_token, holder: token, exp_month: token, exp_year: token, browser_info,
  });
  if (paid.declined) {
    say('The bank did not take the card.', true);
    at('card').hidden = true;
    at('again').hidden = false;
  } else if (paid.frame && at('bank-where').value === 'frame') {
    await confirmed(paid.frame);
  } else {
    location.assign(paid.next);
  }
};

const attempt = (work) => work().catch((error) => say(error.message, true));
for (const id of ['account', 'where']) at(id).addEventListener('change', () => attempt(begin));
at('retry-cvv').addEventListener('click', () => attempt(() => again(true)));
at('retry').addEventListener('click', () => attempt(() => again(false)));
attempt(begin);
