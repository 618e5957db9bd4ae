//! Cards and their security codes.
//!
//! A card's record is found and opened by its token. A security code is found by its *card's* token
//! and opened by both: so a card has one code at a time, a new one takes the place of the old, a
//! revoked card takes its code along, and a code token without its card's token opens nothing.

use std::fmt;

use super::header::{Kind, Scope};
use super::record::{read_card, write_card};
use super::seal::{Address, Opened, SALT_BYTES, Sealed};
use super::{Account, Accounts, Audience, Draft, Owner, Tenant, Vault, VaultError};
use crate::card::{Brand, Capture, Card, Cvv, CvvToken, Expiry, Masked, Mode, Timestamp, Token};
use crate::secret::{Random, wipe};

/// The random part of a token.
const BITS_BYTES: usize = 20;

/// A security code is padded to the longest, so that the record does not tell its length.
const CVV_BYTES: usize = 4;
const CVV_PADDING: u8 = b' ';

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
    /// Whether its security code is there.
    pub has_cvv: bool,
}

impl Metadata {
    fn of(card: &Card, expires_at: Timestamp, has_cvv: bool) -> Self {
        let masked = card.pan.masked();
        Self {
            masked,
            brand: masked.brand(),
            exp_month: card.expiry.month2().to_owned(),
            exp_year: card.expiry.year4().to_owned(),
            expires_at,
            has_cvv,
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
}

impl Redeemed {
    /// The card.
    #[must_use]
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// The card, to be kept by the caller.
    #[must_use]
    pub fn into_card(self) -> Card {
        self.card
    }
}

/// The right to put a taken security code back, as long as nothing of it was sent. Dropped, the
/// code is gone for ever.
#[must_use = "dropping the lease burns the security code"]
pub struct CvvLease {
    sealed: Sealed,
    card: [u8; BITS_BYTES],
}

impl fmt::Debug for CvvLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CvvLease(..)")
    }
}

impl Vault {
    /// Keeps a card, and its security code apart from it.
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
        let metadata = Metadata::of(&card, now.plus(self.limits.card_ttl), cvv.is_some());
        check_cvv(cvv.as_ref(), metadata.brand)?;

        let mut random = Random::fetch(2 * (BITS_BYTES + SALT_BYTES));
        let token = Token::draw(owner.mode, &mut random);
        let scope = Scope::from(owner);
        let expires = metadata.expires_at;
        let plain = write_card(&card);
        drop(card);
        let plain = plain.as_bytes();
        let draft = Draft { address: card_address(&token), scope, expires, plain };
        self.insert(&draft, &mut random, now)?;

        let keep = |cvv| self.keep_cvv(&token, cvv, (owner, expires), &mut random, now);
        let cvv_token = cvv.map(keep).transpose().inspect_err(|_| {
            self.remove(&card_address(&token));
        })?;
        Ok(KeptCard { token, cvv_token, card: metadata })
    }

    /// Gives a kept card a new security code; the token of the old one is worthless from then on.
    ///
    /// # Errors
    /// No such card of this tenant; a length that the brand does not print; no room.
    pub fn refresh_cvv(
        &self,
        token: &Token,
        cvv: Cvv,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<CvvToken, VaultError> {
        let (card, opened) = self.open_own(token, tenant, now)?;
        check_cvv(Some(&cvv), card.pan.brand())?;
        let header = opened.header().ok_or(VaultError::NotFound)?;
        let owner = header.owner().ok_or(VaultError::NotFound)?;
        // One under an older root key has another name and would be found once this one is gone.
        self.remove(&cvv_address(token, &[]));
        let mut random = Random::fetch(BITS_BYTES + SALT_BYTES);
        self.keep_cvv(token, cvv, (&owner, header.expires), &mut random, now)
    }

    fn keep_cvv(
        &self,
        token: &Token,
        cvv: Cvv,
        (owner, card_expires): (&Owner, Timestamp),
        random: &mut Random,
        now: Timestamp,
    ) -> Result<CvvToken, VaultError> {
        let cvv_token = CvvToken::draw(owner.mode, random);
        let address = cvv_address(token, cvv_token.random_part());
        let expires = now.plus(self.limits.cvv_ttl).min(card_expires);
        let mut plain = [CVV_PADDING; CVV_BYTES];
        cvv.reveal(|digits| {
            plain.iter_mut().zip(digits.bytes()).for_each(|(place, digit)| *place = digit);
        });
        drop(cvv);
        let scope = Scope::from(owner);
        let kept = self.put(&Draft { address, scope, expires, plain: &plain }, random);
        wipe(&mut plain);
        kept?;
        Ok(cvv_token)
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
        let admits =
            |header: &super::Header<'_>| token.mode() == audience.mode && header.admits(audience);
        let opened = self.open(&card_address(token), now, admits)?;
        let card = read_card(opened.plain()).ok_or(VaultError::NotFound)?;
        Ok(Redeemed { card })
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
    ) -> Result<Preview, VaultError> {
        let Redeemed { card } = self.redeem(token, audience, now)?;
        let (masked, expiry) = (card.pan.masked(), card.expiry.clone());
        Ok(Preview { masked, expiry, has_holder: card.holder.is_some() })
    }

    /// Takes the security code out of the vault: of any number of callers, one gets it.
    ///
    /// # Errors
    /// No such code of this card for this audience.
    pub fn take_cvv(
        &self,
        cvv_token: &CvvToken,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<(Cvv, CvvLease), VaultError> {
        let opened = self.open_cvv(cvv_token, token, audience, now)?;
        // Opened before it is taken: a wrong token must not burn somebody's code.
        let cvv = Cvv::parse(opened.plain().trim_ascii_end()).map_err(|_| VaultError::NotFound)?;
        let taken = self.cards.take_if(&opened.name(), opened.stamp());
        let sealed = taken.ok_or(VaultError::NotFound)?;
        Ok((cvv, CvvLease { sealed, card: *token.random_part() }))
    }

    /// Whether [`Self::take_cvv`] would hand this code out; it stays where it is.
    ///
    /// # Errors
    /// No such code of this card for this audience.
    pub fn has_cvv(
        &self,
        cvv_token: &CvvToken,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        self.open_cvv(cvv_token, token, audience, now).map(drop)
    }

    fn open_cvv(
        &self,
        cvv_token: &CvvToken,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<Opened, VaultError> {
        let address = cvv_address(token, cvv_token.random_part());
        let mode = audience.mode;
        self.open(&address, now, |header| {
            token.mode() == mode && cvv_token.mode() == mode && header.admits(audience)
        })
    }

    /// Puts a security code back of which nothing was sent, until its old end. Not when the card
    /// was revoked or got a new code meanwhile.
    pub fn restore_cvv(&self, lease: CvvLease, now: Timestamp) {
        let CvvLease { sealed, card } = lease;
        let name = sealed.name();
        let card = Address { kind: Kind::Card, bits: &card, further: &[] };
        // Looked up after the code is back: whichever of a revocation and this comes second, the
        // code is gone.
        if self.cards.put_back(sealed, now) && !self.contains(&card, now) {
            self.cards.remove(&name);
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
        let header = opened.header().ok_or(VaultError::NotFound)?;
        let has_cvv = self.contains(&cvv_address(token, &[]), now);
        Ok(Metadata::of(&card, header.expires, has_cvv))
    }

    /// Forgets a card and its security code at once.
    ///
    /// # Errors
    /// No such card of this tenant.
    pub fn revoke(&self, token: &Token, tenant: &Tenant, now: Timestamp) -> Result<(), VaultError> {
        self.open_own(token, tenant, now)?;
        // The card first: see `restore_cvv`.
        let revoked = self.remove(&card_address(token));
        self.remove(&cvv_address(token, &[]));
        if revoked { Ok(()) } else { Err(VaultError::NotFound) }
    }

    /// Opens a card for its owner, whatever accounts it was kept for.
    fn open_own(
        &self,
        token: &Token,
        tenant: &Tenant,
        now: Timestamp,
    ) -> Result<(Card, Opened), VaultError> {
        let own = |header: &super::Header<'_>| header.is_of(tenant, token.mode());
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

fn card_address(token: &Token) -> Address<'_> {
    Address { kind: Kind::Card, bits: token.random_part(), further: &[] }
}

/// Without the code's own bits it names the record and does not open it.
fn cvv_address<'a>(token: &'a Token, cvv_bits: &'a [u8]) -> Address<'a> {
    Address { kind: Kind::Cvv, bits: token.random_part(), further: cvv_bits }
}
