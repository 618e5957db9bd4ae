//! The vault as its callers see it, under a clock that the tests move.

use super::*;
use crate::card::{Capture, Card, Cvv, CvvToken, Expiry, Handle, Holder, Pan, RelayId, Token};
use crate::secret::SecretBytes;
use std::sync::Arc;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const NUMBER: &str = "5519283812030000";

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
    Some(redeemed.card().pan.reveal(str::to_owned))
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
    let card = vault.redeem(&token, &audience(), NOW).unwrap().into_card();
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
                            let taken = vault.take_cvv(&cvv_token, &kept.token, &audience, NOW);
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
    assert_eq!(vault.open_bearer(&handle, NOW).err(), Some(VaultError::NotFound));
}

#[test]
fn the_parts_of_a_sweep_are_together_a_whole_one() {
    let vault = vault();
    for _ in 0..100 {
        kept(&vault);
    }
    let end = NOW.plus(Limits::default().card_ttl);
    let removed: Vec<usize> = (0..7).map(|part| vault.sweep_part(end, part, 7)).collect();
    assert_eq!((removed.iter().sum::<usize>(), vault.len()), (200, 0));
    assert!(removed.iter().all(|&part| part < 100), "{removed:?}");
}

#[test]
fn a_card_lives_to_the_millisecond() {
    let vault = vault();
    let (token, _) = kept(&vault);
    let end = NOW.plus(Limits::default().card_ttl);
    let before = Timestamp::from_millis(end.as_millis() - 1);
    assert!(number(&vault, &token, &audience(), before).is_some());
    assert!(number(&vault, &token, &audience(), end).is_none());
    assert_eq!((vault.len(), vault.sweep(end), vault.len()), (2, 2, 0));
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
    assert_eq!((said.brand.as_str(), said.has_cvv), ("mastercard", true));
    assert_eq!((said.exp_month.as_str(), said.exp_year.as_str()), ("10", "2035"));
    assert_eq!(said.expires_at, NOW.plus(Limits::default().card_ttl));
    assert!(!format!("{kept:?}{vault:?}").contains(NUMBER));
}

// Security codes.

#[test]
fn a_security_code_is_taken_once() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let taken = vault.take_cvv(&cvv_token, &token, &audience(), NOW);
    assert_eq!(code(&taken).as_deref(), Some("987"));
    assert!(!vault.describe(&token, &shop(), NOW).unwrap().has_cvv);
    let again = vault.take_cvv(&cvv_token, &token, &audience(), NOW);
    assert_eq!(again.err(), Some(VaultError::NotFound));
    drop(taken);
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_err());
    assert!(number(&vault, &token, &audience(), NOW).is_some(), "the card stays");
}

#[test]
fn of_a_hundred_callers_one_takes_the_security_code() {
    let vault = vault();
    for _ in 0..5 {
        let (token, cvv_token) = kept(&vault);
        let take = || vault.take_cvv(&cvv_token, &token, &audience(), NOW).ok();
        assert_eq!(count_first(100, take), 1);
    }
}

#[test]
fn a_security_code_of_which_nothing_was_sent_goes_back() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (_, lease) = vault.take_cvv(&cvv_token, &token, &audience(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    let end = NOW.plus(Limits::default().cvv_ttl);
    let before = Timestamp::from_millis(end.as_millis() - 1);
    let (again, lease) = vault.take_cvv(&cvv_token, &token, &audience(), before).unwrap();
    again.reveal(|digits| assert_eq!(digits, "987"));
    vault.restore_cvv(lease, before);
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), end).is_err(), "its end did not move");
}

#[test]
fn a_security_code_does_not_come_back_to_a_revoked_card() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (_, lease) = vault.take_cvv(&cvv_token, &token, &audience(), NOW).unwrap();
    vault.revoke(&token, &shop(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert_eq!(vault.len(), 0);
}

#[test]
fn an_old_security_code_does_not_come_back_over_a_new_one() {
    let vault = vault();
    let (token, old) = kept(&vault);
    let (_, lease) = vault.take_cvv(&old, &token, &audience(), NOW).unwrap();
    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert!(vault.take_cvv(&old, &token, &audience(), NOW).is_err());
    assert_eq!(code(&vault.take_cvv(&new, &token, &audience(), NOW)).as_deref(), Some("123"));
}

#[test]
fn a_wrong_token_neither_opens_nor_burns_a_security_code() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    let (other_token, other_cvv) = kept(&vault);
    let unknown = CvvToken::random(Mode::Live);
    assert!(vault.take_cvv(&other_cvv, &token, &audience(), NOW).is_err());
    assert!(vault.take_cvv(&cvv_token, &other_token, &audience(), NOW).is_err());
    assert!(vault.take_cvv(&unknown, &token, &audience(), NOW).is_err());
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_ok());
    assert!(vault.take_cvv(&other_cvv, &other_token, &audience(), NOW).is_ok());
}

#[test]
fn a_new_security_code_takes_the_place_of_the_old() {
    let vault = vault();
    let (token, old) = kept(&vault);
    let later = NOW.plus(10 * MINUTE);
    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), later).unwrap();
    assert!(vault.take_cvv(&old, &token, &audience(), later).is_err());
    assert_eq!(vault.len(), 2);
    let taken = vault.take_cvv(&new, &token, &audience(), later.plus(14 * MINUTE));
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
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), late).is_err());
    let at_25 = NOW.plus(25 * MINUTE);
    let fresh = vault.refresh_cvv(&token, cvv("123"), &shop(), at_25).unwrap();
    assert!(vault.take_cvv(&fresh, &token, &audience(), NOW.plus(30 * MINUTE)).is_err());
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
    let taken = vault.take_cvv(&cvv_token, &kept.token, &audience(), NOW);
    assert_eq!(code(&taken).as_deref(), Some("9876"));
}

#[test]
fn revoking_a_card_takes_its_security_code_along() {
    let vault = vault();
    let (token, cvv_token) = kept(&vault);
    vault.revoke(&token, &shop(), NOW).unwrap();
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_err());
    assert!(vault.is_empty());
}

// Room.

#[test]
fn a_full_vault_refuses_and_keeps_every_live_card() {
    let vault = small_vault(4);
    let (first, first_cvv) = kept(&vault);
    let second = vault.keep_card(capture(None), &owner(), NOW).unwrap();
    let refused = vault.keep_card(capture(Some("987")), &owner(), NOW);
    assert_eq!(refused.err(), Some(VaultError::Full), "room for the card, none for its code");
    assert_eq!(vault.len(), 3, "the half that fitted is gone again");
    assert!(number(&vault, &first, &audience(), NOW).is_some());
    assert!(number(&vault, &second.token, &audience(), NOW).is_some());
    vault.keep_card(capture(None), &owner(), NOW).unwrap();
    let (_, lease) = vault.take_cvv(&first_cvv, &first, &audience(), NOW).unwrap();
    vault.keep_card(capture(None), &owner(), NOW).unwrap();
    vault.restore_cvv(lease, NOW);
    assert!(vault.take_cvv(&first_cvv, &first, &audience(), NOW).is_ok());
}

#[test]
fn sweeping_leaves_live_records_and_traffic_alone() {
    let vault = Arc::new(vault());
    let old: Vec<_> = (0..200).map(|_| kept(&vault).0).collect();
    let later = NOW.plus(31 * MINUTE);
    let new = vault.keep_card(capture(None), &owner(), later).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(vault.sweep(later), 400));
        for _ in 0..200 {
            assert!(number(&vault, &new.token, &audience(), later).is_some());
        }
    });
    assert_eq!(vault.len(), 1);
    assert!(old.iter().all(|token| number(&vault, token, &audience(), later).is_none()));
}

// Rotation.

fn key(byte: u8) -> SecretBytes {
    SecretBytes::from_slice(&[byte; 32])
}

/// A vault under version 1, and the keys 1 and 2.
fn first_key() -> (Vault, SecretBytes, SecretBytes) {
    let (one, two) = (key(1), key(2));
    (Vault::new(Keyring::of(&[(1, Some(&one))]).unwrap(), Limits::default()), one, two)
}

#[test]
fn an_older_root_key_opens_and_the_current_one_seals() {
    let (vault, one, two) = first_key();
    let (token, cvv_token) = kept(&vault);
    let rotation = vault.rotate(&[(1, Some(&one)), (2, Some(&two))], NOW).unwrap();
    assert_eq!((rotation.current, rotation.older, rotation.removed), (2, vec![1], vec![]));
    assert!(number(&vault, &token, &audience(), NOW).is_some());
    assert!(vault.describe(&token, &shop(), NOW).unwrap().has_cvv);

    let new = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_err());
    assert!(vault.take_cvv(&new, &token, &audience(), NOW).is_ok());
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_err(), "nor afterwards");
    let (fresh, _) = kept(&vault);
    vault.revoke(&token, &shop(), NOW).unwrap();

    vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert!(number(&vault, &fresh, &audience(), NOW).is_some(), "sealed by the current key");
    vault.rotate(&[(3, Some(&key(3)))], NOW).unwrap();
    assert!(number(&vault, &fresh, &audience(), NOW).is_none());
}

#[test]
fn what_a_removed_key_sealed_is_unknown_and_its_live_records_are_counted() {
    let (vault, one, two) = first_key();
    let (token, cvv_token) = kept(&vault);
    vault.mark(b"callback 7", MINUTE, NOW).unwrap();
    vault.rotate(&[(2, Some(&two)), (1, Some(&one))], NOW).unwrap();
    kept(&vault);
    let later = NOW.plus(16 * MINUTE);
    let rotation = vault.rotate(&[(2, Some(&two))], later).unwrap();
    assert_eq!(rotation.removed, [(1, 1)], "the card; its code has expired, the mark has not");
    assert_eq!((rotation.current, rotation.older), (2, vec![]));
    assert!(matches!(vault.redeem(&token, &audience(), NOW), Err(VaultError::NotFound)));
    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_err());
    assert!(vault.describe(&token, &shop(), NOW).is_err());
}

#[test]
fn a_refused_rotation_changes_nothing() {
    let (vault, one, two) = first_key();
    let (token, _) = kept(&vault);
    assert_eq!(vault.rotate(&[(1, Some(&two))], NOW), Err(KeyringError::Changed(1)));
    assert_eq!(vault.rotate(&[], NOW), Err(KeyringError::Missing));
    assert!(number(&vault, &token, &audience(), NOW).is_some());
    let rotation = vault.rotate(&[(1, Some(&one))], NOW).unwrap();
    assert_eq!((rotation.current, rotation.removed), (1, vec![]));
}

#[test]
fn what_is_found_by_what_it_says_is_found_after_a_rotation() {
    let (vault, _, two) = first_key();
    let number = Pan::parse(NUMBER.as_bytes()).unwrap();
    let fingerprint = vault.fingerprint(&number);
    assert_eq!(vault.mark(b"callback 7", MINUTE, NOW), Ok(Mark::New));
    assert_eq!(vault.claim(b"callback 8", NOW), Ok(Mark::New));
    assert_eq!(vault.newest(b"invoice 7", 5, MINUTE, NOW), Ok(true));
    let handle = |vault: &Vault| {
        let handle = vault.keep_bearer(b"jwt", &audience(), b"context", MINUTE, NOW).unwrap();
        handle.reveal(str::to_owned)
    };
    let before = handle(&vault);

    vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert_eq!(vault.fingerprint(&number), fingerprint);
    assert_eq!(vault.mark(b"callback 7", MINUTE, NOW), Ok(Mark::Done));
    assert_eq!(vault.claim(b"callback 8", NOW), Ok(Mark::InFlight));
    assert_eq!(vault.newest(b"invoice 7", 4, MINUTE, NOW), Ok(false));
    assert_eq!(handle(&vault), before);
}

#[test]
fn texts_and_handles_open_after_a_rotation_until_their_key_is_removed() {
    let (vault, one, two) = first_key();
    let text = vault.seal_text("callback", b"https://shop.example/");
    let handle = vault.keep_bearer(b"jwt", &audience(), b"", MINUTE, NOW).unwrap();
    let relay = vault.keep_relay(SecretBytes::from_slice(b"pares"), 30 * MINUTE, NOW).unwrap();
    vault.rotate(&[(1, Some(&one)), (2, Some(&two))], NOW).unwrap();
    let newer = vault.seal_text("callback", b"https://shop.example/");
    assert!(vault.open_text("callback", &text).is_some());
    assert!(vault.open_bearer(&handle, NOW).is_ok());
    assert!(matches!(vault.begin_relay(&relay, NOW), Ok(Begun::First(_))));

    vault.rotate(&[(2, Some(&two))], NOW).unwrap();
    assert!(vault.open_text("callback", &text).is_none());
    assert!(vault.open_text("callback", &newer).is_some());
    assert!(vault.open_bearer(&handle, NOW).is_err());
}

/// Cards are taken, paid with and given new codes while keys come and go.
#[test]
fn no_card_is_lost_while_keys_are_rotated_under_traffic() {
    let keys: Vec<_> = (1..=40).map(key).collect();
    let vault = Vault::new(Keyring::of(&[(1, Some(&keys[0]))]).unwrap(), Limits::default());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let (token, cvv_token) = kept(&vault);
                    assert!(number(&vault, &token, &audience(), NOW).is_some());
                    assert!(vault.take_cvv(&cvv_token, &token, &audience(), NOW).is_ok());
                    let next = vault.refresh_cvv(&token, cvv("123"), &shop(), NOW).unwrap();
                    assert!(vault.take_cvv(&next, &token, &audience(), NOW).is_ok());
                    vault.revoke(&token, &shop(), NOW).unwrap();
                }
            });
        }
        for newest in 2..=keys.len() {
            let taken: Vec<_> = (1..).zip(keys.iter().map(Some)).take(newest).collect();
            vault.rotate(&taken, NOW).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(vault.is_empty());
}

// Bearers.

#[test]
fn the_same_secret_has_the_same_handle() {
    let vault = vault();
    let keep = |secret: &[u8], audience: &Audience| {
        let handle = vault.keep_bearer(secret, audience, b"invoice 7", MINUTE, NOW).unwrap();
        handle.reveal(str::to_owned)
    };
    let first = keep(b"jwt", &audience());
    assert_eq!(keep(b"jwt", &audience()), first);
    assert_eq!(vault.len(), 1);
    let others = [
        keep(b"jwu", &audience()),
        keep(b"jwt", &Audience { tenant: Tenant::new("other"), ..audience() }),
        keep(b"jwt", &Audience { account: Account::new("milkypay"), ..audience() }),
        keep(b"jwt", &Audience { mode: Mode::Test, ..audience() }),
    ];
    assert!(!others.contains(&first));
    let elsewhere = self::vault();
    let handle = elsewhere.keep_bearer(b"jwt", &audience(), b"", MINUTE, NOW).unwrap();
    handle.reveal(|text| assert_ne!(text, first, "another root key"));
}

#[test]
fn a_handle_opens_to_its_secret_and_names_its_owner() {
    let vault = vault();
    let handle = vault.keep_bearer(b"jwt", &audience(), b"invoice 7", MINUTE, NOW).unwrap();
    let bearer = vault.open_bearer(&handle, NOW).unwrap();
    assert!(bearer.secret.ct_eq(b"jwt") && bearer.context.ct_eq(b"invoice 7"));
    assert_eq!((bearer.tenant, bearer.account), (shop(), Account::new("paymega")));
    assert_eq!(bearer.mode, Mode::Live);
    assert!(vault.open_bearer(&handle, NOW.plus(MINUTE)).is_err());
    vault.keep_bearer(b"jwt", &audience(), b"invoice 8", MINUTE, NOW.plus(MINUTE)).unwrap();
    let again = vault.open_bearer(&handle, NOW.plus(MINUTE)).unwrap();
    assert!(again.context.ct_eq(b"invoice 8"), "kept again: a new life, the new context");
}

#[test]
fn an_empty_context_leaves_the_earlier_one() {
    let vault = vault();
    let keep = |context: &[u8], now| {
        vault.keep_bearer(b"jwt", &audience(), context, 2 * MINUTE, now).unwrap()
    };
    let context = |handle: &Handle, now| {
        vault.open_bearer(handle, now).unwrap().context.reveal(<[u8]>::to_vec)
    };
    let handle = keep(b"", NOW);
    assert_eq!(context(&handle, NOW), b"");
    keep(b"invoice 7", NOW);
    keep(b"", NOW.plus(MINUTE));
    assert_eq!(context(&handle, NOW.plus(2 * MINUTE)), b"invoice 7", "with a new life");
    keep(b"invoice 8", NOW.plus(MINUTE));
    assert_eq!(context(&handle, NOW.plus(MINUTE)), b"invoice 8");
    keep(b"", NOW.plus(3 * MINUTE));
    assert_eq!(context(&handle, NOW.plus(3 * MINUTE)), b"", "an ended one is not there to be left");
}

// Sessions.

fn session(cards_left: u32) -> Session {
    Session {
        owner: owner(),
        origin: "https://shop.example".to_owned(),
        return_url: "https://shop.example/paid".to_owned(),
        theme: "accent=#1f5fbf".to_owned(),
        cards_left,
        expires: NOW.plus(MINUTE),
    }
}

#[test]
fn a_session_counts_its_cards_down() {
    let vault = vault();
    let id = vault.open_session(session(2), NOW).unwrap();
    let found = |now| vault.session(&id, now).map(|seen| seen.session);
    assert_eq!(found(NOW), Ok(session(2)));
    let seen = vault.session(&id, NOW).unwrap();
    assert_eq!(vault.use_session(&id, &seen, NOW), Ok(1));
    assert_eq!(vault.use_session(&id, &seen, NOW), Ok(0), "it was seen before the first card");
    assert_eq!(vault.use_session(&id, &seen, NOW), Err(VaultError::NotFound));
    assert_eq!(found(NOW), Ok(session(0)));
    assert_eq!(found(NOW.plus(MINUTE)), Err(VaultError::NotFound));
}

#[test]
fn a_session_of_ten_cards_takes_ten_of_a_hundred() {
    let vault = vault();
    let id = vault.open_session(session(10), NOW).unwrap();
    let seen = vault.session(&id, NOW).unwrap();
    assert_eq!(count_first(100, || vault.use_session(&id, &seen, NOW).ok()), 10);
}

#[test]
fn one_application_cannot_open_all_the_sessions() {
    let limits = Limits { sessions_per_app: 3, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let open = |tenant: &str, minutes: u32, now: Timestamp| {
        let owner = Owner { tenant: Tenant::new(tenant), ..owner() };
        let expires = NOW.plus(minutes * MINUTE);
        vault.open_session(Session { owner, expires, ..session(1) }, now).map(drop)
    };
    assert_eq!(
        [3, 1, 2, 1].map(|minutes| open("shop", minutes, NOW).is_ok()),
        [true, true, true, false]
    );
    assert_eq!(open("other", 1, NOW), Ok(()));
    let later = NOW.plus(MINUTE);
    assert_eq!((open("shop", 9, later), open("shop", 9, later)), (Ok(()), Err(VaultError::Full)));
}

// Relays.

fn relay(vault: &Vault) -> RelayId {
    vault.keep_relay(SecretBytes::from_slice(b"pares"), 30 * MINUTE, NOW).unwrap()
}

#[test]
fn a_relay_goes_from_issued_over_relaying_to_done() {
    let vault = vault();
    let id = relay(&vault);
    let state = |id: &RelayId| vault.relay(id, NOW).map(|relay| relay.state);
    assert_eq!(state(&id), Ok(RelayState::Issued));
    let Begun::First(payload) = vault.begin_relay(&id, NOW).unwrap() else { panic!("first") };
    assert!(payload.ct_eq(b"pares"));
    assert_eq!(state(&id), Ok(RelayState::Relaying));
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::InFlight)));
    vault.finish_relay(&id, SecretBytes::from_slice(b"answer"), NOW).unwrap();
    assert_eq!(state(&id), Ok(RelayState::Done));
    let Begun::Done(answer) = vault.begin_relay(&id, NOW).unwrap() else { panic!("done") };
    assert!(answer.ct_eq(b"answer"));
    assert!(vault.relay(&id, NOW).unwrap().payload.is_empty(), "nobody needs it any more");
    assert!(vault.relay(&id, NOW.plus(30 * MINUTE)).is_err());
    assert!(vault.begin_relay(&RelayId::random(), NOW).is_err());
}

#[test]
fn only_a_relay_under_way_is_finished_or_abandoned() {
    let vault = vault();
    let id = relay(&vault);
    let answer = || SecretBytes::from_slice(b"answer");
    assert_eq!(vault.finish_relay(&id, answer(), NOW), Err(VaultError::NotFound));
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::First(_))));
    vault.abandon_relay(&id, NOW);
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::First(_))), "the next is first again");
    vault.finish_relay(&id, answer(), NOW).unwrap();
    assert_eq!(vault.finish_relay(&id, answer(), NOW), Err(VaultError::NotFound));
    vault.abandon_relay(&id, NOW);
    assert!(matches!(vault.begin_relay(&id, NOW), Ok(Begun::Done(_))));
}

#[test]
fn of_a_hundred_callers_one_passes_the_relay_on() {
    let vault = vault();
    let id = relay(&vault);
    let begin = || match vault.begin_relay(&id, NOW) {
        Ok(Begun::First(payload)) => Some(payload),
        Ok(Begun::InFlight | Begun::Done(_)) | Err(_) => None,
    };
    assert_eq!(count_first(100, begin), 1);
}

// Marks.

#[test]
fn a_claim_is_new_once_until_it_is_done_or_given_up() {
    let vault = vault();
    let claim = |key: &[u8]| vault.claim(key, NOW);
    assert_eq!(claim(b"a"), Ok(Mark::New));
    assert_eq!(claim(b"a"), Ok(Mark::InFlight));
    assert_eq!(claim(b"b"), Ok(Mark::New));
    vault.mark_done(b"a", 60 * MINUTE, NOW).unwrap();
    assert_eq!(claim(b"a"), Ok(Mark::Done));
    vault.release(b"b", NOW);
    assert_eq!(claim(b"b"), Ok(Mark::New));
    vault.release(b"a", NOW);
    assert_eq!(claim(b"a"), Ok(Mark::Done), "what was dealt with is not given up");
    let late = NOW.plus(60 * MINUTE);
    assert_eq!(vault.claim(b"a", late), Ok(Mark::New));
    assert_eq!(count_first(100, || claim(b"c").ok().filter(|mark| *mark == Mark::New)), 1);
}

#[test]
fn a_claim_whose_holder_vanished_ends_after_three_minutes() {
    let vault = vault();
    assert_eq!(vault.claim(b"a", NOW), Ok(Mark::New));
    let before = Timestamp::from_millis(NOW.plus(3 * MINUTE).as_millis() - 1);
    assert_eq!(vault.claim(b"a", before), Ok(Mark::InFlight));
    let late = NOW.plus(3 * MINUTE);
    assert_eq!(vault.claim(b"a", late), Ok(Mark::New));
    // The first holder comes back after all.
    vault.mark_done(b"a", 60 * MINUTE, late).unwrap();
    assert_eq!(vault.claim(b"a", NOW.plus(62 * MINUTE)), Ok(Mark::Done));
}

#[test]
fn a_mark_stays_to_its_end_or_until_it_is_forgotten() {
    let vault = vault();
    let mark = |now| vault.mark(b"a", 60 * MINUTE, now);
    assert_eq!([mark(NOW), mark(NOW.plus(59 * MINUTE))], [Ok(Mark::New), Ok(Mark::Done)]);
    vault.unmark(b"a");
    assert_eq!(mark(NOW), Ok(Mark::New));
    assert_eq!(mark(NOW.plus(60 * MINUTE)), Ok(Mark::New));
}

#[test]
fn no_kind_of_record_takes_the_room_of_another() {
    let limits = Limits {
        capacity: 2,
        states: 1,
        marks: 1,
        idempotency: 1,
        idempotency_per_app: 1,
        ..Limits::default()
    };
    let vault = Vault::new(Keyring::random(), limits);
    let relay = || vault.keep_relay(SecretBytes::from_slice(b"x"), MINUTE, NOW).map(drop);
    let card = || vault.keep_card(capture(Some("987")), &owner(), NOW).map(drop);
    let claim = |key: &[u8]| vault.claim_once(&shop(), &[key], &[b"sale"], NOW).map(drop);
    assert_eq!((claim(b"a"), claim(b"b")), (Ok(()), Err(VaultError::Full)));
    assert_eq!(vault.mark(b"a", MINUTE, NOW), Ok(Mark::New));
    assert_eq!(vault.mark(b"b", MINUTE, NOW), Err(VaultError::Full));
    assert_eq!(vault.claim(b"b", NOW), Err(VaultError::Full));
    assert_eq!(vault.newest(b"b", 1, MINUTE, NOW), Err(VaultError::Full));
    assert_eq!((relay(), relay()), (Ok(()), Err(VaultError::Full)));
    assert_eq!((card(), card()), (Ok(()), Err(VaultError::Full)));
    assert_eq!((vault.sweep(NOW.plus(MINUTE)), vault.len()), (2, 3));
    assert_eq!((relay(), vault.mark(b"b", MINUTE, NOW)), (Ok(()), Ok(Mark::New)));
}

#[test]
fn rooms_tell_what_is_left_of_each_bound() {
    let limits = Limits {
        capacity: 9,
        states: 8,
        states_bytes: 9_000,
        marks: 7,
        idempotency: 6,
        idempotency_bytes: 6_000,
        idempotency_per_app: 3,
        ..Limits::default()
    };
    let vault = Vault::new(Keyring::random(), limits);
    let told = || vault.rooms();
    let empty = [
        ("cards", 9, 9),
        ("states", 8, 8),
        ("states_bytes", 9_000, 9_000),
        ("marks", 7, 7),
        ("idempotency", 6, 6),
        ("idempotency_bytes", 6_000, 6_000),
        ("idempotency_per_app", 3, 3),
        ("idempotency_bytes_per_app", 3_000, 3_000),
    ];
    assert_eq!(told(), empty);
    let day = Duration::from_secs(86_400);
    for (tenant, key) in [("shop", b"1"), ("shop", b"2"), ("other", b"1")] {
        let tenant = Tenant::new(tenant);
        let claimed =
            vault.claim_once(&tenant, &[tenant.as_str().as_bytes(), key], &[b"sale"], NOW);
        let Ok(Once::First(claim)) = claimed else { panic!() };
        vault.answer_once(&claim, &SecretBytes::from_slice(&[b'x'; 1000]), NOW);
    }
    let (token, _) = kept(&vault);
    vault.keep_relay(SecretBytes::from_slice(&[b'x'; 1000]), MINUTE, NOW).unwrap();
    vault.mark(b"a", MINUTE, NOW).unwrap();
    let [cards, states, bytes, marks, onces @ ..] = told();
    let used = [
        ("idempotency", 6, 3),
        ("idempotency_bytes", 6_000, 3_000),
        ("idempotency_per_app", 3, 1),
        ("idempotency_bytes_per_app", 3_000, 1_000),
    ];
    assert_eq!(onces, used);
    assert_eq!((cards, states, marks), (("cards", 9, 7), ("states", 8, 7), ("marks", 7, 6)));
    assert!((7_500..8_000).contains(&bytes.2), "{bytes:?}");
    vault.revoke(&token, &shop(), NOW).unwrap();
    vault.sweep(NOW.plus(day));
    assert_eq!(told(), empty);
}

#[test]
fn what_is_looked_at_stays_and_is_told_to_whom_it_would_be_handed_out() {
    let vault = vault();
    let (token, cvv) = kept(&vault);
    let other = Audience { tenant: Tenant::new("other"), ..audience() };
    for _ in 0..2 {
        let preview = vault.preview(&token, &audience(), NOW).unwrap();
        assert_eq!(
            (preview.masked.to_string(), preview.has_holder),
            ("551928******0000".into(), true)
        );
        assert_eq!(vault.has_cvv(&cvv, &token, &audience(), NOW), Ok(()));
        assert!(vault.preview(&token, &other, NOW).is_err());
        assert!(vault.has_cvv(&cvv, &token, &other, NOW).is_err());
    }
    assert_eq!(code(&vault.take_cvv(&cvv, &token, &audience(), NOW)).as_deref(), Some("987"));
    assert!(vault.has_cvv(&cvv, &token, &audience(), NOW).is_err());
    assert!(!vault.is_marked(b"a", NOW) && !vault.is_marked(b"a", NOW));
    vault.mark(b"a", MINUTE, NOW).unwrap();
    assert!(vault.is_marked(b"a", NOW) && !vault.is_marked(b"a", NOW.plus(MINUTE)));
}

#[test]
fn long_payloads_are_bounded_in_bytes() {
    let limits = Limits { states_bytes: 10_000, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let keep = || vault.keep_relay(SecretBytes::from_slice(&[b'x'; 4000]), MINUTE, NOW);
    let first = keep().unwrap();
    keep().unwrap();
    assert_eq!(keep().err(), Some(VaultError::Full));
    let bearer = vault.keep_bearer(&[b'j'; 4000], &audience(), b"", MINUTE, NOW);
    assert_eq!(bearer.err(), Some(VaultError::Full));
    assert!(matches!(vault.begin_relay(&first, NOW), Ok(Begun::First(_))));
    let long = SecretBytes::from_slice(&[b'x'; 9000]);
    assert!(vault.finish_relay(&first, long, NOW).is_err(), "an answer finds no room");
    assert!(
        matches!(vault.begin_relay(&first, NOW), Ok(Begun::InFlight)),
        "and none is sent twice"
    );
    vault.finish_relay(&first, SecretBytes::from_slice(b"answer"), NOW).unwrap();
    keep().unwrap();
}

#[test]
fn the_last_sixteenth_is_kept_for_answers_to_what_has_left() {
    let limits = Limits { states: 32, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), limits);
    let keep = || vault.keep_relay(SecretBytes::from_slice(b"x"), MINUTE, NOW);
    for _ in 0..30 {
        assert_eq!(vault.room_for_payment(), Ok(()));
        keep().unwrap();
    }
    assert_eq!(vault.room_for_payment(), Err(VaultError::Full));
    assert_eq!(vault.open_session(session(1), NOW).err(), Some(VaultError::Full));
    assert!(keep().is_ok() && keep().is_ok() && keep().is_err());
    vault.sweep(NOW.plus(MINUTE));
    assert_eq!(vault.room_for_payment(), Ok(()));
    let bytes = Limits { states_bytes: 32, ..Limits::default() };
    let vault = Vault::new(Keyring::random(), Limits { states_bytes: 160, ..bytes });
    vault.keep_relay(SecretBytes::from_slice(&[0; 80]), MINUTE, NOW).unwrap();
    assert_eq!(vault.room_for_payment(), Err(VaultError::Full), "nor beyond the bytes");
}

#[test]
fn an_older_value_is_told_apart_from_the_newest() {
    let vault = vault();
    let newest = |value| vault.newest(b"invoice", value, MINUTE, NOW).unwrap();
    assert_eq!(
        [5, 5, 4, 7, 6, 5, 7, 8].map(newest),
        [true, true, false, true, false, false, true, true]
    );
    assert_eq!(vault.newest(b"other", 1, MINUTE, NOW), Ok(true));
    std::thread::scope(|scope| {
        for value in 0..100 {
            let vault = &vault;
            scope.spawn(move || vault.newest(b"raced", value, MINUTE, NOW).unwrap());
        }
    });
    assert_eq!(vault.newest(b"raced", 98, MINUTE, NOW), Ok(false));
    assert_eq!(vault.newest(b"raced", 99, MINUTE, NOW), Ok(true));
}

// Texts and fingerprints.

#[test]
fn a_sealed_text_opens_for_its_purpose_alone() {
    let vault = vault();
    let sealed = vault.seal_text("callback", b"https://shop.example/cb?x=1");
    assert!(sealed.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert!(vault.open_text("callback", &sealed).unwrap().ct_eq(b"https://shop.example/cb?x=1"));
    assert!(vault.open_text("other", &sealed).is_none());
    assert!(self::vault().open_text("callback", &sealed).is_none());
    assert!(vault.open_text("callback", "").is_none());
    assert_ne!(vault.seal_text("callback", b"same"), vault.seal_text("callback", b"same"));
    assert!(vault.is_empty());
}

#[test]
fn every_changed_character_of_a_sealed_text_keeps_it_shut() {
    let vault = vault();
    let sealed = vault.seal_text("callback", b"https://shop.example/");
    for place in 0..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(vault.open_text("callback", &changed).is_none(), "{place}");
        assert!(vault.open_text("callback", &sealed[..place]).is_none());
    }
}

#[test]
fn a_fingerprint_is_the_same_for_a_number_in_one_process() {
    let (here, there) = (vault(), vault());
    let pan = |text: &str| Pan::parse(text.as_bytes()).unwrap();
    assert_eq!(here.fingerprint(&pan(NUMBER)), here.fingerprint(&pan("5519 2838 1203 0000")));
    assert_ne!(here.fingerprint(&pan(NUMBER)), here.fingerprint(&pan("4111111111111111")));
    assert_ne!(here.fingerprint(&pan(NUMBER)), there.fingerprint(&pan(NUMBER)));
    assert_eq!(format!("{:?}", here.fingerprint(&pan(NUMBER))), "Fingerprint(..)");
}
