//! The vault as its callers see it, under a clock that the tests move.

use super::*;
use crate::card::{Capture, Card, Cvv, CvvToken, Expiry, Handle, Holder, Pan, RelayId, Token};
use crate::secret::SecretBytes;
use std::sync::Arc;

mod rotation;
mod states;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const NUMBER: &str = "5519283812030000";

/// What is kept beside a secret, whatever was there.
fn new(context: &[u8]) -> impl FnOnce(Option<SecretBytes>) -> SecretBytes {
    let context = SecretBytes::from_slice(context);
    move |_| context
}

fn vault() -> Vault {
    Vault::new(Keyring::random(), Limits::default())
}

fn small_vault(capacity: usize) -> Vault {
    Vault::new(Keyring::random(), Limits { capacity, ..Limits::default() })
}

fn card(number: &str) -> Card {
    Card {
        pan: Pan::parse(number.as_bytes()).unwrap(),
        holder: Some(Holder::parse("JANE DOE").unwrap()),
        expiry: Expiry::parse("10", "35").unwrap(),
    }
}

fn cvv(digits: &str) -> Cvv {
    Cvv::parse(digits.as_bytes()).unwrap()
}

fn capture(digits: Option<&str>) -> Capture {
    Capture { card: card(NUMBER), cvv: digits.map(cvv) }
}

fn owner() -> Owner {
    Owner { tenant: Tenant::new("shop"), accounts: Accounts::All, mode: Mode::Live }
}

fn audience() -> Audience {
    let (tenant, account) = (Tenant::new("shop"), Account::new("paymega"));
    Audience { tenant, account, mode: Mode::Live }
}

fn shop() -> Tenant {
    Tenant::new("shop")
}

fn kept(vault: &Vault) -> (Token, CvvToken) {
    let kept = vault.keep_card(capture(Some("987")), &owner(), NOW).unwrap();
    (kept.token, kept.cvv_token.unwrap())
}

fn number(vault: &Vault, token: &Token, audience: &Audience, now: Timestamp) -> Option<String> {
    let redeemed = vault.redeem(token, audience, now).ok()?;
    let (card, _) = redeemed.into_parts();
    Some(card.pan.reveal(str::to_owned))
}

fn take(
    vault: &Vault,
    cvv_token: &CvvToken,
    token: &Token,
    audience: &Audience,
    now: Timestamp,
) -> Result<(Cvv, CvvLease), VaultError> {
    let (_, found) = vault.redeem(token, audience, now)?.into_parts();
    vault.take_cvv(cvv_token, token, found, now)
}

/// Whether the code could be taken; it stays where it is.
fn has(vault: &Vault, cvv_token: &CvvToken, token: &Token) -> bool {
    let (_, found) = vault.redeem(token, &audience(), NOW).unwrap().into_parts();
    vault.has_cvv(cvv_token, token, &found, NOW).is_ok()
}

fn code(taken: &Result<(Cvv, CvvLease), VaultError>) -> Option<String> {
    taken.as_ref().ok().map(|(cvv, _)| cvv.reveal(str::to_owned))
}

fn count_first<T: Send>(callers: usize, call: impl Fn() -> Option<T> + Sync) -> usize {
    let start = std::sync::Barrier::new(callers);
    std::thread::scope(|scope| {
        let call = || {
            start.wait();
            call().is_some()
        };
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(call)).collect();
        callers.into_iter().filter_map(|caller| caller.join().unwrap().then_some(())).count()
    })
}

// Cards.

#[test]
fn a_kept_card_is_redeemed_as_it_was() {
    let vault = vault();
    let (token, _) = kept(&vault);
    let (card, _) = vault.redeem(&token, &audience(), NOW).unwrap().into_parts();
    card.pan.reveal(|digits| assert_eq!(digits, NUMBER));
    card.holder.unwrap().reveal(|name| assert_eq!(name, "JANE DOE"));
    assert_eq!((card.expiry.month2(), card.expiry.year4()), ("10", "2035"));
    assert!(number(&vault, &token, &audience(), NOW).is_some(), "as often as it is asked for");
}

#[test]
fn only_the_right_tenant_account_and_mode_redeem() {
    let vault = vault();
    let accounts = ["paymega", "milkypay", "highhelp"];
    let policies = [
        Accounts::All,
        Accounts::Only(vec![]),
        Accounts::Only(vec![Account::new("paymega")]),
        Accounts::Only(vec![Account::new("milkypay"), Account::new("highhelp")]),
    ];
    let mut asked = 0;
    for owner_tenant in ["shop", "sho", "shop2", ""] {
        for policy in &policies {
            for owner_mode in [Mode::Live, Mode::Test] {
                let owner = Owner {
                    tenant: Tenant::new(owner_tenant),
                    accounts: policy.clone(),
                    mode: owner_mode,
                };
                let kept = vault.keep_card(capture(Some("987")), &owner, NOW).unwrap();
                let cvv_token = kept.cvv_token.unwrap();
                for tenant in ["shop", "sho", "shop2", ""] {
                    for account in accounts {
                        for mode in [Mode::Live, Mode::Test] {
                            let audience = Audience {
                                tenant: Tenant::new(tenant),
                                account: Account::new(account),
                                mode,
                            };
                            let named = match policy {
                                Accounts::All => true,
                                Accounts::Only(names) => names.contains(&audience.account),
                            };
                            let right = tenant == owner_tenant && mode == owner_mode && named;
                            let seen = number(&vault, &kept.token, &audience, NOW);
                            assert_eq!(seen.is_some(), right, "{owner:?} {audience:?}");
                            let taken = take(&vault, &cvv_token, &kept.token, &audience, NOW);
                            assert_eq!(taken.is_ok(), right, "{owner:?} {audience:?}");
                            if let Ok((_, lease)) = taken {
                                vault.restore_cvv(lease, NOW);
                            }
                            asked += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(asked, 768);
}

#[test]
fn unknown_foreign_expired_and_revoked_are_one_answer() {
    let vault = vault();
    let (token, _) = kept(&vault);
    let late = NOW.plus(Limits::default().card_ttl);
    let foreign = Audience { tenant: Tenant::new("other"), ..audience() };
    let unknown = Token::random(Mode::Live);
    let refusals = [
        vault.redeem(&unknown, &audience(), NOW).err(),
        vault.redeem(&token, &foreign, NOW).err(),
        vault.redeem(&token, &audience(), late).err(),
        vault.describe(&unknown, &shop(), NOW).err(),
        vault.describe(&token, &foreign.tenant, NOW).err(),
        vault.describe(&token, &shop(), late).err(),
        vault.revoke(&unknown, &shop(), NOW).err(),
        vault.revoke(&token, &foreign.tenant, NOW).err(),
        vault.revoke(&token, &shop(), NOW).err().or(Some(VaultError::NotFound)),
        vault.redeem(&token, &audience(), NOW).err(),
        vault.revoke(&token, &shop(), NOW).err(),
    ];
    assert_eq!(refusals, [Some(VaultError::NotFound); 11]);
}

#[test]
fn a_relabelled_token_finds_nothing() {
    let vault = vault();
    let (token, _) = kept(&vault);
    // The same random bits behind another kind's prefix, checksum and all.
    let handle = Handle::from_bits(token.random_part());
    let opened = vault.open_bearer(&handle, "paymega", Mode::Live, NOW);
    assert_eq!(opened.err(), Some(VaultError::NotFound));
}

#[test]
fn the_parts_of_a_sweep_are_together_a_whole_one() {
    let vault = vault();
    for _ in 0..100 {
        kept(&vault);
    }
    let end = NOW.plus(Limits::default().card_ttl);
    let removed: Vec<usize> = (0..7).map(|part| vault.sweep_part(end, part, 7)).collect();
    assert_eq!((removed.iter().sum::<usize>(), vault.len()), (100, 0));
    assert!(removed.iter().all(|&part| part < 50), "{removed:?}");
}

#[test]
fn a_card_lives_to_the_millisecond() {
    let vault = vault();
    let (token, _) = kept(&vault);
    let end = NOW.plus(Limits::default().card_ttl);
    let before = Timestamp::from_millis(end.as_millis() - 1);
    assert!(number(&vault, &token, &audience(), before).is_some());
    assert!(number(&vault, &token, &audience(), end).is_none());
    assert_eq!((vault.len(), vault.sweep(end), vault.len()), (1, 1, 0));
}

#[test]
fn a_store_that_prolongs_a_life_is_not_believed() {
    let vault = vault();
    let (token, _) = kept(&vault);
    let address = Address { kind: header::Kind::Card, bits: token.random_part(), further: &[] };
    let name = vault.ring().current(header::Kind::Card).name(&address);
    let sealed = vault.cards.get(&name, NOW).unwrap();
    let end = NOW.plus(Limits::default().card_ttl);
    let mut bytes = sealed.without_name().concat();
    let place = bytes.windows(8).position(|window| window == end.as_millis().to_be_bytes());
    let later = end.plus(MINUTE).as_millis().to_be_bytes();
    bytes[place.unwrap()..][..8].copy_from_slice(&later);
    vault.cards.put(Sealed::with_name(name, &bytes).unwrap()).unwrap();
    assert!(vault.cards.get(&name, end).is_some(), "the store believes it");
    assert!(number(&vault, &token, &audience(), NOW).is_none());
    assert!(number(&vault, &token, &audience(), end).is_none());
}

#[test]
fn metadata_shows_what_may_be_shown() {
    let vault = vault();
    let kept = vault.keep_card(capture(Some("987")), &owner(), NOW).unwrap();
    let said = vault.describe(&kept.token, &shop(), NOW).unwrap();
    assert_eq!(said, kept.card);
    assert_eq!(said.masked.to_string(), "551928******0000");
    assert_eq!(said.brand.as_str(), "mastercard");
    assert_eq!((said.exp_month.as_str(), said.exp_year.as_str()), ("10", "2035"));
    assert_eq!(said.expires_at, NOW.plus(Limits::default().card_ttl));
    assert!(!format!("{kept:?}{vault:?}").contains(NUMBER));
}

// Security codes.

#[test]
fn a_security_code_is_taken_once() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let taken = take(&vault, &cvv_token, &token, &audience(), NOW);
    assert_eq!(code(&taken).as_deref(), Some("987"));
    assert!(!has(&vault, &cvv_token, &token));
    let again = take(&vault, &cvv_token, &token, &audience(), NOW);
    assert_eq!(again.err(), Some(VaultError::NotFound));
    drop(taken);
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_err());
    assert!(number(&vault, &token, &audience(), NOW).is_some(), "the card stays");
}

#[test]
fn of_a_hundred_callers_one_takes_the_security_code() {
    let vault = vault();
    for _ in 0..5 {
        let (token, cvv_token) = kept(&vault);
        let take = || take(&vault, &cvv_token, &token, &audience(), NOW).ok();
        assert_eq!(count_first(100, take), 1);
    }
}

#[test]
fn a_security_code_of_which_nothing_was_sent_goes_back() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (_, lease) = take(&vault, &cvv_token, &token, &audience(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    let end = NOW.plus(Limits::default().cvv_ttl);
    let before = Timestamp::from_millis(end.as_millis() - 1);
    let (again, lease) = take(&vault, &cvv_token, &token, &audience(), before).unwrap();
    again.reveal(|digits| assert_eq!(digits, "987"));
    vault.restore_cvv(lease, before);
    assert!(take(&vault, &cvv_token, &token, &audience(), end).is_err(), "its end did not move");
}

#[test]
fn a_security_code_does_not_come_back_to_a_revoked_card() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (_, lease) = take(&vault, &cvv_token, &token, &audience(), NOW).unwrap();
    vault.revoke(&token, &shop(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert_eq!(vault.len(), 0);
}

#[test]
fn an_old_security_code_does_not_come_back_over_a_new_one() {
    let vault = vault();
    let (token, old) = kept(&vault);
    let (_, lease) = take(&vault, &old, &token, &audience(), NOW).unwrap();
    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert!(take(&vault, &old, &token, &audience(), NOW).is_err());
    assert_eq!(code(&take(&vault, &new, &token, &audience(), NOW)).as_deref(), Some("123"));
}

#[test]
fn an_old_security_code_does_not_come_back_where_a_new_one_was_taken() {
    let vault = vault();
    let (token, old) = kept(&vault);
    let (_, lease) = take(&vault, &old, &token, &audience(), NOW).unwrap();
    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
    let (_, newer) = take(&vault, &new, &token, &audience(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert!(take(&vault, &old, &token, &audience(), NOW).is_err());
    vault.restore_cvv(newer, NOW);
    assert!(take(&vault, &new, &token, &audience(), NOW).is_ok());
}

#[test]
fn what_was_found_before_a_new_security_code_takes_neither() {
    let vault = vault();
    let (token, old) = kept(&vault);
    let find = || vault.redeem(&token, &audience(), NOW).unwrap().into_parts().1;
    let stale = find();
    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
    assert!(vault.take_cvv(&old, &token, stale, NOW).is_err());
    let stale = find();
    drop(take(&vault, &new, &token, &audience(), NOW).unwrap());
    assert!(vault.take_cvv(&new, &token, stale, NOW).is_err());
}

#[test]
fn a_security_code_that_is_over_is_swept_out_of_its_cards_record() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (_, lease) = take(&vault, &cvv_token, &token, &audience(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    let name = vault.ring().current(header::Kind::Card).name(&Address {
        kind: header::Kind::Card,
        bits: token.random_part(),
        further: &[],
    });
    let lies = || vault.cards.get(&name, NOW).unwrap().has_code(NOW);
    let before = Timestamp::from_millis(NOW.plus(15 * MINUTE).as_millis() - 1);
    assert_eq!((vault.sweep(before), lies()), (0, true));
    assert_eq!((vault.sweep(NOW.plus(15 * MINUTE)), lies(), vault.len()), (0, false, 1));
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_err(), "by no clock");
}

#[test]
fn a_wrong_token_neither_opens_nor_burns_a_security_code() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (other_token, other_cvv) = kept(&vault);
    let unknown = CvvToken::random(Mode::Live);
    assert!(take(&vault, &other_cvv, &token, &audience(), NOW).is_err());
    assert!(take(&vault, &cvv_token, &other_token, &audience(), NOW).is_err());
    assert!(take(&vault, &unknown, &token, &audience(), NOW).is_err());
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_ok());
    assert!(take(&vault, &other_cvv, &other_token, &audience(), NOW).is_ok());
}

#[test]
fn a_new_security_code_takes_the_place_of_the_old() {
    let vault = vault();
    let (token, old) = kept(&vault);
    let later = NOW.plus(10 * MINUTE);
    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), later).unwrap();
    assert!(take(&vault, &old, &token, &audience(), later).is_err());
    assert_eq!(vault.len(), 1);
    let taken = take(&vault, &new, &token, &audience(), later.plus(14 * MINUTE));
    assert_eq!(code(&taken).as_deref(), Some("123"));
    let foreign = vault.refresh_cvv(&token, cvv("123"), &Tenant::new("other"), later);
    assert_eq!(foreign.err(), Some(VaultError::NotFound));
}

#[test]
fn a_security_code_lives_fifteen_minutes_and_never_longer_than_its_card() {
    let limits = Limits { cvv_ttl: 60 * MINUTE, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let (token, cvv_token) = kept(&vault);
    let late = NOW.plus(15 * MINUTE);
    assert!(take(&vault, &cvv_token, &token, &audience(), late).is_err());
    let at_25 = NOW.plus(25 * MINUTE);
    let fresh = vault.refresh_cvv(&token, cvv("123"), &shop(), at_25).unwrap();
    assert!(take(&vault, &fresh, &token, &audience(), NOW.plus(30 * MINUTE)).is_err());
}

#[test]
fn a_security_code_has_the_length_of_its_brand() {
    let vault = vault();
    let refused = vault.keep_card(capture(Some("9876")), &owner(), NOW);
    assert_eq!(refused.err(), Some(VaultError::CvvLength));
    let amex = Capture { card: card("378282246310005"), cvv: Some(cvv("9876")) };
    let kept = vault.keep_card(amex, &owner(), NOW).unwrap();
    let short = vault.refresh_cvv(&kept.token, cvv("123"), &shop(), NOW);
    assert_eq!(short.err(), Some(VaultError::CvvLength));
    let cvv_token = kept.cvv_token.unwrap();
    let taken = take(&vault, &cvv_token, &kept.token, &audience(), NOW);
    assert_eq!(code(&taken).as_deref(), Some("9876"));
}

#[test]
fn revoking_a_card_takes_its_security_code_along() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    vault.revoke(&token, &shop(), NOW).unwrap();
    assert!(take(&vault, &cvv_token, &token, &audience(), NOW).is_err());
    assert!(vault.is_empty());
}

// Room.

#[test]
fn a_full_vault_refuses_and_keeps_every_live_card() {
    let vault = small_vault(2);
    let (first, first_cvv) = kept(&vault);
    let second = vault.keep_card(capture(None), &owner(), NOW).unwrap();
    let refused = vault.keep_card(capture(Some("987")), &owner(), NOW);
    assert_eq!(refused.err(), Some(VaultError::Full));
    assert_eq!(vault.len(), 2);
    assert!(number(&vault, &first, &audience(), NOW).is_some());
    assert!(number(&vault, &second.token, &audience(), NOW).is_some());
    let (_, lease) = take(&vault, &first_cvv, &first, &audience(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert!(take(&vault, &first_cvv, &first, &audience(), NOW).is_ok());
    let code = vault.refresh_cvv(&second.token, cvv("123"), &shop(), NOW).unwrap();
    assert!(take(&vault, &code, &second.token, &audience(), NOW).is_ok(), "a code needs no room");
}

#[test]
fn sweeping_leaves_live_records_and_traffic_alone() {
    let vault = Arc::new(vault());
    let old: Vec<_> = (0..200).map(|_| kept(&vault).0).collect();
    let later = NOW.plus(31 * MINUTE);
    let new = vault.keep_card(capture(None), &owner(), later).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(vault.sweep(later), 200));
        for _ in 0..200 {
            assert!(number(&vault, &new.token, &audience(), later).is_some());
        }
    });
    assert_eq!(vault.len(), 1);
    assert!(old.iter().all(|token| number(&vault, token, &audience(), later).is_none()));
}
