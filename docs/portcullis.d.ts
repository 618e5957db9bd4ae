// What /v1/portcullis-1.js and /v1/portcullis-1.mjs offer. docs/browser.md has examples.

/** The twelve fields that providers' documents call `browser_info`. */
export interface BrowserInfo {
  browser_accept_header: string;
  browser_color_depth: string;
  browser_ip: string;
  browser_java_enabled: boolean;
  browser_language: string;
  browser_screen_height: string;
  browser_screen_width: string;
  browser_tz: string;
  browser_user_agent: string;
  device_channel: string;
  window_height: string;
  window_width: string;
}

/** What your page is told. There is no card in it. */
export interface CardToken {
  /** `tok_…`: stands for number, holder, month and year. */
  token: string;
  /** `cvv_…`: stands for the security code, once. */
  cvv_token: string;
  /** First six digits. */
  bin: string;
  last4: string;
  brand: 'visa' | 'mastercard' | 'amex' | 'discover' | 'diners' | 'jcb' | 'unionpay' | 'maestro' | 'mir' | 'unknown';
  exp_month: string;
  exp_year: string;
  /** UNIX seconds. */
  expires_at: number;
  browser_info: BrowserInfo;
}

export interface CardFormOptions {
  /** `form_url` of the capture session that your server opened. */
  formUrl: string;
  /** `en`, `ru` or `uk`; the browser's own choice when missing. */
  lang?: string;
  /** Name of the frame for screen readers. */
  title?: string;
  /** The form is there. */
  onready?: () => void;
  /** The form was refused for a reason that is not one field's; a code of docs/interface.md. */
  onrefused?: (code: string) => void;
}

export interface CardForm {
  /** The token of the attempt that is open. Rejects when another attempt begins or the form goes. */
  token: Promise<CardToken>;
  /** An empty form again: another card. */
  retry(): Promise<CardToken>;
  /** The security code alone, for a card that is kept: after a wrong one. */
  retryCvv(card: { token: string; last4?: string; brand?: string }): Promise<CardToken>;
  /** Takes the form away. */
  destroy(): void;
}

export interface Challenge {
  /** Your own return address, once the browser is back there. */
  done: Promise<string>;
  destroy(): void;
}

/** Puts the card form into an element (or the first that a selector finds). */
export function mount(place: Element | string, options: CardFormOptions): CardForm;

/** Puts the 3-D Secure step into an element: the `action` of the provider's answer. */
export function challenge(place: Element | string, url: string, options?: { title?: string; height?: number }): Challenge;

declare const portcullis: { mount: typeof mount; challenge: typeof challenge };
export default portcullis;
