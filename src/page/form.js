'use strict';
// Numbers and codes stay in this document: they leave it in one request to our own origin, and the
// page that frames us is told a token. Inputs have no names, so no form post can carry them.
const at = (id) => document.getElementById(id);
const root = document.documentElement;
const form = at('form');
const say = form.dataset;
const framed = parent !== window;
const state = at('state');

// Appearance. Values were checked when the session was opened; here they become custom properties.
const theme = Object.fromEntries((say.theme || '').split(' ').map((pair) => pair.split('=')));
const properties = {
  accent: '--accent', background: '--paper', surface: '--surface', text: '--ink', border: '--line', error: '--bad',
};
for (const [name, property] of Object.entries(properties)) {
  if (theme[name]) root.style.setProperty(property, theme[name]);
}
if (theme.radius) root.style.setProperty('--radius', `${theme.radius}px`);
if (theme.font_size) root.style.setProperty('--size', `${theme.font_size}px`);
if (theme.scheme) root.dataset.scheme = theme.scheme;
if (theme.accent) {
  // Relative luminance (WCAG 2): black or white, whichever reads better on the accent.
  const parts = [1, 3, 5].map((from) => parseInt(theme.accent.slice(from, from + 2), 16) / 255);
  const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  root.style.setProperty('--on', 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000' : '#fff');
}
if (!framed) root.dataset.alone = '';

const tell = (type, more) => {
  if (framed) parent.postMessage({ portcullis: 1, type, ...more }, say.origin);
};

// Issuer ranges: name, label, first and last prefix, lengths of the number.
const from12 = [12, 13, 14, 15, 16, 17, 18, 19];
const from14 = from12.slice(2);
const from16 = from12.slice(4);
const brands = [
  ['visa', 'Visa', '4', '4', [13, 16, 19]],
  ['mastercard', 'Mastercard', '51', '55', [16]],
  ['mastercard', 'Mastercard', '2221', '2720', [16]],
  ['amex', 'Amex', '34', '34', [15]],
  ['amex', 'Amex', '37', '37', [15]],
  ['discover', 'Discover', '6011', '6011', from16],
  ['discover', 'Discover', '644', '649', from16],
  ['discover', 'Discover', '65', '65', from16],
  ['diners', 'Diners', '300', '305', from14],
  ['diners', 'Diners', '36', '36', from14],
  ['diners', 'Diners', '38', '39', from14],
  ['jcb', 'JCB', '3528', '3589', from16],
  ['unionpay', 'UnionPay', '62', '62', from16],
  ['maestro', 'Maestro', '50', '50', from12],
  ['maestro', 'Maestro', '56', '58', from12],
  ['maestro', 'Maestro', '6304', '6304', from12],
  ['maestro', 'Maestro', '6390', '6390', from12],
  ['maestro', 'Maestro', '67', '67', from12],
  ['mir', 'Mir', '2200', '2204', from16],
];
const unknown = ['unknown', '', '', '', from12];
const brandOf = (number) => brands.find(([, , first, last]) => {
  const prefix = number.slice(0, first.length);
  return prefix.length === first.length && prefix >= first && prefix <= last;
}) || unknown;

const digitsOf = (text) => text.normalize('NFKC').replace(/\D/g, '');
const luhn = (number) => [...number].reverse().reduce((sum, digit, place) => {
  const worth = place % 2 ? digit * 2 : +digit;
  return sum + (worth > 9 ? worth - 9 : worth);
}, 0) % 10 === 0;

const grouped = (number) => {
  const four = brandOf(number)[0] === 'amex' ? /^(\d{4})(\d{1,6})?(\d+)?$/ : null;
  if (!four) return (number.match(/\d{1,4}/g) || []).join(' ');
  return (number.match(four) || [number, number]).slice(1).filter(Boolean).join(' ');
};

const expiryOf = (text) => {
  const parts = text.normalize('NFKC').match(/^\D*(\d{1,2})\D+(\d{2}|\d{4})\D*$/) || digitsOf(text).match(/^(\d\d)(\d{2}|\d{4})$/);
  return parts && { month: +parts[1], year: parts[2].length === 4 ? +parts[2] : 2000 + +parts[2] };
};

// A security code for a card that is kept already: its token stands behind the #, where no server sees it.
const behind = new URLSearchParams(location.hash.slice(1));
const kept = behind.get('token') && {
  token: behind.get('token'),
  brand: behind.get('brand') || 'unknown',
  last4: (behind.get('last4') || '').replace(/\D/g, '').slice(0, 4),
};

const cvvLength = () => {
  const brand = kept ? kept.brand : brandOf(digitsOf(at('number').value))[0];
  return { amex: [4, 4], unknown: [3, 4] }[brand] || [3, 3];
};

// Each check returns what is wrong, or nothing.
const checks = {
  number: (text) => {
    const number = digitsOf(text);
    const [, , , , lengths] = brandOf(number);
    if (!lengths.includes(number.length)) return say.sayNumber;
    return luhn(number) ? '' : say.sayCheck;
  },
  expiry: (text) => {
    const expiry = expiryOf(text);
    if (!expiry || expiry.month < 1 || expiry.month > 12) return say.sayExpiry;
    const now = new Date();
    return expiry.year * 12 + expiry.month < now.getFullYear() * 12 + now.getMonth() + 1 ? say.sayPast : '';
  },
  cvv: (text) => {
    const [least, most] = cvvLength();
    const { length } = digitsOf(text);
    if (length >= least && length <= most) return '';
    return least === 4 ? say.sayCvvFront : most === 4 ? say.sayCvvAny : say.sayCvv;
  },
  name: (text) => (text.trim() && digitsOf(text).length < 12 ? '' : say.sayName),
};
const fields = (kept ? ['cvv'] : Object.keys(checks)).map(at);

const complain = (field, text) => {
  at(`${field.id}-error`).textContent = text;
  field.setAttribute('aria-invalid', String(Boolean(text)));
};
const wrong = (field) => {
  const text = checks[field.id](field.value);
  complain(field, text);
  return Boolean(text);
};

// Rewrites what was typed and keeps the cursor behind the same digit.
const rewrite = (field, text) => {
  if (field.value === text) return;
  const before = digitsOf(field.value.slice(0, field.selectionStart)).length;
  const atEnd = field.selectionStart === field.value.length;
  field.value = text;
  let place = 0;
  for (let seen = 0; seen < before && place < text.length; place += 1) seen += /\d/.test(text[place]);
  if (document.activeElement === field) field.setSelectionRange(atEnd ? text.length : place, atEnd ? text.length : place);
};

const monthAndYear = ({ month, year }) => `${String(month).padStart(2, '0')} / ${String(year % 100).padStart(2, '0')}`;

const typed = {
  number: (field) => {
    const number = digitsOf(field.value).slice(0, 19);
    const [name, label] = brandOf(number);
    rewrite(field, grouped(number));
    at('mark').hidden = !label;
    at('mark').dataset.brand = name;
    at('mark').lastChild.textContent = label;
  },
  expiry: (field, event) => {
    const how = event.inputType || '';
    if (how.startsWith('delete')) return;
    const whole = expiryOf(field.value);
    if (whole && how !== 'insertText') return rewrite(field, monthAndYear(whole));
    const digits = digitsOf(field.value).slice(0, 6).replace(/^[2-9]/, '0$&');
    const month = /^\d\D/.test(field.value) ? digits.padStart(2, '0') : digits;
    rewrite(field, month.length < 2 ? month : `${month.slice(0, 2)} / ${month.slice(2)}`);
  },
  cvv: (field) => rewrite(field, digitsOf(field.value).slice(0, 4)),
};

for (const field of fields) {
  field.addEventListener('input', (event) => {
    if (typed[field.id]) typed[field.id](field, event);
    if (field.getAttribute('aria-invalid') === 'true' && !checks[field.id](field.value)) complain(field, '');
  });
  field.addEventListener('blur', () => {
    const expiry = field.id === 'expiry' && expiryOf(field.value);
    if (expiry) field.value = monthAndYear(expiry);
    if (field.value) wrong(field);
  });
}

const announce = (text, bad) => {
  state.textContent = text;
  state.toggleAttribute('data-bad', Boolean(bad));
};

// The seed's twelve: our server knows address and accept header, the page around us its own window.
const browserInfo = () => ({
  browser_accept_header: say.accept,
  browser_color_depth: String(screen.colorDepth),
  browser_ip: say.address,
  browser_java_enabled: false,
  browser_language: navigator.language,
  browser_screen_height: String(screen.height),
  browser_screen_width: String(screen.width),
  browser_tz: String(new Date().getTimezoneOffset()),
  browser_user_agent: navigator.userAgent,
  device_channel: '02',
  window_height: String(innerHeight),
  window_width: String(innerWidth),
});

const typedCard = () => {
  const cvv = digitsOf(at('cvv').value);
  if (kept) return { token: kept.token, cvv };
  const { month, year } = expiryOf(at('expiry').value);
  return {
    number: digitsOf(at('number').value), cvv, exp_month: String(month).padStart(2, '0'), exp_year: String(year), holder: at('name').value.trim(),
  };
};

const ask = async () => {
  const answer = await fetch('../tokens', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${location.pathname.split('/').pop()}` },
    body: JSON.stringify({ card: typedCard() }),
    credentials: 'omit',
    cache: 'no-store',
    redirect: 'error',
    signal: AbortSignal.timeout(30000),
  });
  return [answer.status, await answer.json()];
};

// Our server's refusals in the cardholder's words.
const refusals = {
  card_number_length: ['number', say.sayNumber],
  card_number_digits: ['number', say.sayNumber],
  card_number_check_digit: ['number', say.sayCheck],
  card_number_unsupported: ['number', say.sayUnsupported],
  card_expiry_format: ['expiry', say.sayExpiry],
  card_expired: ['expiry', say.sayPast],
  card_cvv_length: ['cvv', say.sayCvvAny],
  card_cvv_digits: ['cvv', say.sayCvvAny],
  card_holder: ['name', say.sayName],
};

const refused = (status, { code }) => {
  const [name, text] = refusals[code] || [];
  const field = fields.find(({ id }) => id === name);
  if (field) {
    complain(field, text);
    field.focus();
    return announce('');
  }
  const over = status === 401 || status === 403 || code === 'token_unknown';
  announce(over ? say.sayOver : say.sayFailed, true);
  tell('refused', { code: code || '' });
  return undefined;
};

const wipe = () => fields.forEach((field) => { field.value = ''; });

// As a page of our own, a form post takes the token to the shop's return address.
const goBack = (card) => {
  const post = document.createElement('form');
  post.method = 'post';
  post.action = say.returnUrl;
  for (const [name, value] of Object.entries({ ...card, browser_info: JSON.stringify(browserInfo()) })) {
    const input = document.createElement('input');
    Object.assign(input, { type: 'hidden', name, value });
    post.append(input);
  }
  document.body.append(post);
  HTMLFormElement.prototype.submit.call(post);
};

const done = (card) => {
  wipe();
  form.remove();
  announce(say.sayDone);
  const { token, cvv_token, bin, last4, brand } = card;
  if (framed) tell('token', { token, cvv_token, bin, last4, brand, card: { ...card, browser_info: browserInfo() } });
  else goBack(card);
};

let busy = false;
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (busy) return;
  const bad = fields.filter(wrong);
  if (bad.length) {
    bad[0].focus();
    return;
  }
  busy = true;
  at('pay').setAttribute('aria-disabled', 'true');
  announce(say.sayBusy);
  try {
    const [status, answer] = await ask();
    if (status === 201) done(answer.card);
    else refused(status, answer);
  } catch {
    announce(say.sayNetwork, true);
  }
  busy = false;
  at('pay')?.removeAttribute('aria-disabled');
});

if (kept) {
  form.querySelectorAll('.field').forEach((field) => { field.hidden = !field.querySelector('#cvv'); });
  at('kept').hidden = false;
  at('kept').textContent = `${say.sayKept} ${kept.last4}`;
}
if (!framed && !say.returnUrl) {
  form.remove();
  announce(say.sayAlone, true);
}
// A page in the browser's memory, or a form that it fills in again after "back", holds no card.
addEventListener('pagehide', wipe);
tell('ready');
new ResizeObserver(() => tell('size', { height: Math.ceil(document.body.getBoundingClientRect().height) })).observe(document.body);
