//! Cards and their security codes.
//!
//! A card's record is found and opened by its token. Its security code lies in the same record and
//! is opened by both tokens: so a card has one code at a time, a new one takes the place of the
//! old, a revoked card takes its code along, and a code token without its card's token opens
//! nothing.

use std::fmt;

use super::code::Digits;
use super::header::{Header, Kind, Scope};
use super::record::{read_card, write_card};
use super::seal::{Address, Opened, Root};
use super::sealed::{SALT_BYTES, Sealed};
use super::{Account, Accounts, Audience, Draft, Keyring, Owner, Tenant, Vault, VaultError};
use crate::card::{Brand, Capture, Card, Cvv, CvvToken, Expiry, Masked, Mode, Timestamp, Token};
use crate::secret::Random;

/// The random part of a token.
const BITS_BYTES: usize = 20;

/// What is said about a kept card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// First six and last four digits.
    pub masked: Masked,
    /// The scheme.
    pub brand: Brand,
    /// Month of expiry, two digits.
    pub exp_month: String,
    /// Year of expiry, four digits.
    pub exp_year: String,
    /// When the vault forgets it.
    pub expires_at: Timestamp,
}

impl Metadata {
    fn of(card: &Card, expires_at: Timestamp) -> Self {
        let masked = card.pan.masked();
        Self {
            masked,
            brand: masked.brand(),
            exp_month: card.expiry.month2().to_owned(),
            exp_year: card.expiry.year4().to_owned(),
            expires_at,
        }
    }
}

/// What is handed out for a card that was kept.
#[derive(Debug)]
pub struct KeptCard {
    /// Stands for the card.
    pub token: Token,
    /// Stands for its security code, where there was one.
    pub cvv_token: Option<CvvToken>,
    /// What may be shown of it.
    pub card: Metadata,
}

/// What may be shown of a card in the places of its parts.
#[derive(Debug, Clone)]
pub struct Preview {
    /// First six and last four digits.
    pub masked: Masked,
    /// When it ends.
    pub expiry: Expiry,
    /// Whether a name is on it.
    pub has_holder: bool,
}

/// A card that came out of the vault, which is the only way to get one.
#[derive(Debug)]
pub struct Redeemed {
    card: Card,
    found: Found,
}

impl Redeemed {
    /// The card, to be kept by the caller, and what its security code is taken by.
    #[must_use]
    pub fn into_parts(self) -> (Card, Found) {
        (self.card, self.found)
    }
}

/// A redeemed card's record as it lay in the vault, for its security code. The card in it is wiped.
pub struct Found(Sealed);

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Found(..)")
    }
}

/// The right to put a taken security code back, as long as nothing of it was sent. Dropped, the
/// code is gone for ever.
#[must_use = "dropping the lease burns the security code"]
pub struct CvvLease(Found);

impl fmt::Debug for CvvLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CvvLease(..)")
    }
}

impl Vault {
    /// Keeps a card, and its security code under a key of its own.
    ///
    /// # Errors
    /// No room; a security code of a length that the brand does not print.
    pub fn keep_card(
        &self,
        capture: Capture,
        owner: &Owner,
        now: Timestamp,
    ) -> Result<KeptCard, VaultError> {
        let Capture { card, cvv } = capture;
        let metadata = Metadata::of(&card, now.plus(self.limits.card_ttl));
        check_cvv(cvv.as_ref(), metadata.brand)?;

        let mut random = Random::fetch(2 * (BITS_BYTES + SALT_BYTES));
        let token = Token::draw(owner.mode, &mut random);
        let (scope, expires) = (Scope::from(owner), metadata.expires_at);
        let plain = write_card(&card);
        drop(card);
        let address = card_address(&token);
        let draft = Draft { address, scope, expires, plain: plain.as_bytes() };
        let mut sealed = self.sealed(&draft, &mut random)?;
        let seal = |cvv| self.seal_cvv((&token, &mut sealed), cvv, &mut random, now);
        let cvv_token = cvv.map(seal).transpose()?;
        self.keep_new(Kind::Card, sealed, now)?;
        Ok(KeptCard { token, cvv_token, card: metadata })
    }

    /// Gives a kept card a new security code; the token of the old one is worthless from then on.
    ///
    /// # Errors
    /// No such card of this tenant; a length that the brand does not print.
    pub fn refresh_cvv(
        &self,
        token: &Token,
        cvv: Cvv,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<CvvToken, VaultError> {
        let (card, opened) = self.open_own(token, tenant, now)?;
        check_cvv(Some(&cvv), card.pan.brand())?;
        let mut record = opened.closed();
        let mut random = Random::fetch(BITS_BYTES + SALT_BYTES);
        let cvv_token = self.seal_cvv((token, &mut record), cvv, &mut random, now)?;
        let code = record.code().ok_or(VaultError::Sealing)?;
        // Revoked meanwhile, it is not found any more.
        let is_kept = self.cards.set_code(&record.name(), code, now);
        if is_kept { Ok(cvv_token) } else { Err(VaultError::NotFound) }
    }

    /// Seals a code into its card's record; it lives no longer than the card.
    fn seal_cvv(
        &self,
        (token, record): (&Token, &mut Sealed),
        cvv: Cvv,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<CvvToken, VaultError> {
        let cvv_token = CvvToken::draw(token.mode(), random);
        let mut digits = Digits::none();
        digits.read(&cvv);
        drop(cvv);
        let expires = now.plus(self.limits.cvv_ttl).min(record.expires());
        let address = cvv_address(&cvv_token, token);
        let ring = self.ring();
        let root = ring.current(Kind::Cvv);
        let sealed = root.seal_code(&address, (record, random.take()), expires, &digits);
        sealed.map(|()| cvv_token).ok_or(VaultError::Sealing)
    }

    /// Hands the card out for a request of this audience. As often as it is asked for: what may be
    /// done once is decided by whoever sends.
    ///
    /// # Errors
    /// No such card for this audience.
    pub fn redeem(
        &self,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Redeemed, VaultError> {
        let admits = |header: &Header<'_>| token.mode() == audience.mode && header.admits(audience);
        let opened = self.open(&card_address(token), now, admits)?;
        let card = read_card(opened.plain()).ok_or(VaultError::NotFound)?;
        Ok(Redeemed { card, found: Found(opened.closed()) })
    }

    /// What may be shown of a card that [`Self::redeem`] would hand to this audience.
    ///
    /// # Errors
    /// No such card for this audience.
    pub fn preview(
        &self,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<(Preview, Found), VaultError> {
        let Redeemed { card, found } = self.redeem(token, audience, now)?;
        let (masked, expiry) = (card.pan.masked(), card.expiry.clone());
        Ok((Preview { masked, expiry, has_holder: card.holder.is_some() }, found))
    }

    /// Takes the security code of a redeemed card out of the vault: of any number of callers, one
    /// gets it.
    ///
    /// # Errors
    /// No such code of this card.
    pub fn take_cvv(
        &self,
        cvv_token: &CvvToken,
        token: &Token,
        found: Found,
        now: Timestamp,
    ) -> Result<(Cvv, CvvLease), VaultError> {
        // Opened before it is taken: a wrong token must not burn somebody's code.
        let cvv = self.open_cvv(cvv_token, token, &found, now)?;
        let Found(record) = &found;
        let stamp = record.code_stamp().ok_or(VaultError::NotFound)?;
        let is_taken = self.cards.take_code(&record.name(), stamp);
        if is_taken { Ok((cvv, CvvLease(found))) } else { Err(VaultError::NotFound) }
    }

    /// Whether [`Self::take_cvv`] would hand this code out, as the card was found; it stays where
    /// it is.
    ///
    /// # Errors
    /// No such code of this card.
    pub fn has_cvv(
        &self,
        cvv_token: &CvvToken,
        token: &Token,
        found: &Found,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        self.open_cvv(cvv_token, token, found, now).map(drop)
    }

    /// Nothing is said about whose it is: that was asked when the card was redeemed.
    fn open_cvv(
        &self,
        cvv_token: &CvvToken,
        token: &Token,
        found: &Found,
        now: Timestamp,
    ) -> Result<Cvv, VaultError> {
        let Found(record) = found;
        if cvv_token.mode() != token.mode() || !record.has_code(now) {
            return Err(VaultError::NotFound);
        }
        let ring = self.ring();
        let root = code_root(&ring, record).ok_or(VaultError::NotFound)?;
        let mut digits = Digits::none();
        let opened = root.open_code(&cvv_address(cvv_token, token), record, &mut digits);
        opened.and_then(|()| digits.cvv()).ok_or(VaultError::NotFound)
    }

    /// Puts a security code back of which nothing was sent, until its old end. Not when the card
    /// was revoked or got a new code meanwhile.
    pub fn restore_cvv(&self, lease: CvvLease, now: Timestamp) {
        let CvvLease(Found(record)) = lease;
        if let Some(code) = record.code() {
            self.cards.put_code_back(&record.name(), code, now);
        }
    }

    /// What may be shown of a card.
    ///
    /// # Errors
    /// No such card of this tenant.
    pub fn describe(
        &self,
        token: &Token,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<Metadata, VaultError> {
        let (card, opened) = self.open_own(token, tenant, now)?;
        Ok(Metadata::of(&card, opened.closed().expires()))
    }

    /// Forgets a card and its security code at once.
    ///
    /// # Errors
    /// No such card of this tenant.
    pub fn revoke(&self, token: &Token, tenant: &Tenant, now: Timestamp) -> Result<(), VaultError> {
        self.open_own(token, tenant, now)?;
        let is_revoked = self.remove(&card_address(token));
        if is_revoked { Ok(()) } else { Err(VaultError::NotFound) }
    }

    /// Opens a card for its owner, whatever accounts it was kept for.
    fn open_own(
        &self,
        token: &Token,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<(Card, Opened), VaultError> {
        let own = |header: &Header<'_>| header.is_of(tenant, token.mode());
        let opened = self.open(&card_address(token), now, own)?;
        let card = read_card(opened.plain()).ok_or(VaultError::NotFound)?;
        Ok((card, opened))
    }
}

impl Owner {
    /// The owner of what belongs to one account of one application.
    #[must_use]
    pub fn of(audience: &Audience) -> Self {
        let Audience { tenant, account, mode } = audience;
        let accounts = Accounts::Only(vec![Account::clone(account)]);
        Self { tenant: tenant.clone(), accounts, mode: Mode::clone(mode) }
    }
}

fn check_cvv(cvv: Option<&Cvv>, brand: Brand) -> Result<(), VaultError> {
    match cvv {
        Some(cvv) if !cvv.matches_brand(brand) => Err(VaultError::CvvLength),
        Some(_) | None => Ok(()),
    }
}

/// The root key that sealed the code in a card's record: not always the card's own.
fn code_root<'k>(ring: &'k Keyring, record: &Sealed) -> Option<&'k Root> {
    ring.roots(Kind::Cvv).find(|root| Some(root.version()) == record.code_version())
}

fn card_address(token: &Token) -> Address<'_> {
    Address { kind: Kind::Card, bits: token.random_part(), further: &[] }
}

/// What a code's key comes from. It has no record of its own.
fn cvv_address<'a>(cvv_token: &'a CvvToken, token: &'a Token) -> Address<'a> {
    Address { kind: Kind::Cvv, bits: token.random_part(), further: cvv_token.random_part() }
}
